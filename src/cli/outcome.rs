//! Whether a change was made although its answer was lost: who hands the leadership over, or is removed while it leads, closes
//! the connection or cannot say how it ended. The nodes that go on can.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Target,
    connection::{CliError, Connection, Reply},
};

/// How long the others are asked, and how often.
const PATIENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Whether `error` leaves it open what was done.
pub(super) fn is_unknown(error: &CliError) -> bool {
    match error {
        CliError::Closed(_) => true,
        CliError::Refused(text) => text.starts_with("TIMEOUT "),
        _ => false,
    }
}

/// Asks the node and the other members until one of them shows that `words` were carried out; false if none does for long.
/// `before` is the RAFT.STATUS from before.
pub(super) fn is_shown(target: &Target, words: &[&str], before: &Reply) -> bool {
    let members = before.field("members").elements().iter().filter_map(|member| {
        let address = member.field("address").text();
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Target { host: host.to_owned(), port, ..target.clone() })
    });
    let targets: Vec<_> = std::iter::once(target.clone()).chain(members).collect();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let status = |target| Connection::open(target)?.ask(&["RAFT.STATUS"]);
        // Who does not answer is asked again.
        if targets.iter().filter_map(|target| status(target).ok()).any(|now| is_done(words, before, &now)) {
            return true;
        }
        thread::sleep(ASK_EVERY);
    }
    false
}

/// Whether the RAFT.STATUS `now` shows that `words` were carried out since `before`.
fn is_done(words: &[&str], before: &Reply, now: &Reply) -> bool {
    let called = |status: &Reply, name: &str| -> Vec<String> {
        let members = status.field("members").elements().iter();
        let is_meant =
            |member: &&Reply| ["id", "name", "peer"].iter().any(|field| member.field(field).text() == name);
        members.filter(is_meant).map(|member| member.field("id").text()).collect()
    };
    let leader = now.field("leader_id").text();
    match words {
        _ if leader.is_empty() => false,
        ["RAFT.TRANSFER"] => leader != before.field("leader_id").text(),
        ["RAFT.TRANSFER", to] => called(now, to).contains(&leader),
        ["RAFT.MEMBER", "REMOVE", node, ..] => match called(before, node).as_slice() {
            [id] => now.field("change").text() == "none" && called(now, id).is_empty(),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(text.to_owned())
    }

    /// A status with this leader and these members, of which each is called by its id and as `name-ID`.
    fn status(leader: &str, ids: &[&str]) -> Reply {
        let members = ids.iter().map(|id| {
            Reply::Map(vec![
                ("id".to_owned(), text(id)),
                ("name".to_owned(), Reply::Text(format!("name-{id}"))),
            ])
        });
        Reply::Map(vec![
            ("leader_id".to_owned(), text(leader)),
            ("change".to_owned(), text("none")),
            ("members".to_owned(), Reply::Array(members.collect())),
        ])
    }

    #[test]
    fn what_was_done_is_seen_by_those_who_go_on() {
        let before = status("a", &["a", "b", "c"]);
        let done = |words: &[&str], now: Reply| is_done(words, &before, &now);
        let remove = ["RAFT.MEMBER", "REMOVE", "name-a"];
        assert!(done(&remove, status("b", &["b", "c"])));
        assert!(!done(&remove, status("b", &["a", "b", "c"])));
        assert!(!done(&remove, status("", &["b", "c"])), "it may still come back");
        assert!(!done(&["RAFT.MEMBER", "REMOVE", "x"], status("b", &["b", "c"])));
        assert!(done(&["RAFT.TRANSFER"], status("c", &["a", "b", "c"])));
        assert!(!done(&["RAFT.TRANSFER"], status("a", &["a", "b", "c"])));
        assert!(done(&["RAFT.TRANSFER", "b"], status("b", &["a", "b", "c"])));
        assert!(!done(&["RAFT.TRANSFER", "b"], status("c", &["a", "b", "c"])), "another took over");
        assert!(!done(&["RAFT.MEMBER", "PROMOTE", "b"], status("b", &["a", "b", "c"])));
    }
}
