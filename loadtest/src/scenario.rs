//! Scenarios: plans in TOML, built in or of the user.
//!
//! A text in a scenario may hold placeholders, `{{name}}`, that the command line fills: what a drain is started with is not
//! for this tool to know.

mod built_in;
mod stretch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::plan::Plan;
pub(crate) use built_in::BUILT_IN;
pub(crate) use stretch::{ScaleError, scale_rates, stretch_to};

/// A scenario that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error(
        "there is no scenario {name:?}; there are {}, and a file is named by a path that ends in .toml",
        names()
    )]
    Unknown { name: String },
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{from} is no scenario: {error}")]
    Toml { from: String, error: toml::de::Error },
    #[error("{from} needs {name}, in {place:?}; give --set {name}=VALUE")]
    Unset { from: String, name: String, place: String },
    #[error("{from} has no place for {name}; {places}")]
    Unused { from: String, name: String, places: String },
    #[error("{from}: {{{{ without }}}} in {place:?}")]
    Open { from: String, place: String },
}

/// The text of a scenario and where it is from.
#[derive(Debug)]
pub(crate) struct Scenario {
    from: String,
    pub(crate) text: String,
}

fn names() -> String {
    BUILT_IN.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}

impl Scenario {
    /// A built-in scenario by its name, or a file by its path: what has a `/` or ends in `.toml`.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub(crate) fn find(name: &str) -> Result<Self, ScenarioError> {
        if name.contains('/') || Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(name)
                .map_err(|error| ScenarioError::Unreadable { path: name.into(), error })?;
            return Ok(Self { from: name.to_owned(), text });
        }
        let found = BUILT_IN.iter().find(|scenario| scenario.name == name);
        let found = found.ok_or_else(|| ScenarioError::Unknown { name: name.to_owned() })?;
        Ok(Self { from: format!("the scenario {name}"), text: found.text.to_owned() })
    }

    /// Its plan, with every placeholder filled.
    ///
    /// # Errors
    ///
    /// If it is no plan, a placeholder is not set, or something is set that has no place.
    pub(crate) fn plan(&self, set: &BTreeMap<String, String>) -> Result<Plan, ScenarioError> {
        let broken = |error| ScenarioError::Toml { from: self.from.clone(), error };
        let mut table: toml::Table = self.text.parse().map_err(broken)?;
        let mut used = BTreeMap::new();
        for (_, value) in table.iter_mut() {
            self.fill(value, set, &mut used)?;
        }
        if let Some(name) = set.keys().find(|name| !used.contains_key(*name)) {
            let places = match used.is_empty() {
                true => "it has no placeholders".to_owned(),
                false => {
                    let names = used.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    format!("its placeholders are {names}")
                }
            };
            return Err(ScenarioError::Unused { from: self.from.clone(), name: name.clone(), places });
        }
        if used.is_empty() {
            // From the text, so that an error shows its line.
            return toml::from_str(&self.text).map_err(broken);
        }
        table.try_into().map_err(broken)
    }

    /// The commands of its events as they are written, for a report: what fills them may be secret.
    pub(crate) fn commands(&self) -> Vec<String> {
        let table: toml::Table = self.text.parse().unwrap_or_default();
        let events = table.get("event").and_then(toml::Value::as_array);
        let run = |event: &toml::Value| event.get("run").and_then(toml::Value::as_str).map(str::to_owned);
        events.into_iter().flatten().filter_map(run).collect()
    }

    fn fill(
        &self,
        value: &mut toml::Value,
        set: &BTreeMap<String, String>,
        used: &mut BTreeMap<String, ()>,
    ) -> Result<(), ScenarioError> {
        match value {
            toml::Value::String(text) => *text = self.filled(text, set, used)?,
            toml::Value::Array(values) => {
                values.iter_mut().try_for_each(|value| self.fill(value, set, used))?;
            }
            toml::Value::Table(table) => {
                table.iter_mut().try_for_each(|(_, value)| self.fill(value, set, used))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn filled(
        &self,
        text: &str,
        set: &BTreeMap<String, String>,
        used: &mut BTreeMap<String, ()>,
    ) -> Result<String, ScenarioError> {
        let mut parts = text.split("{{");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let open = || ScenarioError::Open { from: self.from.clone(), place: text.to_owned() };
            let (name, rest) = part.split_once("}}").ok_or_else(open)?;
            let name = name.trim();
            used.insert(name.to_owned(), ());
            let value = set.get(name).ok_or_else(|| ScenarioError::Unset {
                from: self.from.clone(),
                name: name.to_owned(),
                place: text.to_owned(),
            })?;
            filled.push_str(value);
            filled.push_str(rest);
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests;
