//! Line plots as SVG, drawn by hand: a report must open without a network, and stay readable when
//! printed.
// Coordinates, not money.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)]

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 280.0;
/// Room for `1,000,000` and, turned, what y is.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 46.0;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// A colour of CSS.
    pub colour: &'static str,
    /// x, y; an y that is no number leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Each point is a dot, and the line goes through the median of those at one x, which stand
    /// together.
    pub dots: bool,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Says what x is, with its unit.
    pub x: String,
    /// Says what y is, with its unit.
    pub y: String,
    /// A logarithmic y.
    pub log_y: bool,
    /// Labels of x at these places instead of round numbers.
    pub x_labels: Vec<(f64, String)>,
    /// A horizontal line to compare with, and what it is.
    pub limit: Option<(f64, String)>,
    /// The lines.
    pub lines: Vec<Line>,
}

struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (low, high) = usable.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return Self {
                low: if log { 0.1 } else { 0.0 },
                high: 1.0,
                log,
            };
        }
        if log {
            let low = 10_f64.powf(low.log10().floor());
            return Self {
                low,
                high: 10_f64.powf(high.log10().ceil()).max(low * 10.0),
                log,
            };
        }
        let step = step(high.max(1e-9) / 5.0);
        Self {
            low: 0.0,
            high: ((high / step).ceil() * step).max(step),
            log,
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let at = if self.log {
            (value.max(self.low).log10() - self.low.log10())
                / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        at.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        if self.log {
            let mut tick = self.low;
            while tick <= self.high * 1.01 && ticks.len() < 20 {
                ticks.push(tick);
                tick *= 10.0;
            }
        } else {
            let step = step((self.high - self.low) / 5.0);
            let mut tick = self.low;
            while tick <= self.high * 1.001 && ticks.len() < 20 {
                ticks.push(tick);
                tick += step;
            }
        }
        ticks
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn step(about: f64) -> f64 {
    let power = 10_f64.powf(about.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= about * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A number with as many digits as it needs.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    grouped(&text)
}

/// Thousands set apart.
fn grouped(text: &str) -> String {
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// For HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Plot {
    /// As an `<svg>` element.
    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let limit = self.limit.as_ref().map(|(value, _)| *value);
        let y = Scale::of(points().map(|point| point.1).chain(limit), self.log_y);
        let mut x = Scale::of(points().map(|point| point.0), false);
        let most = points()
            .map(|point| point.0)
            .filter(|x| x.is_finite())
            .fold(0.0, f64::max);
        // The axis of x ends where the data does.
        x.high = if most > 0.0 { most } else { 1.0 };
        let at = |px: f64, py: f64| {
            (
                LEFT + x.place(px) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y.place(py) * (HEIGHT - TOP - BOTTOM),
            )
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.y)
        );
        // Writing into memory does not fail.
        for tick in y.ticks() {
            let (_, py) = at(0.0, tick);
            let right = WIDTH - RIGHT;
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{py:.1}\" y2=\"{py:.1}\"/>"
            );
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                py + 4.0,
                number(tick)
            );
        }
        let labels: Vec<(f64, String)> = if self.x_labels.is_empty() {
            x.ticks()
                .into_iter()
                .filter(|tick| *tick <= x.high)
                .map(|tick| (tick, number(tick)))
                .collect()
        } else {
            self.x_labels.clone()
        };
        for (place, label) in labels {
            let (px, _) = at(place, 0.0);
            let _ = write!(
                out,
                "<text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                escape(&label)
            );
        }
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        let _ = write!(
            out,
            "<text class=\"axis\" x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            escape(&self.x)
        );
        let centre = TOP + (HEIGHT - TOP - BOTTOM) / 2.0;
        let _ = write!(
            out,
            "<text class=\"axis\" transform=\"translate(14 {centre}) rotate(-90)\" \
            text-anchor=\"middle\">{}</text>",
            escape(&self.y)
        );
        if let Some((value, name)) = &self.limit {
            let (_, py) = at(0.0, *value);
            let _ = write!(
                out,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{py:.1}\" y2=\"{py:.1}\"/>",
                WIDTH - RIGHT
            );
            let _ = write!(
                out,
                "<text class=\"limit\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT + 4.0,
                py - 4.0,
                escape(name)
            );
        }
        for line in &self.lines {
            line.draw(&mut out, &at);
        }
        out.push_str("</svg>");
        out.push_str(&self.legend());
        out
    }

    fn legend(&self) -> String {
        let entry = |line: &Line| {
            format!(
                "<span><i style=\"background:{}\"></i>{}</span>",
                line.colour,
                escape(&line.name)
            )
        };
        let entries: String = self.lines.iter().map(entry).collect();
        format!("<div class=\"legend\">{entries}</div>")
    }
}

impl Line {
    fn draw(&self, out: &mut String, at: &impl Fn(f64, f64) -> (f64, f64)) {
        let mut path = String::new();
        let mut pen = 'M';
        for same_x in self.points.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let mut of_x: Vec<(f64, f64)> = same_x
                .iter()
                .filter(|(_, y)| y.is_finite())
                .map(|(x, y)| at(*x, *y))
                .collect();
            of_x.sort_by(|a, b| a.1.total_cmp(&b.1));
            for (px, py) in of_x.iter().filter(|_| self.dots) {
                let _ = write!(
                    out,
                    "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\" fill=\"{}\"/>",
                    self.colour
                );
            }
            let Some(last) = of_x.len().checked_sub(1) else {
                pen = 'M';
                continue;
            };
            let (px, low) = of_x[last / 2];
            let py = f64::midpoint(low, of_x[last.div_ceil(2)].1);
            let _ = write!(path, "{pen}{px:.1} {py:.1}");
            pen = 'L';
        }
        let _ = write!(
            out,
            "<path d=\"{path}\" stroke=\"{}\" fill=\"none\" stroke-width=\"1.8\"/>",
            self.colour
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_the_medians_of_its_dots_and_stops_at_a_gap() {
        let line = Line {
            name: String::new(),
            colour: "red",
            points: vec![
                (1.0, 1.0),
                (1.0, 9.0),
                (1.0, 2.0),
                (2.0, 4.0),
                (2.0, 6.0),
                (3.0, f64::NAN),
                (4.0, 7.0),
            ],
            dots: true,
        };
        let mut out = String::new();
        line.draw(&mut out, &|x, y| (x, y));
        assert_eq!(out.matches("<circle").count(), 6);
        assert!(out.contains("d=\"M1.0 2.0L2.0 5.0M4.0 7.0\""), "{out}");
    }
}
