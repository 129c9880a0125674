use std::collections::BTreeSet;

use super::testing::{eventful, eventful_stats};
use super::*;
use crate::metrics::Stats;

#[test]
fn every_field_moves_or_says_why_it_is_constant() {
    let quiet = (NodeStatus::default(), Stats::new(Vec::new()).totals());
    let busy = (eventful(), eventful_stats().totals());
    let [quiet, busy] = [&quiet, &busy].map(|(status, totals)| Snapshot { status, totals });
    let mut names = BTreeSet::new();
    let mut constants = 0;
    for field in SECTIONS.iter().flat_map(|section| section.fields) {
        let (before, after) = ((field.value)(&quiet), (field.value)(&busy));
        match field.change {
            Change::With(event) => {
                assert_ne!(before, after, "{} should change with: {event}", field.name);
                assert!(!event.is_empty());
            }
            Change::AtStart(by) => {
                assert_ne!(before, after, "{} should be fixed by {by}", field.name);
                assert!(!by.is_empty());
            }
            Change::Never(why) => {
                assert_eq!(before, after, "{} should be constant: {why}", field.name);
                assert!(!why.is_empty());
                constants += 1;
            }
        }
        assert!(names.insert(field.name), "{} is there twice", field.name);
    }
    assert!(constants <= 48, "the list of constants is to be short, and has {constants}");
}

#[test]
fn sections_are_chosen_as_in_redis() {
    let (status, totals) = (eventful(), eventful_stats().totals());
    let snapshot = Snapshot { status: &status, totals: &totals };
    let titles = |wanted: &[&str]| -> Vec<String> {
        let text = text(wanted, &snapshot);
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_string).collect()
    };
    assert_eq!(titles(&["CPU"]), ["CPU"]);
    assert_eq!(titles(&["keyspace", "server"]), ["Server", "Keyspace"]);
    assert!(titles(&["nonsense"]).is_empty());
    assert!(!titles(&[]).contains(&"Commandstats".to_string()));
    assert_eq!(titles(&[]), titles(&["default"]));
    assert_eq!(titles(&["all"]).len(), SECTIONS.len());
    assert_eq!(titles(&["default", "commandstats"]).len(), titles(&[]).len() + 1);
}

#[test]
fn lists_have_a_line_for_each() {
    let (status, totals) = (eventful(), eventful_stats().totals());
    let text = text(&["everything"], &Snapshot { status: &status, totals: &totals });
    for line in [
        "listener0:name=tcp,bind=127.0.0.1,port=6379",
        "listener2:name=http,bind=127.0.0.1,port=8001",
        "cmdstat_get:calls=10,usec=40,usec_per_call=4.00,rejected_calls=0,failed_calls=0",
        "cmdstat_config|set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=1",
        "errorstat_ERR:count=1",
        "db0:keys=10,expires=4,avg_ttl=0",
        "lsm_level1:tables=3,bytes=9000",
        "peer0:id=000000000000000c,address=b.example:5001,state=up,sent=70,dropped=2,received=60,opened=1",
        "master_replid:000000000000000000000000000000000000beef",
        "role:master",
        "connected_slaves:2",
        "slave1:ip=c.example,port=6379,state=online,offset=100,lag=2",
        "raft_node_id:000000000000000b",
        "raft_leader_id:000000000000000b",
        "raft_member0:id=000000000000000b,name=a,host=a.example,port=6379,voter=1,leader=1",
        "raft_member2:id=000000000000000d,name=c,host=c.example,port=6379,voter=0,leader=0,mode=replicate,match_index=100,\
         lag=5",
        "rdb_last_bgsave_status:err",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in\n{text}");
    }
    assert!(text.contains("latency_percentiles_usec_get:p50=4."), "{text}");
    assert!(!text.contains("db1:"), "an empty database is not shown");
    assert!(text.starts_with("# Server\r\nredis_version:"));
    assert!(text.contains("\r\n\r\n# Clients\r\n"));
}

#[test]
fn a_follower_says_whom_it_follows() {
    let (mut status, totals) = (eventful(), eventful_stats().totals());
    status.raft.role = crate::metrics::status::Role::Follower;
    status.raft.members.iter_mut().for_each(|member| member.progress = None);
    let shown = text(&["replication"], &Snapshot { status: &status, totals: &totals });
    for line in ["role:slave", "connected_slaves:0", "master_host:a.example", "master_link_status:up"] {
        assert!(shown.contains(&format!("\r\n{line}\r\n")), "{line} in\n{shown}");
    }
    status.raft.members.clear();
    let lost = text(&["replication"], &Snapshot { status: &status, totals: &totals });
    assert!(
        lost.contains("\r\nmaster_host:\r\n") && lost.contains("\r\nmaster_link_status:down\r\n"),
        "{lost}"
    );
}

#[test]
fn sizes_are_printed_as_redis_prints_them() {
    for (bytes, text) in
        [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_005_440, "981.88K"), (3 << 30, "3.00G")]
    {
        assert_eq!(human(bytes), text);
    }
}
