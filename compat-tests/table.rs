//! Every row of the command table is tested, and its test would notice if its handler did nothing.

use std::collections::BTreeSet;

use sisyphusdb::bugs;
use sisyphusdb::command::{self, flag};

use crate::case::{Case, Clients};
use crate::support::Node;
use crate::{cluster, connection, hash, key, server, string, transaction};

const GROUPS: &[&[Case]] = &[
    cluster::CASES,
    connection::CASES,
    hash::CASES,
    key::CASES,
    server::CASES,
    string::CASES,
    transaction::CASES,
];

/// Rows that answer `+OK` and do nothing that a case could see, so that a handler that only answers is as good.
const ONLY_OK: &[&str] = &[
    "ASKING",
    "DEBUG|CHANGE-REPL-ID",
    "DEBUG|DICT-RESIZING",
    "DEBUG|LOADAOF",
    "DEBUG|LOG",
    "DEBUG|PAUSE-CRON",
    "DEBUG|REPLYBUFFER",
    "DEBUG|SET-ACTIVE-EXPIRE",
    "DEBUG|SET-DISABLE-DENY-SCRIPTS",
    "MEMORY|PURGE",
];

/// What a case may leave behind when it fails half-way.
const CLEAN: &str = r#"
    CONFIG SET requirepass "" timeout 0 slowlog-log-slower-than 10000 slowlog-max-len 128 latency-monitor-threshold 0 => OK
    LATENCY RESET => ?
    FLUSHALL => OK
"#;

/// DEBUG is among the commands.
const DIRECTIVES: &[(&str, &str)] = &[("enable-debug-command", "yes")];

/// Runs the case against a node that is as new.
fn run(node: &Node, case: &Case) -> Result<(), String> {
    let Case(name, script) = case;
    // Connections of its own, since a case may close others.
    Clients::new(node.address).run(CLEAN).unwrap();
    Clients::new(node.address).run(script).map_err(|what| format!("{name}: {what}"))
}

fn run_group(cases: &[Case]) {
    let node = Node::start(DIRECTIVES);
    let mut failed = Vec::new();
    for case in cases {
        failed.extend(run(&node, case).err());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_row_has_a_case_of_its_name() {
    let rows: BTreeSet<&str> = command::all()
        .iter()
        .filter(|command| !command.has(flag::CONTAINER))
        .map(|command| command.name)
        .collect();
    let mut cases = BTreeSet::new();
    for Case(name, _) in GROUPS.iter().copied().flatten() {
        assert!(cases.insert(*name), "{name} has two cases");
    }
    let untested: Vec<_> = rows.difference(&cases).collect();
    let unknown: Vec<_> = cases.difference(&rows).collect();
    assert!(untested.is_empty(), "without a case: {untested:?}");
    assert!(unknown.is_empty(), "cases of no row: {unknown:?}");
}

#[test]
fn the_cluster_group() {
    run_group(cluster::CASES);
}

#[test]
fn the_connection_group() {
    run_group(connection::CASES);
}

#[test]
fn the_hash_group() {
    run_group(hash::CASES);
}

#[test]
fn the_generic_group() {
    run_group(key::CASES);
}

#[test]
fn the_server_group() {
    run_group(server::CASES);
}

#[test]
fn the_string_group() {
    run_group(string::CASES);
}

#[test]
fn the_transactions_group() {
    run_group(transaction::CASES);
}

#[test]
fn a_case_fails_when_the_handler_of_its_row_only_answers_ok() {
    let node = Node::start_alone(DIRECTIVES);
    let mut wrong = Vec::new();
    for case in GROUPS.iter().copied().flatten() {
        let Case(name, _) = case;
        let row = command::find(name.as_bytes()).unwrap();
        let result = bugs::with_handler_answering_ok(row.id, || run(&node, case));
        if result.is_ok() != ONLY_OK.contains(name) {
            wrong.push(format!("{name}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_digest_depends_on_every_key_value_type_and_time_to_live() {
    let node = Node::start(DIRECTIVES);
    let mut clients = Clients::new(node.address);
    let mut seen = BTreeSet::new();
    let digest = |clients: &mut Clients| clients.text("DEBUG DIGEST");
    assert_eq!(digest(&mut clients), "0".repeat(40));
    let steps = [
        "SET a 1",
        "SET a 2",
        "SET b 2",
        "EXPIREAT a 33177117420",
        "EXPIREAT a 33177117421",
        "HSET h f v",
        "HSET h f w",
        "HSET h g v",
        "HDEL h f",
        "PEXPIREAT h 33177117420000",
        "MOVE b 1",
        "RENAME h i",
        "DEL i",
        "HSET i g v",
    ];
    for step in steps {
        clients.run(&format!("{step} => ?")).unwrap();
        assert!(seen.insert(digest(&mut clients)), "{step} did not change the digest");
    }
    // The order in which keys and fields were made does not count.
    let made_forwards = "FLUSHALL => OK\nHSET h a 1 b 2 => 2\nSET s v => OK";
    let made_backwards = "FLUSHALL => OK\nSET s v => OK\nHSET h b 2 => 1\nHSET h a 1 => 1";
    clients.run(made_forwards).unwrap();
    let forwards = digest(&mut clients);
    clients.run(made_backwards).unwrap();
    assert_eq!(digest(&mut clients), forwards);
    clients.run("DEBUG RELOAD => OK").unwrap();
    assert_eq!(digest(&mut clients), forwards, "a reload changed the data");
}

#[test]
fn memory_usage_is_the_size_of_key_and_value() {
    let node = Node::start(DIRECTIVES);
    let mut clients = Clients::new(node.address);
    for bytes in [200_usize, 5_000, 100_000, 1_000_000] {
        let value = "x".repeat(bytes);
        clients.run(&format!("SET key {value} => OK")).unwrap();
        let most = (bytes + 3) * 12 / 10;
        clients.run(&format!("MEMORY USAGE key => {bytes}..{most}")).unwrap();
    }
    for fields in [10_usize, 1_000] {
        clients.run("DEL h => ?").unwrap();
        for field in 0..fields {
            clients
                .run(&format!("HSET h field-{field:08}-{} {} => 1", "f".repeat(80), "v".repeat(100)))
                .unwrap();
        }
        let bytes = fields * (15 + 80 + 100);
        let most = (bytes + 1) * 12 / 10 + 40;
        clients.run(&format!("MEMORY USAGE h => {bytes}..{most}")).unwrap();
    }
}
