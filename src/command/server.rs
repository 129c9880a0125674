//! The commands of the server group, put together from the files that have them.

use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare};
use super::{database, introspect, slowlog};
use crate::keyspace::Result;
use crate::resp::{Args, ReplyWriter};

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    introspect::COMMAND,
    database::DBSIZE,
    database::FLUSHALL,
    database::FLUSHDB,
    database::SWAPDB,
    slowlog::COMMAND,
    Command::node("TIME", "", time)
        .fast()
        .always()
        .tips(&["nondeterministic_output"])
        .compare(Compare::Shape)
        .doc("2.6.0", "Returns the time of day: seconds since 1970, and microseconds within the second."),
];

fn time(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.array(2);
    for part in [node.now_micros / 1_000_000, node.now_micros % 1_000_000] {
        out.bulk(part.to_string().as_bytes());
    }
    Ok(None)
}
