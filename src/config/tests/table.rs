//! Every row is well formed, and every directive of Redis has one.

use std::collections::BTreeSet;

use super::super::directive::{Default, Effect, Scope, find, rows};
use super::super::document::{help, markdown};
use super::{MACHINE, run, value};
use crate::config::values::Values;

/// The directives of Redis 7.2: what CONFIG GET * answers, and those that stand in files only.
const REDIS: &str = include_str!("../redis_directives.txt");

#[test]
fn every_directive_of_redis_has_a_row() {
    let missing: Vec<&str> = REDIS.lines().filter(|name| find(name).is_none()).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    assert!(REDIS.lines().count() > 190);
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut seen = BTreeSet::new();
    for name in rows().flat_map(|row| row.names()) {
        assert!(seen.insert(name), "{name} is there twice");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        assert!(name.bytes().all(plain), "{name}");
    }
}

#[test]
fn defaults_are_canonical_values_of_their_kind() {
    let mut values = Values::defaults();
    values.derive(&MACHINE);
    for (at, row) in rows().enumerate() {
        let text = values.text_at(at).to_string();
        // "Nothing" is the default of what has none; for some it is no value that could be set.
        if text.is_empty() {
            continue;
        }
        let words: Vec<&str> = if row.kind.takes_words() { text.split(' ').collect() } else { vec![&text] };
        assert_eq!(row.parse(&words, &text).as_ref(), Ok(&text), "{}", row.name);
    }
}

#[test]
fn every_row_says_what_it_does_in_sentences() {
    for row in rows() {
        assert!(row.doc.ends_with('.'), "{}: {}", row.name, row.doc);
        let refusal = row.effect == Effect::Fixed;
        let first = row.doc.chars().next().unwrap();
        assert!(refusal || first.is_uppercase(), "{}: {}", row.name, row.doc);
        if let Default::Derived(how, _) = row.default {
            assert!(!how.is_empty(), "{}", row.name);
        }
    }
}

#[test]
fn own_directives_work_and_only_redis_has_others() {
    let redis: BTreeSet<&str> = REDIS.lines().collect();
    for row in rows().filter(|row| row.effect != Effect::Works) {
        assert!(row.names().any(|name| redis.contains(name)) || row.name.starts_with("tls-"), "{}", row.name);
    }
}

#[test]
fn help_and_page_name_every_directive() {
    let (help, page) = (help(), markdown());
    for row in rows() {
        assert!(help.contains(&format!("  --{}  [", row.name)), "{}", row.name);
        for name in row.names() {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
    let long = help.lines().find(|line| line.chars().count() > 130);
    assert_eq!(long, None);
}

#[test]
fn what_is_true_here_can_be_said() {
    // A file of Redis may spell out the defaults that are kept here.
    for row in rows().filter(|row| row.effect == Effect::Fixed && row.scope != Scope::File) {
        if let Default::Text(text) = row.default
            && !text.is_empty()
        {
            assert_eq!(value(&run(&[&format!("--{}", row.name), text]), row.name), text);
        }
    }
}
