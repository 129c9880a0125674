//! LATENCY: spikes above a threshold, kept per event in memory of this node, and histograms per command.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare};
use super::{find, help};
use crate::keyspace::{CommandError, Result};
use crate::resp::{Args, ReplyWriter};

/// Samples kept per event.
const SAMPLES_MAX: usize = 160;
/// Columns of a graph, so the newest samples that it shows.
const GRAPH_COLUMNS: usize = 80;
/// Rows of a graph.
const GRAPH_ROWS: u64 = 4;

/// LATENCY and its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "LATENCY",
    &[
        row("LATENCY|DOCTOR", "", doctor)
            .tips(REPORT)
            .doc("2.8.13", "Returns a report on the spikes of this node.")
            .complexity("O(1)"),
        row("LATENCY|GRAPH", "event", graph)
            .tips(REPORT)
            .doc("2.8.13", "Returns the spikes of an event, drawn with characters.")
            .complexity("O(1)"),
        Command::session("LATENCY|HELP", "", help)
            .always()
            .compare(Compare::Shape)
            .doc("2.8.13", "Returns this text."),
        row("LATENCY|HISTOGRAM", "[command [command ...]]", histogram)
            .tips(REPORT)
            .doc("7.0.0", "Returns how often commands took how long.")
            .complexity("O(N) where N is the number of commands with latency information being retrieved."),
        row("LATENCY|HISTORY", "event", history)
            .tips(REPORT)
            .doc("2.8.13", "Returns the spikes of an event with their times.")
            .complexity("O(1)"),
        row("LATENCY|LATEST", "", latest)
            .tips(REPORT)
            .doc("2.8.13", "Returns the latest spike of every event.")
            .complexity("O(1)"),
        row("LATENCY|RESET", "[event [event ...]]", reset)
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
            .doc("2.8.13", "Forgets the spikes of events, or of all.")
            .complexity("O(1)"),
    ],
)
.doc("2.8.13", "Looks at latency.");

const REPORT: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

const fn row(name: &'static str, syntax: &'static str, run: super::spec::NodeHandler) -> Command {
    Command::node(name, syntax, run).admin().always().noscript().compare(Compare::Shape)
}

/// The spikes of this node: what took longer than `latency-monitor-threshold`.
#[derive(Debug, Default)]
pub struct Latency {
    events: Mutex<BTreeMap<&'static str, Event>>,
}

#[derive(Debug, Default)]
struct Event {
    /// (seconds since 1970, milliseconds), the newest last; one a second, the worst of it.
    samples: VecDeque<(u64, u64)>,
    worst_ms: u64,
    /// Over the samples ever recorded, as RESET forgets them all.
    sum_ms: u64,
    count: u64,
}

impl Latency {
    /// Adds a spike of `event`: `command` or `fast-command` for commands, and what else the node waits for.
    pub fn record(&self, event: &'static str, at_unix_secs: u64, millis: u64) {
        let mut events = self.lock();
        let event = events.entry(event).or_default();
        event.worst_ms = event.worst_ms.max(millis);
        event.sum_ms += millis;
        event.count += 1;
        if let Some((second, worst)) = event.samples.back_mut()
            && *second == at_unix_secs
        {
            *worst = millis.max(*worst);
            return;
        }
        if event.samples.len() == SAMPLES_MAX {
            event.samples.pop_front();
        }
        event.samples.push_back((at_unix_secs, millis));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Event>> {
        // A panic elsewhere leaves an event with a sample more or less, which nobody depends on.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// The mean of the samples kept, and how far they are from it on average.
    fn mean_and_deviation(&self) -> (u64, u64) {
        let count = self.samples.len().max(1) as u64;
        let mean = self.samples.iter().map(|&(_, millis)| millis).sum::<u64>() / count;
        let distance: u64 = self.samples.iter().map(|&(_, millis)| millis.abs_diff(mean)).sum();
        (mean, distance / count)
    }

    /// Seconds from spike to spike on average.
    fn period_secs(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some(&(first, _)), Some(&(last, _))) if self.samples.len() > 1 => {
                (last - first) as f64 / (self.samples.len() - 1) as f64
            }
            _ => 0.0,
        }
    }
}

fn latest(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let events = node.latency.lock();
    out.array(events.len());
    for (name, event) in events.iter() {
        let &(second, millis) = event.samples.back().expect("an event is made with its first sample");
        out.array(4);
        out.bulk(name.as_bytes());
        write_number(second, out);
        write_number(millis, out);
        write_number(event.worst_ms, out);
    }
    Ok(None)
}

fn history(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let events = node.latency.lock();
    let samples = name_of(&args[2]).and_then(|name| events.get(name.as_str()));
    out.array(samples.map_or(0, |event| event.samples.len()));
    for &(second, millis) in samples.into_iter().flat_map(|event| &event.samples) {
        out.array(2);
        write_number(second, out);
        write_number(millis, out);
    }
    Ok(None)
}

fn reset(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut events = node.latency.lock();
    let before = events.len();
    if args.len() == 2 {
        events.clear();
    }
    for name in args.iter().skip(2).filter_map(name_of) {
        events.remove(name.as_str());
    }
    write_number((before - events.len()) as u64, out);
    Ok(None)
}

fn graph(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let events = node.latency.lock();
    let Some((name, event)) = name_of(&args[2]).and_then(|name| events.get_key_value(name.as_str())) else {
        return Err(CommandError::showing("ERR No samples available for event '{}'", &[&args[2]]).into());
    };
    out.verbatim("txt", draw(name, event, node.now_secs()));
    Ok(None)
}

/// Draws the newest samples as columns, the highest as tall as the graph, each with its age below it.
fn draw(name: &str, event: &Event, now_unix_secs: u64) -> String {
    let shown: Vec<(u64, u64)> = event.samples.iter().rev().take(GRAPH_COLUMNS).rev().copied().collect();
    let high = shown.iter().map(|&(_, millis)| millis).max().unwrap_or(0);
    let low = shown.iter().map(|&(_, millis)| millis).min().unwrap_or(0);
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.worst_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    for row in (1..=GRAPH_ROWS).rev() {
        let line: String = shown
            .iter()
            .map(|&(_, millis)| {
                let height =
                    if high == low { 1 } else { 1 + (millis - low) * (GRAPH_ROWS - 1) / (high - low) };
                match height.cmp(&row) {
                    std::cmp::Ordering::Less => ' ',
                    std::cmp::Ordering::Equal => '#',
                    std::cmp::Ordering::Greater => '|',
                }
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let ages: Vec<String> =
        shown.iter().map(|&(second, _)| age(now_unix_secs.saturating_sub(second))).collect();
    text.push('\n');
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        let line: String = ages.iter().map(|age| age.chars().nth(row).unwrap_or(' ')).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time in the past, as few characters as will do.
fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h", secs / 3_600),
        _ => format!("{}d", secs / 86_400),
    }
}

fn doctor(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let threshold = node.config.settings().latency_monitor_threshold;
    let events = node.latency.lock();
    out.verbatim("txt", report(threshold.is_some(), &events));
    Ok(None)
}

fn report(monitored: bool, events: &BTreeMap<&'static str, Event>) -> String {
    if !monitored {
        return "Latency is not monitored on this node. CONFIG SET latency-monitor-threshold <milliseconds> \
                starts it.\n"
            .to_owned();
    }
    if events.is_empty() {
        return "No latency spike was observed on this node since it started or LATENCY RESET was called.\n"
            .to_owned();
    }
    let mut text = String::from("Latency spikes were observed on this node.\n\n");
    for (number, (name, event)) in events.iter().enumerate() {
        let (mean, deviation) = event.mean_and_deviation();
        let count = event.count;
        let overall = event.sum_ms / event.count.max(1);
        writeln!(
            text,
            "{}. {name}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {:.2} sec, \
             average of all {overall}ms). Worst all time event {}ms.",
            number + 1,
            event.period_secs(),
            event.worst_ms
        )
        .expect("a string takes what is written");
    }
    text.push_str("\nSLOWLOG GET names the commands; LATENCY GRAPH <event> shows when it happened.\n");
    text
}

fn histogram(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let asked: Vec<&'static Command> = if args.len() == 2 {
        super::all().iter().collect()
    } else {
        let mut asked = Vec::new();
        for command in args.iter().skip(2).filter_map(find) {
            // A container stands for its subcommands.
            if command.children().is_empty() {
                asked.push(command);
            } else {
                asked.extend(command.children());
            }
        }
        asked
    };
    let totals = node.stats.totals();
    let tracked = node.config.settings().latency_tracking;
    let used: Vec<_> = asked
        .into_iter()
        .filter_map(|command| {
            totals.commands.get(&usize::from(command.id)).map(|of| (command, &of.latencies))
        })
        .filter(|(_, latencies)| tracked && latencies.count() > 0)
        .collect();
    out.map(used.len());
    for (command, latencies) in used {
        out.bulk(command.full_name().as_bytes());
        out.map(2);
        out.bulk(b"calls");
        write_number(latencies.count(), out);
        out.bulk(b"histogram_usec");
        let buckets = latencies.by_powers_of_two();
        out.map(buckets.len());
        for (micros, calls) in buckets {
            write_number(micros, out);
            write_number(calls, out);
        }
    }
    Ok(None)
}

/// The name of an event as the client spelt it; events are known by exact names.
fn name_of(word: &[u8]) -> Option<String> {
    String::from_utf8(word.to_vec()).ok()
}

fn write_number(number: u64, out: &mut ReplyWriter<'_>) {
    out.integer(i64::try_from(number).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_the_worst_of_it() {
        let latency = Latency::default();
        for (second, millis) in [(10, 5), (10, 9), (10, 3), (11, 4)] {
            latency.record("command", second, millis);
        }
        let events = latency.lock();
        let event = &events["command"];
        assert_eq!(event.samples, [(10, 9), (11, 4)]);
        assert_eq!((event.worst_ms, event.count), (9, 4));
    }

    #[test]
    fn old_samples_make_room_but_the_worst_is_remembered() {
        let latency = Latency::default();
        latency.record("command", 0, 1_000);
        for second in 1..=SAMPLES_MAX as u64 {
            latency.record("command", second, 2);
        }
        let events = latency.lock();
        assert_eq!(events["command"].samples.len(), SAMPLES_MAX);
        assert_eq!(events["command"].worst_ms, 1_000);
        assert_eq!(events["command"].mean_and_deviation(), (2, 0));
    }

    #[test]
    fn a_graph_has_a_column_a_sample() {
        let latency = Latency::default();
        for (second, millis) in [(100, 10), (160, 40), (170, 20)] {
            latency.record("command", second, millis);
        }
        let text = draw("command", &latency.lock()["command"], 172);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 40 ms)");
        assert_eq!(lines[2..], [" #", " |", " |#", "#||", "", "112", "m2s", " s"]);
    }
}
