//! Objectives: conditions that a run meets or misses, such as `create.p99<100ms,errors<0.1%`.
// Latencies and shares are measurements, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::str::FromStr;

use crate::load::mix::Operation;
use crate::result::record::{Latencies, Series};
use crate::result::run::Run;

/// Conditions of one list at most.
pub const MAX_CONDITIONS: usize = 64;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Milliseconds at a quantile, from the intended start.
    Latency(f64),
    Mean,
    Max,
    /// Share, 0 to 1.
    Errors,
    /// Right answers per second in time.
    Rate,
    /// Share never sent.
    Drops,
    /// The generator's lag at a quantile, milliseconds.
    Lag(f64),
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    /// All of them, without one.
    operation: Option<Operation>,
    metric: Metric,
    below: bool,
    or_equal: bool,
    value: f64,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objective(pub Vec<Condition>);

/// How a run did on one condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The condition as it was given.
    pub condition: String,
    /// What was measured; `None` when there was nothing to measure, which misses the condition.
    pub measured: Option<f64>,
    /// Whether it holds.
    pub met: bool,
}

impl Objective {
    /// The verdicts on a run, in the order of the conditions.
    #[must_use]
    pub fn judge(&self, run: &Run) -> Vec<Verdict> {
        self.0
            .iter()
            .map(|condition| condition.judge(run))
            .collect()
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn met(&self, run: &Run) -> bool {
        self.judge(run).iter().all(|verdict| verdict.met)
    }

    /// The lowest bound on the p99 of all operations, milliseconds, and its condition.
    #[must_use]
    pub fn p99_bound(&self) -> Option<(f64, String)> {
        let bounds = self.0.iter().filter(|condition| {
            condition.operation.is_none()
                && condition.below
                && condition.metric == Metric::Latency(0.99)
        });
        bounds
            .min_by(|a, b| a.value.total_cmp(&b.value))
            .map(|condition| (condition.value, condition.text.clone()))
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self
            .0
            .iter()
            .map(|condition| condition.text.as_str())
            .collect();
        texts.join(", ")
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let conditions: Vec<&str> = text.split(',').collect();
        if conditions.len() > MAX_CONDITIONS {
            return Err(format!("at most {MAX_CONDITIONS} conditions"));
        }
        let conditions: Result<_, String> = conditions.into_iter().map(str::parse).collect();
        Ok(Self(conditions?))
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| {
            format!(
                "`{text}`: {why}; conditions look like create.p99<100ms, errors<0.1%, rate>=500"
            )
        };
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| wrong("there is no < or >"))?;
        let (name, rest) = text.split_at(at);
        let below = rest.starts_with('<');
        let value = rest[1..].strip_prefix('=');
        let or_equal = value.is_some();
        let value = value.unwrap_or(&rest[1..]).trim();
        let name = name.trim();
        // A percentile may have a point of its own: p99.9.
        let (operation, metric) = match (metric_named(name), name.split_once('.')) {
            (Some(metric), _) => (None, Some(metric)),
            (None, Some(("lag", quantile))) => (None, percentile(quantile).map(Metric::Lag)),
            (None, Some(("all", metric))) => (None, metric_named(metric)),
            (None, Some((operation, metric))) => {
                let operation = Operation::named(operation);
                (
                    Some(operation.ok_or_else(|| wrong("no such operation"))?),
                    metric_named(metric),
                )
            }
            (None, None) => (None, None),
        };
        let metric = metric.ok_or_else(|| wrong("no such figure"))?;
        if operation.is_some() && matches!(metric, Metric::Rate | Metric::Drops) {
            return Err(wrong("that figure is of all operations"));
        }
        let value = match metric {
            Metric::Latency(_) | Metric::Mean | Metric::Max | Metric::Lag(_) => milliseconds(value),
            Metric::Errors | Metric::Drops => percent(value),
            Metric::Rate => value.strip_suffix("/s").unwrap_or(value).parse().ok(),
        };
        let value = value.filter(|value: &f64| value.is_finite() && *value >= 0.0);
        Ok(Self {
            text: text.to_owned(),
            operation,
            metric,
            below,
            or_equal,
            value: value.ok_or_else(|| {
                wrong("latencies are in ms, s or us, shares in %, rates in requests per second")
            })?,
        })
    }
}

impl Condition {
    fn judge(&self, run: &Run) -> Verdict {
        let measured = self.measure(run);
        let met = measured.is_some_and(|measured| {
            let strictly = if self.below {
                measured < self.value
            } else {
                measured > self.value
            };
            strictly || (self.or_equal && (measured - self.value).abs() < f64::EPSILON)
        });
        Verdict {
            condition: self.text.clone(),
            measured,
            met,
        }
    }

    fn measure(&self, run: &Run) -> Option<f64> {
        let recording = &run.recording;
        let series: &Series = match self.operation {
            None => &recording.all,
            Some(operation) => recording.operations.get(operation.name())?,
        };
        let some = |latencies: &Latencies, value: f64| (latencies.count() > 0).then_some(value);
        match self.metric {
            Metric::Latency(quantile) => some(&series.latency, series.latency.ms(quantile)),
            Metric::Mean => some(&series.latency, series.latency.mean_ms()),
            Metric::Max => some(&series.latency, series.latency.max_ms()),
            Metric::Errors => (series.all() > 0).then(|| series.error_share()),
            Metric::Rate => Some(run.accepted_rate()),
            Metric::Drops => Some(recording.own.dropped as f64 / recording.all.all().max(1) as f64),
            Metric::Lag(quantile) => some(&recording.own.lag, recording.own.lag.ms(quantile)),
        }
    }

    /// What was measured, in the unit of the condition.
    #[must_use]
    pub fn show(&self, measured: f64) -> String {
        match self.metric {
            Metric::Errors | Metric::Drops => format!("{:.3}%", measured * 100.0),
            Metric::Rate => format!("{measured:.1}/s"),
            _ => format!("{measured:.2} ms"),
        }
    }
}

fn metric_named(name: &str) -> Option<Metric> {
    match name {
        "mean" => Some(Metric::Mean),
        "max" => Some(Metric::Max),
        "errors" => Some(Metric::Errors),
        "rate" => Some(Metric::Rate),
        "drops" => Some(Metric::Drops),
        name => percentile(name).map(Metric::Latency),
    }
}

/// `p50`, `p99`, `p999` (99.9), `p99.9` as a quantile.
fn percentile(name: &str) -> Option<f64> {
    let digits = name.strip_prefix('p')?;
    let quantile: f64 = if digits.contains('.') {
        digits.parse::<f64>().ok()? / 100.0
    } else {
        digits.parse::<u32>().ok()?;
        format!("0.{digits}").parse().ok()?
    };
    (quantile > 0.0 && quantile < 1.0).then_some(quantile)
}

fn milliseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number
                .trim()
                .parse::<f64>()
                .ok()
                .map(|number| number * factor);
        }
    }
    None
}

fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    number
        .trim()
        .parse::<f64>()
        .ok()
        .map(|number| number / 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use chrono::Utc;

    use super::*;
    use crate::load::arrivals::Arrivals;
    use crate::load::http::Server;
    use crate::load::mix::Mix;
    use crate::load::open::Plan;
    use crate::result::record::{Fate, Recording};
    use crate::result::run::Bounds;

    /// 1,000 creates of 1 to 1,000 ms, two of them refused.
    fn run() -> Run {
        let second = Duration::from_secs(1);
        let mut recording = Recording::new(second);
        for ms in 1..=1_000 {
            let latency = Duration::from_millis(ms);
            let fate = Fate {
                latency,
                service: latency,
                error: (ms % 500 == 7).then(|| "503 overloaded".to_owned()),
                given_up: false,
            };
            recording.note("create", None, Duration::ZERO, second, &fate);
            recording.own.lag.record(Duration::from_millis(1));
        }
        let plan = Plan {
            server: Server::parse("http://127.0.0.1:1").unwrap(),
            rate: 1_000.0,
            arrivals: Arrivals::Constant,
            warmup: Duration::ZERO,
            duration: second,
            connections: 1,
            threads: 1,
            timeout: second,
            mix: Mix::default(),
            seed: 1,
        };
        Run::new(&plan, 1, Utc::now(), recording, Bounds::default())
    }

    #[test]
    fn conditions_hold_or_are_missed() {
        let run = run();
        let met = |text: &str| text.parse::<Objective>().unwrap().met(&run);
        assert!(met("create.p99<995ms, p50<0.51s, errors<0.3%, errors>0.1%"));
        assert!(!met("create.p99<985ms"));
        assert!(!met("create.p99<995ms,errors<0.2%"));
        assert!(met("errors<=0.2%") && met("max<1.1s") && met("lag.p99<2ms"));
        assert!(met("rate>=500/s") && !met("rate>1000"));
        // What was not measured does not pass.
        assert!(!met("list.p99<10s"));
        assert!(met("p999>998ms") && met("p99.9>998ms"));
    }

    #[test]
    fn the_bound_to_draw_is_that_on_the_p99_of_all_operations() {
        let bound = |text: &str| text.parse::<Objective>().unwrap().p99_bound();
        let of_all = Some((200.0, "all.p99<0.2s".to_owned()));
        assert_eq!(bound("p99<1s,all.p99<0.2s,create.p99<10ms,p50<9ms"), of_all);
        assert_eq!(bound("create.p99<10ms,p99.9<1s,p99>3ms,errors<1%"), None);
    }

    #[test]
    fn what_is_no_condition_is_named() {
        let error = |text: &str| text.parse::<Objective>().unwrap_err();
        assert!(error("p99=3ms").contains("no < or >"));
        assert!(error("craete.p99<3ms").contains("no such operation"));
        assert!(error("create.pp<3ms").contains("no such figure"));
        assert!(error("p99<3").contains("latencies are in ms"));
        assert!(error("errors<1").contains("shares in %"));
        assert!(error("create.rate>3").contains("of all operations"));
        assert!(error("p100<3ms,").contains("no such") || error("p99<3ms,").contains("no < or >"));
    }
}
