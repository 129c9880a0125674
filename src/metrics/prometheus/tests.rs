use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::metrics::info::testing::{eventful, eventful_stats};
use crate::metrics::{NodeStatus, Stats};

/// The families of a text, with their kinds; every line must belong to the family above it.
fn families(text: &str) -> BTreeMap<String, String> {
    let mut families = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.insert(name.to_string(), kind.to_string()).is_none(), "{name} is there twice");
            current = name.to_string();
        } else if !line.starts_with('#') {
            let name = line.split([' ', '{']).next().unwrap();
            let rest =
                name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} under {current}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&rest), "{line} under {current}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    families
}

#[test]
fn every_row_appears_with_its_kind_and_help() {
    let (status, totals) = (eventful(), eventful_stats().totals());
    let text = prometheus_text(&Snapshot { status: &status, totals: &totals });
    let families = families(&text);
    assert_eq!(families.len(), metrics().count());
    for metric in metrics() {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter | Kind::Seconds => "counter",
            Kind::Histogram => "histogram",
        };
        assert_eq!(families.get(metric.name).map(String::as_str), Some(kind), "{}", metric.name);
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
    }
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for metric in metrics() {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        let grows = matches!(metric.kind, Kind::Counter | Kind::Seconds);
        assert_eq!(name.ends_with("_total"), grows, "{name}: counters end in _total, and nothing else does");
        assert!(!name.contains("_ms") && !name.contains("_usec"), "{name}: times are in seconds");
        if matches!(metric.kind, Kind::Seconds | Kind::Histogram) {
            assert!(name.contains("_seconds"), "{name}: times say their unit");
        }
        assert!(metric.help.ends_with('.'), "{name}: help is a sentence");
    }
}

#[test]
fn the_names_of_dashboards_are_there() {
    // SisyphusDB's dashboard, Grafana's 763 and 11835.
    for name in "raft_current_term raft_commit_index raft_state raft_leader kv_level_file_count kv_level_size_bytes \
                 http_requests_total http_request_duration_seconds redis_uptime_in_seconds redis_connected_clients \
                 redis_memory_used_bytes redis_memory_max_bytes redis_commands_total redis_commands_processed_total \
                 redis_commands_duration_seconds_total redis_keyspace_hits_total redis_keyspace_misses_total \
                 redis_net_input_bytes_total redis_net_output_bytes_total redis_db_keys redis_db_keys_expiring \
                 redis_expired_keys_total redis_evicted_keys_total redis_blocked_clients"
        .split_whitespace()
    {
        assert!(metrics().any(|metric| metric.name == name), "{name}");
    }
}

#[test]
fn samples_carry_their_labels() {
    let (status, totals) = (eventful(), eventful_stats().totals());
    let text = prometheus_text(&Snapshot { status: &status, totals: &totals });
    for line in [
        "raft_current_term{node_id=\"000000000000000b\"} 3",
        "raft_state{node_id=\"000000000000000b\"} 2",
        "raft_leader{node_id=\"000000000000000b\"} 1",
        "kv_level_file_count{node_id=\"000000000000000b\",level=\"1\"} 3",
        "http_requests_total{method=\"GET\",endpoint=\"/get\",status=\"404\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",endpoint=\"/get\"} 2",
        "http_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/get\",le=\"+Inf\"} 2",
        "http_request_duration_seconds_sum{method=\"GET\",endpoint=\"/get\"} 0.004",
        "redis_commands_total{cmd=\"get\"} 10",
        "redis_commands_duration_seconds_total{cmd=\"get\"} 0.00004",
        "redis_db_keys{db=\"db0\"} 10",
        "redis_errors_total{err=\"ERR\"} 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
}

#[test]
fn a_quiet_node_has_a_valid_text_too() {
    let (status, stats) = (NodeStatus::default(), Stats::new(vec!["get".to_string()]));
    let text = prometheus_text(&Snapshot { status: &status, totals: &stats.totals() });
    assert_eq!(families(&text).get("redis_up").map(String::as_str), Some("gauge"));
    assert!(text.contains("redis_up 1\n"));
}

#[test]
fn labels_are_escaped_and_buckets_are_cumulative() {
    assert_eq!(label_text(&[("a", "x\"y\\z\n".to_string())]), "a=\"x\\\"y\\\\z\\n\"");
    let stats = Stats::new(vec!["get".to_string()]);
    stats.local(|local| {
        for micros in [5, 50, 500, 5_000, 50_000_000] {
            local.command(0, 1, Duration::from_micros(micros));
        }
    });
    let (status, totals) = (NodeStatus::default(), stats.totals());
    let text = prometheus_text(&Snapshot { status: &status, totals: &totals });
    let buckets: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with("sisyphus_command_duration_seconds_bucket"))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(buckets.len(), BOUNDS.len() + 1);
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!((buckets[0], buckets[BOUNDS.len() - 1], buckets[BOUNDS.len()]), (1, 4, 5));
}
