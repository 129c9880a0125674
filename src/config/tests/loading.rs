//! Files, environment and flags.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::MEMTABLES_MAX;

use super::super::{BindAddress, DebugCommand, EndpointType, LogLevel, Offline, ReplicaReads};
use super::{Loaded, load, refused, run, value};
use crate::config::Config;

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn a_node_without_a_word_of_configuration_has_the_documented_defaults() {
    let config = run(&[]);
    let ports = [config.port, config.proxy_port, config.http_port, config.peer_port];
    assert_eq!(ports, [Some(6379), None, Some(8001), None]);
    for member in [run(&["--peers", "localhost:5001"]), run(&["--join", "localhost:5001"])] {
        assert_eq!([member.proxy_port, member.peer_port], [Some(6380), Some(5001)]);
        assert!(member.cluster_enabled && member.is_in_cluster());
    }
    assert!(!config.cluster_enabled && !config.is_in_cluster());
    assert!(config.name.is_none() && config.peer_secret.is_none() && config.peer_tls.is_none());
    assert_eq!(config.bind, [BindAddress { ip: [127, 0, 0, 1].into(), optional: false }]);
    assert_eq!(config.dir, Path::new("./data"));
    assert_eq!(config.memory_budget_bytes, 2 << 30);
    assert_eq!((config.replay_bytes_max, config.entry_bytes_max), (64 << 20, 80 << 20));
    assert_eq!((config.io_threads, config.databases), (2, 16));
    assert_eq!(config.enable_debug_command, DebugCommand::No);
    assert!(config.peers.is_empty() && config.config_file.is_none() && config.logfile.is_none());
    assert_eq!(config.raft.election, Duration::from_millis(150));
    let settings = config.settings();
    assert_eq!((settings.maxclients, settings.proto_max_bulk_len), (10_000, 64 << 20));
    assert_eq!((settings.client_query_buffer_limit, settings.reply_bytes_max), (512 << 20, 512 << 20));
    assert_eq!(settings.client_output_buffer_limit.pubsub.soft, Duration::from_secs(60));
    assert_eq!(settings.slowlog_log_slower_than, Some(Duration::from_millis(10)));
    assert_eq!((settings.timeout, settings.latency_monitor_threshold), (None, None));
    assert_eq!(settings.latency_percentiles, [50.0, 99.0, 99.9]);
    assert_eq!((settings.hash_inline_fields_max, settings.hash_inline_bytes_max), (512, 64));
    assert_eq!((settings.loglevel, settings.requirepass.is_none()), (LogLevel::Notice, true));
    assert_eq!((settings.replica_reads, settings.endpoint_type), (ReplicaReads::Local, EndpointType::Ip));
    assert_eq!(settings.replace_after, Some(Duration::from_secs(60)));
    assert!(config.ignored().is_empty());
}

#[test]
fn memory_is_divided_within_its_budget() {
    for budget in ["64mb", "100mb", "1gb", "100gb"] {
        for replay in ["1mb", "64mb", "8gb"] {
            let config = run(&["--memory-budget", budget, "--replay-bytes-max", replay]);
            assert!(2 * config.memtable_bytes() <= config.replay_bytes_max);
            let memtables = MEMTABLES_MAX * config.memtable_bytes();
            assert!(memtables <= config.memory_budget_bytes / 5 * 2);
            assert_eq!(
                memtables + config.in_flight_bytes() + config.cache_bytes(),
                config.memory_budget_bytes
            );
            assert!(config.cache_bytes() >= config.memory_budget_bytes / 2);
        }
    }
    let small = run(&["--memory-budget", "64mb"]);
    assert_eq!(small.settings().proto_max_bulk_len, 8 << 20);
    assert_eq!(small.settings().client_query_buffer_limit, 16 << 20);
    assert_eq!(small.settings().reply_bytes_max, 16 << 20);
    assert_eq!(small.entry_bytes_max, 16 << 20);
    let long = run(&["--memory-budget", "64mb", "--proto-max-bulk-len", "100mb"]);
    assert_eq!(long.entry_bytes_max, 125 << 20, "the longest value fits");
    assert_eq!(run(&["--memory-budget", "64mb", "--entry-bytes-max", "80mb"]).entry_bytes_max, 80 << 20);
}

#[test]
fn a_later_source_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "node.conf", "timeout 1\nhz 11\nport 7001\nslowlog-max-len 5\n");
    let environment = [
        ("SISYPHUSDB_CONF_TIMEOUT", "2"),
        ("SISYPHUSDB_CONF_PORT", "7002"),
        ("SISYPHUSDB_CONF_BIND", "127.0.0.1 ::1"),
        ("SISYPHUSDB_PORT", "tcp://10.0.0.1:6379"),
        ("PORT", "nonsense"),
    ];
    let Ok(Loaded::Run(config)) = load(&[&file, "--port", "7003", "-"], &environment, "slowlog-max-len 6\n")
    else {
        panic!("it should load");
    };
    assert_eq!(config.port, Some(7003), "flags before environment");
    assert_eq!(value(&config, "timeout"), "2", "environment before file");
    assert_eq!(value(&config, "slowlog-max-len"), "6", "standard input after the file");
    assert_eq!(value(&config, "hz"), "11");
    assert_eq!(config.bind.len(), 2);
    assert_eq!(config.config_file.as_deref(), Some(Path::new(&file)));
}

#[test]
fn the_command_line_is_that_of_redis_server() {
    let config = run(&["--port", "auto", "--save", "900", "1", "--appendonly", "no", "--http-port=0"]);
    assert_eq!((config.port, config.http_port), (Some(0), None));
    assert_eq!(value(&config, "save"), "900 1");
    assert_eq!(value(&config, "appendonly"), "no");
    assert_eq!(value(&run(&["--save", ""]), "save"), "");
    let quoted = run(&["--bind", "127.0.0.1  ::1", "--save", "900 1 300 10", "--bind=127.0.0.1 -::1"]);
    assert_eq!(
        (value(&quoted, "bind"), value(&quoted, "save")),
        ("127.0.0.1 -::1".into(), "900 1 300 10".into())
    );
    let limits = run(&["--client-output-buffer-limit", "normal 1mb 1kb 2 pubsub 0 0 0"]);
    assert_eq!(limits.settings().client_output_buffer_limit.normal.hard_bytes, 1 << 20);
    assert_eq!(value(&run(&["--SLOWLOG-LOG-SLOWER-THAN", "-1"]), "slowlog-log-slower-than"), "-1");
    assert_eq!(value(&run(&["--lua-time-limit", "7"]), "busy-reply-threshold"), "7");
    assert!(matches!(load(&["--help"], &[], ""), Ok(Loaded::Print(text)) if text.contains("--http-port")));
    assert!(matches!(load(&["-v"], &[], ""), Ok(Loaded::Print(text)) if text.starts_with("sisyphusdb ")));
    let Ok(Loaded::Offline(Offline::Verify, config)) = load(&["--verify", "--port", "7005"], &[], "") else {
        panic!("it should load")
    };
    assert_eq!(config.port, Some(7005));
    assert!(load(&["--port", "7005", "--verify"], &[], "").is_err(), "it is the first word");
    for (words, verb) in [
        (&["verify", "--port", "7005"][..], Offline::Verify),
        (&["inspect"], Offline::Inspect),
        (&["recover", "--i-accept-data-loss", "--port", "7005"], Offline::Recover),
    ] {
        assert!(matches!(load(words, &[], ""), Ok(Loaded::Offline(found, _)) if found == verb), "{words:?}");
    }
    assert!(refused(&["recover", "--port", "7005"]).contains("--i-accept-data-loss"));
    let Ok(Loaded::Run(config)) = load(&["-"], &[], "port 7004") else { panic!("it should load") };
    assert_eq!(config.port, Some(7004));
}

#[test]
fn a_file_may_include_others_and_patterns_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "10-a.conf", "port 7001\ntimeout 1\n");
    write(path, "20-b.conf", "# nothing\n\n   timeout   2  \nsave 900 1\nsave 300 10\n");
    write(path, "other", "timeout 3\n");
    let file = write(path, "node.conf", &format!("include {}/*.conf_\n", path.display()));
    assert_eq!(value(&run(&[&file]), "timeout"), "0", "a pattern may match nothing");
    let text = format!("port 7000\ninclude \"{}/[0-9]*.conf\"\nhz 12\n", path.display());
    let config = run(&[&write(path, "node.conf", &text)]);
    assert_eq!((config.port, value(&config, "timeout").as_str()), (Some(7001), "2"));
    assert_eq!((value(&config, "save").as_str(), value(&config, "hz").as_str()), ("900 1 300 10", "12"));
    let missing = write(path, "node.conf", "include /nonexistent/x\n");
    assert!(refused(&[&missing]).contains("/nonexistent/x: No such file"));
    let itself = path.join("node.conf").display().to_string();
    write(path, "node.conf", &format!("include {itself}\n"));
    assert!(refused(&[&itself]).contains("include each other"));
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "node.conf", "port 7000\n\nfoo bar\n");
    assert_eq!(refused(&[&file]), format!("{file}:3: there is no directive 'foo' (see --help)"));
    let file = write(directory.path(), "node.conf", "timeout 5 # later\n");
    assert_eq!(refused(&[&file]), format!("{file}:1: timeout 5 \"#\" later: wrong number of arguments"));
    let file = write(directory.path(), "node.conf", "requirepass \"a\n");
    assert!(refused(&[&file]).starts_with(&format!("{file}:1: the quotes do not match")));
    for (arguments, error) in [
        (&["--foo", "1"][..], "--foo: there is no directive 'foo' (see --help)"),
        (&["--port"], "--port: port: a value is missing"),
        (&["--port", "99999"], "--port: port 99999: argument must be between 0 and 65535 inclusive"),
        (
            &["--memory-budget", "1mb"],
            "--memory-budget: memory-budget 1mb: argument must be between 67108864 and",
        ),
        (&["a.conf", "b.conf"], "b.conf: expected --name value (see --help)"),
        (&["/nonexistent.conf"], "/nonexistent.conf: No such file or directory"),
    ] {
        let told = refused(arguments);
        assert!(told.starts_with(error), "{told}");
        assert!(!told.contains('\n'), "{told}");
    }
    let error = load(&[], &[("SISYPHUSDB_CONF_PROT", "1")], "").err().unwrap().to_string();
    assert_eq!(error, "SISYPHUSDB_CONF_PROT: there is no such directive");
    let error = load(&[], &[("SISYPHUSDB_CONF_IO_THREADS", "many")], "").err().unwrap().to_string();
    assert_eq!(
        error,
        "SISYPHUSDB_CONF_IO_THREADS: io-threads many: argument couldn't be parsed into an integer"
    );
}

#[test]
fn what_would_be_untrue_here_is_refused_with_the_reason() {
    for (name, word, reason) in [
        ("maxmemory-policy", "allkeys-lru", "only 'noeviction' is supported: data are on disk"),
        ("replicaof", "127.0.0.1", "a node becomes a replica by being a member of a cluster"),
        ("tls-port", "6390", "TLS is not in this version"),
        ("daemonize", "yes", "the node runs in the foreground"),
        ("loadmodule", "x.so", "there are no modules"),
        ("rename-command", "CONFIG", "commands keep their names"),
        ("aclfile", "/x", "access control lists are not in this version"),
    ] {
        let told = refused(&[&format!("--{name}"), word]);
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn directives_must_agree_with_each_other() {
    for (arguments, error) in [
        (&["--bind", "0.0.0.0"][..], "protected-mode: bind 0.0.0.0 listens beyond this machine"),
        (&["--bind", "127.0.0.1", "-::*"], "protected-mode: bind :: listens"),
        (&["--maxclients", "19000"], "maxclients: The operating system is not able to handle"),
        (
            &["--proto-max-bulk-len", "80mb", "--entry-bytes-max", "80mb"],
            "proto-max-bulk-len: a value of 83886080 bytes does not fit",
        ),
        (&["--proto-max-bulk-len", "1gb"], "proto-max-bulk-len: a value of 1073741824 bytes does not fit"),
        (&["--client-query-buffer-limit", "1mb"], "client-query-buffer-limit: it must be at least"),
        (
            &["--client-query-buffer-limit", "4gb"],
            "--client-query-buffer-limit: client-query-buffer-limit 4gb: argument must be between",
        ),
        (&["--reply-bytes-max", "1mb"], "reply-bytes-max: it must be at least"),
        (&["--raft-heartbeat-ms", "60"], "raft-promise-ms: it must be at least twice"),
        (&["--raft-promise-ms", "150"], "raft-election-ms: it must be more than"),
        (&["--http-port", "6379"], "http-port: 6379 is the value of port too"),
        (&["--peers", "a:1,b:1", "--join", "c:1"], "join: peers forms a cluster and join enters one"),
        (&["--peers", "a:1,b:1", "--announce-peer", "c:1"], "announce-peer: 'c:1' is not one of peers"),
        (&["--peers", "a:1", "--peer-port", "0"], "peer-port: the other nodes need it"),
        (&["--peers", "a:1", "--peer-port", "6379"], "peer-port: 6379 is the value of port too"),
        (&["--join", "a:1", "--proxy-port", "6379"], "proxy-port: 6379 is the value of port too"),
        (&["--peer-secret", "a", "--peer-secret-file", "b"], "peer-secret-file: peer-secret is set too"),
        (
            &["--peer-tls-key-file", "a"],
            "peer-tls-cert-file: TLS between nodes needs all of peer-tls-cert-file, peer-",
        ),
        (&["--raft-promise-ms", "1001"], "--raft-promise-ms: raft-promise-ms 1001: argument must be between"),
        (&["--replica-reads", "stale"], "--replica-reads: replica-reads stale: argument(s) must be one of"),
    ] {
        let told = refused(arguments);
        assert!(told.starts_with(error), "{told}");
    }
    for arguments in [
        &["--bind", "0.0.0.0", "--requirepass", "secret"][..],
        &["--bind", "*", "--protected-mode", "no"],
        &["--bind", "127.0.0.2", "::1", "::ffff:127.0.0.1"],
        &["--port", "0", "--http-port", "0"],
        &["--port", "auto", "--http-port", "auto"],
        &["--port", "6380"],
        &["--peers", "localhost:5001"],
        &["--peers", "a:1,b:1,c:1", "--announce-peer", "b:1", "--name", "b"],
        &["--join", "a:1,b:1", "--announce-peer", "d:1"],
    ] {
        run(arguments);
    }
}

#[test]
fn fewer_descriptors_mean_fewer_clients() {
    let machine = super::Machine { descriptors_max: 1024, ..super::MACHINE };
    let sources = super::Sources {
        arguments: Vec::new(),
        environment: Vec::new(),
        standard_input: &|| Ok(String::new()),
        machine,
    };
    let Ok(Loaded::Run(config)) = Config::load(sources) else { panic!("it should load") };
    assert_eq!(config.settings().maxclients, 768);
}

#[test]
fn what_has_no_effect_is_named_with_its_reason() {
    let config = run(&["--appendonly", "no", "--maxmemory", "1gb"]);
    let ignored = config.ignored();
    let names: Vec<&str> = ignored.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, ["appendonly", "maxmemory"]);
    assert_eq!(ignored[1].1, "1073741824");
    assert!(ignored[1].2.contains("memory-budget"));
}

#[test]
fn flags_alone_make_a_configuration() {
    let config = Config::from_flags(&[("port", "auto"), ("save", ""), ("dir", "'a b'")]).unwrap();
    assert_eq!((config.port, config.dir.as_path()), (Some(0), Path::new("a b")));
    assert!(Config::from_flags(&[("nonsense", "1")]).is_err());
}

#[test]
fn a_password_is_compared_and_never_shown() {
    let config = run(&["--requirepass", "secret"]);
    let settings = config.settings();
    let password = settings.requirepass.as_ref().unwrap();
    assert!(password.matches(b"secret") && !password.matches(b"secre") && !password.matches(b""));
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn the_secret_of_nodes_comes_from_the_configuration_or_a_file_and_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "known to all of them\n").unwrap();
    let from_file = run(&["--peer-secret-file", path.to_str().unwrap()]);
    assert_eq!(from_file.peer_secret.as_ref().unwrap().as_bytes(), b"known to all of them");
    let config = run(&["--peer-secret", "known to all of them"]);
    assert_eq!(config.peer_secret, from_file.peer_secret);
    assert!(config.get(&["*"]).values().all(|value| !value.contains("known to all of them")));
    assert!(!format!("{:?}", config.peer_secret).contains("known to all of them"));
    assert!(refused(&["--peer-secret", "fifteen letters"]).starts_with("peer-secret: it is too short"));
    fs::write(&path, "short\n").unwrap();
    let told = refused(&["--peer-secret-file", path.to_str().unwrap()]);
    assert!(told.starts_with("peer-secret-file: it is too short"), "{told}");
    fs::write(&path, "\n").unwrap();
    assert!(refused(&["--peer-secret-file", path.to_str().unwrap()]).ends_with("it is empty"));
    let told = refused(&["--peer-secret-file", "/no/such"]);
    assert!(told.starts_with("peer-secret-file: /no/such: "), "{told}");
}

#[test]
fn certificates_of_nodes_are_read_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    for name in ["cert", "key", "ca"] {
        fs::write(path(name), name).unwrap();
    }
    let (cert, key, ca) = (path("cert"), path("key"), path("ca"));
    let flags = ["--peer-tls-cert-file", &cert, "--peer-tls-key-file", &key, "--peer-tls-ca-cert-file", &ca];
    let tls = run(&flags).peer_tls.unwrap();
    assert_eq!(
        (&tls.certificate_pem[..], &tls.key_pem[..], &tls.ca_pem[..]),
        (&b"cert"[..], &b"key"[..], &b"ca"[..])
    );
    fs::remove_file(&key).unwrap();
    assert!(refused(&flags).starts_with("peer-tls-key-file: "));
}
