//! CONFIG GET and CONFIG SET.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{run, value};
use crate::config::{Config, LogLevel};

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<(), String> {
    config.set(pairs).map_err(|error| error.to_string())
}

fn failed(name: &str, what: &str) -> Result<(), String> {
    Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {what}"))
}

/// Pairs given to CONFIG SET, and what it answers.
type Case<'a> = (&'a [(&'a str, &'a str)], Result<(), String>);

#[test]
fn get_takes_patterns_and_answers_each_name_once() {
    let config = run(&[]);
    let names = |patterns: &[&str]| config.get(patterns).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&["timeout", "time*", "TIMEOUT"]), ["timeout"]);
    assert_eq!(names(&["[th]z"]), ["hz"]);
    assert_eq!(names(&["*max-listpack-value", "hash-max-ziplist-v*"]).len(), 4);
    assert!(names(&["include", "loadmodule", "nonsense"]).is_empty());
    assert!(names(&["*"]).len() > 200);
    assert_eq!(config.get(&["save", "appendonly"]).into_values().collect::<Vec<_>>(), ["yes", ""]);
}

#[test]
fn set_changes_what_readers_see_and_tells_listeners() {
    let config = run(&[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    config.on_change(move |settings| log.lock().unwrap().push(settings.loglevel));
    set(&config, &[("loglevel", "debug"), ("TIMEOUT", "30"), ("slowlog-log-slower-than", "-1")]).unwrap();
    set(&config, &[("maxmemory", "1gb"), ("client-output-buffer-limit", "replica 1mb 2k 3")]).unwrap();
    let settings = config.settings();
    assert_eq!(settings.timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.slowlog_log_slower_than, None);
    assert_eq!(settings.client_output_buffer_limit.replica.soft_bytes, 2000);
    assert_eq!(settings.client_output_buffer_limit.pubsub.hard_bytes, 32 << 20);
    assert_eq!(value(&config, "maxmemory"), "1073741824");
    assert_eq!(*seen.lock().unwrap(), [LogLevel::Debug, LogLevel::Debug]);
}

#[test]
fn a_value_has_one_content_under_all_its_names() {
    let config = run(&[]);
    set(&config, &[("hash-max-ziplist-entries", "7")]).unwrap();
    assert_eq!(value(&config, "hash-max-listpack-entries"), "7");
    assert_eq!(value(&config, "hash-max-ziplist-entries"), "7");
    assert_eq!(config.settings().hash_inline_fields_max, 7);
    let twice = [("slave-read-only", "no"), ("replica-read-only", "yes")];
    assert_eq!(set(&config, &twice), failed("replica-read-only", "duplicate parameter"));
}

#[test]
fn set_is_all_or_nothing_with_the_errors_of_redis() {
    let config = run(&[]);
    let whole = "argument couldn't be parsed into an integer";
    let cases: &[Case<'_>] = &[
        (
            &[("timeout", "3"), ("foo", "1")],
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_string()),
        ),
        (
            &[("include", "x")],
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'include'".to_string()),
        ),
        (&[("timeout", "3"), ("hz", "abc")], failed("hz", whole)),
        (&[("timeout", "3"), ("timeout", "4")], failed("timeout", "duplicate parameter")),
        (&[("timeout", "3"), ("databases", "3")], failed("databases", "can't set immutable config")),
        (&[("timeout", "3"), ("dir", "/tmp")], failed("dir", "can't set protected config")),
        (&[("timeout", "3"), ("maxmemory", "abc")], failed("maxmemory", "argument must be a memory value")),
        (
            &[("timeout", "3"), ("maxclients", "100000000")],
            failed(
                "maxclients",
                "The operating system is not able to handle the specified number of clients, try with 15000",
            ),
        ),
        (
            &[("timeout", "3"), ("maxmemory-policy", "allkeys-lru")],
            failed(
                "maxmemory-policy",
                "only 'noeviction' is supported: data are on disk and never evicted; give keys a time to live \
                 instead.",
            ),
        ),
        (
            &[("timeout", "3"), ("loglevel", "loud")],
            failed(
                "loglevel",
                "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
            ),
        ),
    ];
    for (pairs, error) in cases {
        assert_eq!(set(&config, pairs), *error, "{pairs:?}");
        assert_eq!(value(&config, "timeout"), "0", "{pairs:?}");
        assert_eq!(config.settings().timeout, None, "{pairs:?}");
    }
}

#[test]
fn a_node_open_to_the_world_keeps_its_password() {
    let config = run(&["--bind", "*", "--requirepass", "secret"]);
    let error = set(&config, &[("requirepass", "")]).unwrap_err();
    assert!(error.contains("possibly related to argument 'requirepass'"), "{error}");
    assert!(config.settings().requirepass.as_ref().unwrap().matches(b"secret"));
    set(&config, &[("protected-mode", "no"), ("requirepass", "")]).unwrap();
    assert!(config.settings().requirepass.is_none());
}
