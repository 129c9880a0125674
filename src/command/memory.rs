//! MEMORY: what keys take, and where the memory of this node is.

use super::help;
use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare, SECOND_KEY, access, flag};
use crate::keyspace::{CommandError, Result, View, key};
use crate::number::parse_integer;
use crate::resp::{Args, ReplyWriter};

/// MEMORY and its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "MEMORY",
    &[
        Command::node("MEMORY|DOCTOR", "", doctor)
            .tips(REPORT)
            .compare(Compare::Shape)
            .doc("4.0.0", "Returns a report on the memory of this node."),
        Command::session("MEMORY|HELP", "", help)
            .always()
            .compare(Compare::Shape)
            .doc("4.0.0", "Returns this text."),
        Command::node("MEMORY|MALLOC-STATS", "", malloc_stats)
            .flag(flag::LOADING)
            .tips(REPORT)
            .compare(Compare::Shape)
            .doc("4.0.0", "Returns what the allocator says of itself."),
        Command::node("MEMORY|PURGE", "", purge)
            .flag(flag::LOADING)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("4.0.0", "Asks the allocator to give memory back."),
        Command::node("MEMORY|STATS", "", stats)
            .tips(REPORT)
            .compare(Compare::Shape)
            .doc("4.0.0", "Returns where the memory of this node is."),
        Command::read("MEMORY|USAGE", "key [SAMPLES count]", usage)
            .keys(SECOND_KEY)
            .access(access::RO)
            .compare(Compare::Shape)
            .doc("4.0.0", "Returns how many bytes a key and its value take in their encoded form.")
            .complexity("O(1)"),
    ],
)
.doc("4.0.0", "Looks at memory.");

const REPORT: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

/// Bytes of all records of a key. They are counted when they are written, so nothing is sampled and `SAMPLES` changes
/// nothing.
fn usage(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let mut reader = args.reader(3);
    while reader.remaining() > 0 {
        if !reader.token("SAMPLES") {
            return Err(CommandError::Syntax.into());
        }
        let samples = parse_integer(reader.bytes()?).ok_or(CommandError::NotInteger)?;
        if samples < 0 {
            return Err(CommandError::Syntax.into());
        }
    }
    match key::memory_bytes(view, &args[2])? {
        Some(bytes) => out.integer(i64::try_from(bytes).unwrap_or(i64::MAX)),
        None => out.null(),
    }
    Ok(())
}

fn stats(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let Some(status) = node.status else { return Ok(Some(Ask::Status)) };
    let memory = &status.memory;
    let used = status.memory_used_bytes();
    let keys = status.keys();
    let rows = [
        ("peak.allocated", node.stats.totals().memory_peak_bytes.max(used)),
        ("total.allocated", used),
        ("budget.bytes", status.configured.memory_budget_bytes),
        ("clients.normal", status.clients.buffer_bytes),
        ("tunnels.buffers", status.peers.tunnel_buffer_bytes),
        ("memtables.bytes", memory.memtable_bytes),
        ("caches.bytes", memory.cache_bytes),
        ("overlay.bytes", memory.overlay_bytes),
        ("in-flight.bytes", memory.in_flight_bytes),
        ("keys.count", keys),
        ("resident.bytes", status.process.usage.resident_bytes),
    ];
    out.map(rows.len());
    for (name, value) in rows {
        out.bulk(name.as_bytes());
        out.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
    Ok(None)
}

fn doctor(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let Some(status) = node.status else { return Ok(Some(Ask::Status)) };
    let budget = status.configured.memory_budget_bytes;
    let used = status.memory_used_bytes();
    let resident = status.process.usage.resident_bytes;
    let mut findings = Vec::new();
    if used > budget {
        findings.push(format!("{used} bytes are in use, more than the budget of {budget}."));
    }
    // The program itself, stacks and the allocator's slack are outside of the budget.
    if resident > budget.saturating_mul(2) {
        findings.push(format!("The process has {resident} bytes, more than twice the budget of {budget}."));
    }
    if status.lsm.sealed_memtables > 1 {
        let sealed = status.lsm.sealed_memtables;
        findings.push(format!("{sealed} full memtables wait to be written: the disk does not keep up."));
    }
    if status.lsm.old_views > 0 {
        findings.push("Reads that run for more than 10 s keep memory that would be free.".to_owned());
    }
    if findings.is_empty() {
        findings.push(format!("Nothing to report: {used} bytes are in use of a budget of {budget}."));
    }
    out.verbatim("txt", findings.join("\n"));
    Ok(None)
}

/// The memory that is worth returning is in memtables and caches, which have budgets; the allocator has no such call.
fn purge(_: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.ok();
    Ok(None)
}

fn malloc_stats(_: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.bulk(b"Stats not supported for the current allocator");
    Ok(None)
}
