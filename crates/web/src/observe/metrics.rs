//! The process's metrics, in Prometheus' text format.

mod described;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
const UPKEEP: Duration = Duration::from_secs(5);

const CPU_IS_GAUGE: &str = "# TYPE process_cpu_seconds_total gauge\n";

static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);

/// The recorder's handle. One process has one recorder, however many apps it runs.
#[derive(Clone)]
pub struct Metrics(Arc<Parts>);

struct Parts {
    recorder: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Installs the process's recorder, or returns the one that is installed. Install it before
    /// anything records: what was recorded before is lost.
    ///
    /// # Errors
    /// When another recorder than this one is installed already.
    pub fn install() -> Result<Self, metrics_exporter_prometheus::BuildError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = installed.as_ref() {
            return Ok(metrics.clone());
        }
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?;
        let recorder = builder.build_recorder();
        let metrics = Self(Arc::new(Parts {
            recorder: recorder.handle(),
            process: metrics_process::Collector::default(),
        }));
        metrics::set_global_recorder(recorder)
            .map_err(metrics_exporter_prometheus::BuildError::FailedToSetGlobalRecorder)?;
        described::describe();
        metrics.0.process.describe();
        // The revision is whatever whoever builds says, lest two builds of the same sources differ.
        let revision = option_env!("SHEAF_REVISION").unwrap_or("unknown");
        let version = env!("CARGO_PKG_VERSION");
        metrics::gauge!("sheaf_build_info", "version" => version, "revision" => revision).set(1);
        *installed = Some(metrics.clone());
        Ok(metrics)
    }

    /// All metrics as text, with what the process itself takes by the names that Prometheus' own
    /// clients use
    /// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
    #[must_use]
    pub fn render(&self) -> String {
        self.0.process.collect();
        // The collector keeps it as a gauge, since the recorder's counters are whole numbers; it
        // only ever grows.
        let counter = CPU_IS_GAUGE.replace("gauge", "counter");
        self.0.recorder.render().replacen(CPU_IS_GAUGE, &counter, 1)
    }

    /// Moves recorded samples into their buckets, for ever: without it histograms grow until
    /// somebody scrapes.
    pub async fn upkeep(&self) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            self.0.recorder.run_upkeep();
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
