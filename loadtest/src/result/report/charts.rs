//! The plots of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{BLUE, COLOURS, GREEN, GREY, ORANGE, RED};
use crate::result::plot::{Line, Plot};
use crate::result::record::{Interval, Latencies, Series};
use crate::result::run::Run;

/// Latency over time, throughput, percentiles.
pub(super) fn plots(run: &Run, p99_bound: Option<(f64, String)>, out: &mut String) {
    let recording = &run.recording;
    let places = || {
        recording
            .intervals
            .iter()
            .enumerate()
            .map(|(index, interval)| ((index as f64 + 0.5) * recording.interval_s, interval))
    };
    let over = |name: &str, colour, value: &dyn Fn(&Interval) -> f64| Line {
        name: name.to_owned(),
        colour,
        points: places()
            .map(|(at, interval)| (at, value(interval)))
            .collect(),
        dots: false,
    };
    let seen = |latency: &Latencies, value: f64| if latency.count() > 0 { value } else { f64::NAN };
    let mut latency = plot(
        "seconds into the measured time",
        "latency, ms; each line is x10",
        true,
        vec![
            over("longest", GREY, &|interval| {
                seen(&interval.latency, interval.latency.max_ms())
            }),
            over("p99", ORANGE, &|interval| {
                seen(&interval.latency, interval.latency.ms(0.99))
            }),
            over("median", BLUE, &|interval| {
                seen(&interval.latency, interval.latency.ms(0.5))
            }),
        ],
    );
    latency.limit = p99_bound;
    let _ = write!(
        out,
        "<h2>Latency over time</h2><p class=\"soft\">Of the requests that were due in each second. \
        A stall shows as a peak, a queue that grows as a climb.</p>{}",
        latency.svg()
    );
    let per_second = 1.0 / recording.interval_s;
    let throughput = plot(
        "seconds into the measured time",
        "requests per second",
        false,
        vec![
            over("due", GREY, &|interval| interval.due as f64 * per_second),
            over("right answers", GREEN, &|interval| {
                interval.answered as f64 * per_second
            }),
            over("errors", RED, &|interval| {
                interval.failed as f64 * per_second
            }),
        ],
    );
    let _ = write!(
        out,
        "<h2>Throughput</h2><p class=\"soft\">Answers that fall behind what was due: the server \
        does not keep up.</p>{}",
        throughput.svg()
    );
    let tail = percentiles(vec![
        curve(
            "what a user waits: from when it was due",
            ORANGE,
            &recording.all.latency,
        ),
        curve(
            "what the server takes: from when it was sent",
            BLUE,
            &recording.all.service,
        ),
    ]);
    let _ = write!(
        out,
        "<h2>Percentiles</h2><p class=\"soft\">At 99%, one request in 100 is slower; each step to \
        the right is ten times rarer. A gap between the lines is time that requests spent waiting \
        to be sent, which a closed-loop tool never sees.</p>{}",
        tail.svg()
    );
    several("Percentiles by operation", &recording.operations, out);
    several("Percentiles by size of tenant", &recording.classes, out);
}

/// A line for each of several series, if there are several.
fn several(title: &str, series: &BTreeMap<String, Series>, out: &mut String) {
    if series.len() < 2 {
        return;
    }
    let colours = COLOURS.into_iter().cycle();
    let lines = series.iter().zip(colours);
    let lines = lines.map(|((name, series), colour)| curve(name, colour, &series.latency));
    let _ = write!(
        out,
        "<h2>{title}</h2><p class=\"soft\">What a user waits. A line ends where there were too few \
        requests to tell.</p>{}",
        percentiles(lines.collect()).svg()
    );
}

fn plot(x: &str, y: &str, log_y: bool, lines: Vec<Line>) -> Plot {
    Plot {
        x: x.to_owned(),
        y: y.to_owned(),
        log_y,
        x_labels: Vec::new(),
        limit: None,
        lines,
    }
}

/// A plot over the number of nines.
fn percentiles(lines: Vec<Line>) -> Plot {
    let labels = ["0%", "90%", "99%", "99.9%", "99.99%"];
    let most = lines.iter().flat_map(|line| &line.points);
    let most = most.map(|point| point.0).fold(0.0, f64::max);
    let places = (0..5_u32).map(f64::from).zip(labels);
    let seen = places.filter(|(place, _)| *place <= most + 0.01);
    Plot {
        x_labels: seen
            .map(|(place, label)| (place, label.to_owned()))
            .collect(),
        ..plot(
            "share of requests that are faster",
            "latency, ms; each line is x10",
            true,
            lines,
        )
    }
}

/// A line over the number of nines.
fn curve(name: &str, colour: &'static str, latency: &Latencies) -> Line {
    let enough = (latency.count().max(1) as f64).log10().min(4.0);
    let steps = (0..=80_u32)
        .map(|step| f64::from(step) / 20.0)
        .filter(|nines| *nines <= enough);
    Line {
        name: name.to_owned(),
        colour,
        points: steps
            .map(|nines| (nines, latency.ms(1.0 - 10_f64.powf(-nines)).max(0.001)))
            .collect(),
        dots: false,
    }
}
