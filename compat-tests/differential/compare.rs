//! When two replies to the same request count as the same.

use sisyphusdb::command::Compare;

use crate::wire::Reply;

/// Whether two replies are the same in the way that the command's row says. Errors are always compared exactly.
pub(crate) fn same(compare: Compare, ours: &Reply, theirs: &Reply) -> bool {
    match compare {
        Compare::Exact => ours == theirs,
        Compare::Sorted => sorted(ours) == sorted(theirs),
        Compare::Member => same_shape(ours, theirs) && ours.elements().len() == theirs.elements().len(),
        Compare::Tolerance(by) => near(ours, theirs, u64::from(by)),
        Compare::Scan | Compare::Shape => same_shape(ours, theirs),
    }
}

/// The reply with its elements in order; the pairs of a map stay together.
fn sorted(reply: &Reply) -> Reply {
    let in_order = |inner: &[Reply]| {
        let mut inner = inner.to_vec();
        inner.sort();
        inner
    };
    match reply {
        Reply::Map(inner) => {
            let mut pairs: Vec<&[Reply]> = inner.chunks(2).collect();
            pairs.sort();
            Reply::Map(pairs.concat())
        }
        Reply::Array(inner) => Reply::Array(in_order(inner)),
        Reply::Set(inner) => Reply::Set(in_order(inner)),
        other => other.clone(),
    }
}

/// Whether the replies are of one type.
fn same_shape(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Error(ours), Reply::Error(theirs)) => ours == theirs,
        _ => std::mem::discriminant(ours) == std::mem::discriminant(theirs),
    }
}

/// Whether two integers differ by no more than `by`.
pub(crate) fn near(ours: &Reply, theirs: &Reply, by: u64) -> bool {
    match (ours, theirs) {
        // What is negative is no time but a word: none, or never.
        (Reply::Integer(ours), Reply::Integer(theirs)) if *ours >= 0 && *theirs >= 0 => {
            ours.abs_diff(*theirs) <= by
        }
        _ => ours == theirs,
    }
}
