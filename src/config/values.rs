//! The canonical text of every directive, and who set it.

use std::path::PathBuf;
use std::time::Duration;

use super::directive::{Default, Directive, find, rows};
use super::kind::address;
use super::machine::Machine;
use super::typed::BindAddress;

/// The value of every row.
///
/// Invariant: one slot per row, in the order of the table, each with a text its row accepts.
#[derive(Clone)]
pub(super) struct Values {
    slots: Vec<Slot>,
}

#[derive(Clone)]
struct Slot {
    text: String,
    set: bool,
}

impl Values {
    /// The defaults. Derived ones are empty until [`Values::derive`].
    pub(super) fn defaults() -> Self {
        let slot = |row: &Directive| match row.default {
            Default::Text(text) => Slot { text: text.to_string(), set: false },
            Default::Derived(..) => Slot { text: String::new(), set: false },
        };
        Self { slots: rows().map(slot).collect() }
    }

    /// Fills in the derived defaults of rows that nobody has set, from the top of the table to its end.
    pub(super) fn derive(&mut self, machine: &Machine) {
        // The budget goes first: other defaults are shares of it.
        let (budget, others): (Vec<_>, Vec<_>) =
            rows().enumerate().partition(|(_, row)| row.name == "memory-budget");
        for (at, row) in budget.into_iter().chain(others) {
            if let (Default::Derived(_, compute), false) = (row.default, self.slots[at].set) {
                self.slots[at].text = compute(self, machine);
            }
        }
    }

    /// The canonical text of the row at `at`.
    pub(super) fn text_at(&self, at: usize) -> &str {
        &self.slots[at].text
    }

    /// Whether someone has set the row at `at`.
    pub(super) fn is_set(&self, at: usize) -> bool {
        self.slots[at].set
    }

    /// Sets the row at `at` to `text`, which is canonical.
    pub(super) fn set(&mut self, at: usize, text: String) {
        self.slots[at] = Slot { text, set: true };
    }

    /// The canonical text of `name`, which is in the table.
    pub(super) fn text(&self, name: &str) -> &str {
        let (at, _) = find(name).unwrap_or_else(|| panic!("'{name}' is not in the table of directives"));
        self.text_at(at)
    }

    /// Whether the node has others beside it, or is to have.
    pub(super) fn is_in_cluster(&self) -> bool {
        !self.text("peers").is_empty() || !self.text("join").is_empty()
    }

    /// The text of `name`, or `None` if it is empty.
    pub(super) fn text_option(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_string)
    }

    pub(super) fn path_option(&self, name: &str) -> Option<PathBuf> {
        self.text_option(name).map(PathBuf::from)
    }

    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }

    /// The number that `name` holds, whose row has checked that it fits `N`.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> N {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("the row of '{name}' accepted '{text}'"))
    }

    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.number(name))
    }

    pub(super) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    /// The port of `name`: `None` if it is off, `Some(0)` if any free one will do.
    pub(super) fn port(&self, name: &str) -> Option<u16> {
        match self.text(name) {
            "auto" => Some(0),
            "0" => None,
            _ => Some(self.number(name)),
        }
    }

    pub(super) fn addresses(&self, name: &str) -> Vec<BindAddress> {
        let read = |word| {
            let (ip, optional) = address(word).expect("the row accepts addresses only");
            BindAddress { ip, optional }
        };
        self.text(name).split(' ').map(read).collect()
    }
}
