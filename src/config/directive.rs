//! One row of the table of directives.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::kind::Kind;
use super::machine::Machine;
use super::table::GROUPS;
use super::values::Values;

/// Rows that belong together, under one heading of `--help` and the documentation.
pub(super) struct Group {
    /// The heading.
    pub(super) title: &'static str,
    /// The rows, in the order they are shown.
    pub(super) rows: &'static [Directive],
}

/// A directive: everything that is known about one name.
pub(super) struct Directive {
    pub(super) name: &'static str,
    /// Other names of the same value.
    pub(super) aliases: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) default: Default,
    pub(super) scope: Scope,
    pub(super) effect: Effect,
    /// What it does, in sentences. For a row without effect: why it has none.
    pub(super) doc: &'static str,
}

/// The value of a directive nobody has set.
#[derive(Clone, Copy)]
pub(super) enum Default {
    /// This text, which is canonical.
    Text(&'static str),
    /// What the function computes from the machine and the rows above; the text says how.
    Derived(&'static str, fn(&Values, &Machine) -> String),
}

/// When a directive may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// At any time.
    Run,
    /// Before the process starts; CONFIG SET refuses it.
    Start,
    /// Before the process starts, with `enable-protected-configs` in Redis at run time too; never here.
    Protected,
    /// In files and flags only; CONFIG does not know it.
    File,
}

/// What setting a directive does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// What its documentation says.
    Works,
    /// Nothing; the value is remembered.
    Ignored,
    /// The node does not start with another value than the default, and CONFIG SET refuses one.
    Fixed,
}

impl Directive {
    /// A directive that does what its documentation says.
    pub(super) const fn works(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        let default = Default::Text(default);
        Self { name, aliases: &[], kind, default, scope: Scope::Run, effect: Effect::Works, doc }
    }

    /// A directive of Redis that is accepted and has no effect here.
    pub(super) const fn ignored(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        why: &'static str,
    ) -> Self {
        Self { effect: Effect::Ignored, ..Self::works(name, kind, default, why) }
    }

    /// A directive of Redis of which only the default is true here.
    pub(super) const fn fixed(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        why: &'static str,
    ) -> Self {
        Self { effect: Effect::Fixed, ..Self::works(name, kind, default, why) }
    }

    pub(super) const fn at_start(self) -> Self {
        Self { scope: Scope::Start, ..self }
    }

    pub(super) const fn protected(self) -> Self {
        Self { scope: Scope::Protected, ..self }
    }

    pub(super) const fn in_files(self) -> Self {
        Self { scope: Scope::File, ..self }
    }

    pub(super) const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(super) const fn derived(self, how: &'static str, compute: fn(&Values, &Machine) -> String) -> Self {
        Self { default: Default::Derived(how, compute), ..self }
    }

    /// All names of the value, the first one being its own.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Checks the words given for it and returns their canonical text.
    ///
    /// # Errors
    /// With what is wrong with them, in Redis' words, or with the reason why the value is refused.
    pub(super) fn parse(&self, words: &[&str], current: &str) -> Result<String, String> {
        let text = self.kind.canonical(words, current)?;
        match (self.effect, self.default) {
            (Effect::Fixed, Default::Text(default)) if text != default => {
                Err(format!("only '{default}' is supported: {}", self.doc))
            }
            _ => Ok(text),
        }
    }
}

/// All rows, in the order of the table.
pub(super) fn rows() -> impl Iterator<Item = &'static Directive> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// Finds a row by one of its names, in any case: its place in the table, and the row.
pub(super) fn find(name: &str) -> Option<(usize, &'static Directive)> {
    static INDEX: OnceLock<BTreeMap<&'static str, (usize, &'static Directive)>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        rows().enumerate().flat_map(|(at, row)| row.names().map(move |name| (name, (at, row)))).collect()
    });
    index.get(name.to_ascii_lowercase().as_str()).copied()
}
