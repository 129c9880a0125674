//! CONFIG GET and CONFIG SET.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directive::{Scope, find, rows};
use super::typed::Config;
use super::{Settings, check};
use crate::glob;

/// Why CONFIG SET changed nothing. Its text is the whole error reply.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetError {
    /// There is no such directive.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The value, or setting the directive now, is refused.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {what}")]
    Refused {
        /// The directive, as the client wrote it.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl Config {
    /// The values of all directives whose name one of `patterns` matches, in any case, by name: CONFIG GET. A value
    /// with several names is listed under each that matches.
    pub fn get(&self, patterns: &[&str]) -> BTreeMap<&'static str, String> {
        let values = self.values.lock().expect("no holder panics");
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        let wanted =
            |name: &str| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes()));
        rows()
            .enumerate()
            .filter(|(_, row)| row.scope != Scope::File)
            .flat_map(|(at, row)| row.names().map(move |name| (name, at)))
            .filter(|(name, _)| wanted(name))
            .map(|(name, at)| (name, values.text_at(at).to_string()))
            .collect()
    }

    /// Sets all of `pairs`, or none: CONFIG SET. Returns the directives among them that have no effect.
    ///
    /// # Errors
    /// With the first pair that cannot be set.
    pub fn set(&self, pairs: &[(&str, &str)]) -> Result<(), SetError> {
        for (name, _) in pairs {
            if find(name).is_none_or(|(_, row)| row.scope == Scope::File) {
                return Err(SetError::Unknown((*name).to_string()));
            }
        }
        let mut values = self.values.lock().expect("no holder panics");
        let mut changed = values.clone();
        let mut seen = Vec::new();
        for (name, value) in pairs {
            let refused = |what: String| SetError::Refused { name: (*name).to_string(), what };
            let (at, row) = find(name).expect("all names were found above");
            match row.scope {
                Scope::Run => {}
                Scope::Protected => return Err(refused("can't set protected config".to_string())),
                Scope::Start | Scope::File => return Err(refused("can't set immutable config".to_string())),
            }
            if seen.contains(&at) {
                return Err(refused("duplicate parameter".to_string()));
            }
            seen.push(at);
            let text = row.parse(&[*value], changed.text_at(at)).map_err(refused)?;
            changed.set(at, text);
        }
        check::consistent(&changed, &self.machine).map_err(|(name, what)| SetError::Refused {
            // The check may blame a row that was not set; a client knows only what it sent.
            name: pairs
                .iter()
                .map(|(set, _)| *set)
                .find(|set| *set == name)
                .unwrap_or(pairs[0].0)
                .to_string(),
            what,
        })?;
        let settings = Arc::new(Settings::from_values(&changed));
        *values = changed;
        self.settings.store(Arc::clone(&settings));
        drop(values);
        for listener in self.listeners.lock().expect("no listener panics").iter() {
            listener(&settings);
        }
        Ok(())
    }
}
