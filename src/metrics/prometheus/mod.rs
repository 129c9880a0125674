//! `/metrics`: the table of metrics, and its text.
//!
//! Gauges and counters go through `metrics` and its Prometheus exporter, into a recorder that lives for one scrape: so
//! nothing is kept for labels that are gone, and the hot path never meets it. What that exporter cannot be given
//! ready-made, sums of seconds and histograms with their buckets, is written beside it in the same format.

mod rows;
mod samples;

use std::fmt::Write;
use std::time::Duration;

use metrics::{Label, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::histogram::Latencies;
use super::info::Snapshot;

/// A metric: one family of `/metrics`.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Samples,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A whole number that only grows.
    Counter,
    /// A time in seconds that only grows.
    Seconds,
    /// Latencies in buckets.
    Histogram,
}

/// Where the samples of a metric come from.
enum Samples {
    Number(fn(&Snapshot<'_>) -> f64),
    Count(fn(&Snapshot<'_>) -> u64),
    Time(fn(&Snapshot<'_>) -> Duration),
    Many(fn(&Snapshot<'_>) -> Vec<Sample>),
}

/// One line of a metric, or the lines of one histogram.
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// What a sample says.
enum Value {
    Count(u64),
    Number(f64),
    Latencies(Box<Latencies>),
}

/// The bounds of histogram buckets, in seconds.
const BOUNDS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25,
    0.5, 1.0, 10.0,
];

const fn gauge(name: &'static str, help: &'static str, value: fn(&Snapshot<'_>) -> f64) -> Metric {
    Metric { name, help, kind: Kind::Gauge, samples: Samples::Number(value) }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Snapshot<'_>) -> u64) -> Metric {
    Metric { name, help, kind: Kind::Counter, samples: Samples::Count(value) }
}

const fn seconds(name: &'static str, help: &'static str, value: fn(&Snapshot<'_>) -> Duration) -> Metric {
    Metric { name, help, kind: Kind::Seconds, samples: Samples::Time(value) }
}

const fn many(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: fn(&Snapshot<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, help, kind, samples: Samples::Many(samples) }
}

fn metrics() -> impl Iterator<Item = &'static Metric> {
    [rows::SISYPHUSDB, rows::REDIS, rows::OWN, rows::PEERS].into_iter().flatten()
}

/// The text of `/metrics`.
pub fn prometheus_text(snapshot: &Snapshot<'_>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut beside = String::new();
    with_local_recorder(&recorder, || {
        for metric in metrics() {
            let samples = metric.samples(snapshot);
            match metric.kind {
                Kind::Gauge | Kind::Counter => samples.into_iter().for_each(|sample| metric.record(sample)),
                Kind::Seconds | Kind::Histogram => metric.write(&samples, &mut beside),
            }
        }
    });
    recorder.handle().render() + &beside
}

/// The table of metrics as a page of the documentation.
pub(super) fn markdown() -> String {
    let mut text = String::from("\n| name | kind | |\n|---|---|---|\n");
    for metric in metrics() {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter | Kind::Seconds => "counter",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(text, "| `{}` | {kind} | {} |", metric.name, metric.help);
    }
    text
}

impl Metric {
    fn samples(&self, snapshot: &Snapshot<'_>) -> Vec<Sample> {
        let value = match self.samples {
            Samples::Many(samples) => return samples(snapshot),
            Samples::Number(value) => Value::Number(value(snapshot)),
            Samples::Count(value) => Value::Count(value(snapshot)),
            Samples::Time(value) => Value::Number(value(snapshot).as_secs_f64()),
        };
        vec![Sample { labels: Vec::new(), value }]
    }

    /// Gives a sample to the recorder in force.
    fn record(&self, sample: Sample) {
        let labels: Vec<Label> =
            sample.labels.into_iter().map(|(name, value)| Label::new(name, value)).collect();
        match sample.value {
            Value::Count(count) if self.kind == Kind::Counter => {
                metrics::describe_counter!(self.name, self.help);
                metrics::counter!(self.name, labels).absolute(count);
            }
            Value::Count(count) => {
                metrics::describe_gauge!(self.name, self.help);
                metrics::gauge!(self.name, labels).set(count as f64);
            }
            Value::Number(number) => {
                metrics::describe_gauge!(self.name, self.help);
                metrics::gauge!(self.name, labels).set(number);
            }
            Value::Latencies(_) => unreachable!("latencies belong to histograms"),
        }
    }

    /// Writes a family the recorder has no form for.
    fn write(&self, samples: &[Sample], text: &mut String) {
        if samples.is_empty() {
            return;
        }
        let kind = if self.kind == Kind::Histogram { "histogram" } else { "counter" };
        let _ = write!(text, "# HELP {0} {1}\n# TYPE {0} {kind}\n", self.name, self.help);
        for sample in samples {
            let labels = label_text(&sample.labels);
            match &sample.value {
                Value::Count(count) => line(text, self.name, &labels, count),
                Value::Number(number) => line(text, self.name, &labels, number),
                Value::Latencies(latencies) => self.write_histogram(latencies, &labels, text),
            }
        }
        text.push('\n');
    }

    fn write_histogram(&self, latencies: &Latencies, labels: &str, text: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let bucket = format!("{}_bucket", self.name);
        for bound in BOUNDS {
            line(text, &bucket, &format!("{labels}{comma}le=\"{bound}\""), latencies.at_most(bound));
        }
        let count = latencies.count();
        line(text, &bucket, &format!("{labels}{comma}le=\"+Inf\""), count);
        line(text, &format!("{}_sum", self.name), labels, latencies.total().as_secs_f64());
        line(text, &format!("{}_count", self.name), labels, count);
    }
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        _ => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

fn label_text(labels: &[(&'static str, String)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    labels.join(",")
}

#[cfg(test)]
mod tests;
