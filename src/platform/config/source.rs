//! Where the configuration comes from, and the merged whole.

use std::collections::BTreeSet;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use config::{Environment, File, FileFormat, Value, ValueKind};
use serde::Deserialize;

use super::numbers::too_large;
use super::section::{self, Section};
use super::strict::Strict;
use super::{Fault, Faults};

/// The defaults that are built in.
const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Sections and top-level keys of the platform. Those of parts that this binary was built without
/// are known too, so that one file can serve processes built with different features.
const TOP_LEVEL: &[&str] = &[
    "domains",
    "http",
    "auth",
    "database",
    "tasks",
    "kafka",
    "mqtt",
    "secrets",
    "telemetry",
    "upstreams",
];

/// The names that may stand in a configuration beside the platform's own.
#[derive(Debug, Clone, Copy)]
pub struct KnownNames {
    /// Domains of this binary, in the order in which they start.
    pub compiled: &'static [&'static str],
    /// Sections of all domains, compiled or not.
    pub sections: &'static [&'static str],
    /// All upstreams, compiled or not.
    pub upstreams: &'static [&'static str],
}

/// The files to read, later ones over earlier ones, with the environment over all of them.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    files: Vec<PathBuf>,
    overrides: Vec<String>,
    environment: bool,
}

/// A source could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("the configuration could not be read: {0}")]
pub struct LoadError(String);

impl From<config::ConfigError> for LoadError {
    fn from(error: config::ConfigError) -> Self {
        let config::ConfigError::FileParse { uri, cause } = &error else {
            return Self(error.to_string());
        };
        let place = uri.as_deref().map(|uri| format!("{uri}: ")).unwrap_or_default();
        if let Some(limit) = cause.downcast_ref().and_then(limit_passed) {
            let text = uri.as_deref().and_then(|uri| std::fs::read_to_string(uri).ok());
            let key = text.as_deref().and_then(too_large);
            let key = key.unwrap_or_else(|| "a whole number".to_owned());
            return Self(format!("{place}{key}: must be {limit}"));
        }
        // The parser shows the line it stumbled over, and a secret may stand in it.
        let is_source = |line: &str| {
            line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
        };
        let text = cause.to_string();
        let lines: Vec<&str> = text.lines().filter(|line| !is_source(line)).collect();
        Self(format!("{place}{}", lines.join(": ")))
    }
}

/// What a whole number must be that no key can hold.
fn limit_passed(error: &ParseIntError) -> Option<String> {
    match error.kind() {
        IntErrorKind::PosOverflow => Some(format!("at most {}", i64::MAX)),
        IntErrorKind::NegOverflow => Some(format!("at least {}", i64::MIN)),
        _ => None,
    }
}

impl ConfigSource {
    /// Defaults, these files, and the environment.
    #[must_use]
    pub fn files_and_environment(files: Vec<PathBuf>) -> Self {
        Self { files, overrides: Vec::new(), environment: true }
    }

    /// Defaults and these TOML texts only: what a test or a tool composes for itself.
    #[must_use]
    pub fn texts(overrides: Vec<String>) -> Self {
        Self { files: Vec::new(), overrides, environment: false }
    }

    /// Reads and merges everything. Called again by a domain that could not start, so that a
    /// mended file is noticed.
    ///
    /// # Errors
    /// A file is missing or is not TOML.
    pub fn load(&self) -> Result<Config, LoadError> {
        self.load_with(self.environment.then(variables))
    }

    pub(super) fn load_with(&self, variables: Option<Environment>) -> Result<Config, LoadError> {
        let mut builder =
            config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        for file in &self.files {
            builder = builder.add_source(File::from(file.as_path()).format(FileFormat::Toml));
        }
        for text in &self.overrides {
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        if let Some(variables) = variables {
            builder = builder.add_source(variables);
        }
        Ok(Config { merged: builder.build()?.cache, defaults: Self::defaults()? })
    }

    fn defaults() -> Result<Value, config::ConfigError> {
        let builder =
            config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        Ok(builder.build()?.cache)
    }
}

/// The merged configuration. Sections are read from it one by one.
#[derive(Clone)]
pub struct Config {
    merged: Value,
    defaults: Value,
}

impl Config {
    /// Reads the section at a dotted path, for example `http` or `upstreams.personal`.
    ///
    /// # Errors
    /// Every fault in the section.
    pub fn section<T: Section>(&self, path: &str) -> Result<T, Vec<Fault>> {
        let Some(value) = at(&self.merged, path) else {
            return Err(one_fault(path, "this section is missing"));
        };
        section::read(path, value.clone(), at(&self.defaults, path))
    }

    /// Whether something other than an empty text stands at a dotted path.
    #[must_use]
    pub fn says(&self, path: &str) -> bool {
        let is_empty = |value: &Value| match &value.kind {
            ValueKind::Nil => true,
            ValueKind::String(text) => text.is_empty(),
            _ => false,
        };
        at(&self.merged, path).is_some_and(|value| !is_empty(value))
    }

    /// Top-level keys and upstreams that no part of the product knows.
    #[must_use]
    pub fn unknown_sections(&self, names: &KnownNames) -> Vec<Fault> {
        let known: Vec<&str> = TOP_LEVEL.iter().chain(names.sections).copied().collect();
        let mut faults = unknown_keys("", &self.merged, &known);
        if let Some(upstreams) = at(&self.merged, "upstreams") {
            faults.extend(unknown_keys("upstreams", upstreams, names.upstreams));
        }
        faults
    }

    /// The names under `domains`, or all that are compiled, in the order of `compiled`.
    ///
    /// # Errors
    /// A name that no compiled domain bears, or no name at all.
    pub fn enabled_domains(
        &self,
        compiled: &[&'static str],
    ) -> Result<Vec<&'static str>, Vec<Fault>> {
        let Some(value) = at(&self.merged, "domains") else { return Ok(compiled.to_vec()) };
        // From the environment it is one text with commas.
        let listed: Vec<String> = match &value.kind {
            ValueKind::String(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            _ => Deserialize::deserialize(Strict(value.clone()))
                .map_err(|_| one_fault("domains", "must be a list of names"))?,
        };
        let mut faults = Faults::default();
        for name in listed.iter().filter(|name| !compiled.contains(&name.as_str())) {
            faults.add(
                "domains",
                format!(
                    "`{name}` is not compiled into this binary (it has: {})",
                    compiled.join(", ")
                ),
            );
        }
        faults.require(!listed.is_empty(), "domains", "names no domain; leave it out for all");
        let wanted: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
        let found = faults.into_vec();
        if found.is_empty() {
            Ok(compiled.iter().copied().filter(|name| wanted.contains(name)).collect())
        } else {
            Err(found)
        }
    }
}

/// Our variables.
pub(super) fn variables() -> Environment {
    Environment::with_prefix("FLEET").prefix_separator("__").separator("__")
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| match &value.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    })
}

fn unknown_keys(prefix: &str, value: &Value, known: &[&str]) -> Vec<Fault> {
    let mut faults = Faults::below(prefix);
    let ValueKind::Table(table) = &value.kind else {
        return one_fault(prefix, "must be a table");
    };
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort();
    for key in keys {
        if !known.contains(&key.as_str()) {
            faults.add(key, section::nearest("key", key, known));
        }
    }
    faults.into_vec()
}

fn one_fault(key: &str, message: &str) -> Vec<Fault> {
    vec![Fault { key: key.to_owned(), message: message.to_owned() }]
}

#[cfg(test)]
mod tests {
    use super::super::CoreSettings;
    use super::super::database::DatabaseSettings;
    use super::super::http::HttpSettings;
    use super::*;

    const NAMES: KnownNames = KnownNames {
        compiled: &["fleet-customers"],
        sections: crate::domains::SECTIONS,
        upstreams: crate::upstreams::NAMES,
    };

    fn config(text: &str) -> Config {
        ConfigSource::texts(vec![text.to_owned()]).load().unwrap()
    }

    fn messages(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_committed_defaults_are_complete_and_valid() {
        let config = ConfigSource::default().load().unwrap();
        let core = CoreSettings::read(&config, &NAMES).unwrap();
        assert_eq!(core.domains, ["fleet-customers"]);
        assert_eq!(core.http.listen.port(), 8080);
        config.section::<DatabaseSettings>("database").unwrap();
    }

    #[test]
    fn every_fault_of_a_section_is_found_at_once() {
        let config = config(
            "[http]\nlisen = 1\nlisten = 'nowhere'\nworkers = 'many'\nbody_limit_bytes = 0\n",
        );
        let found = messages(&config.section::<HttpSettings>("http").unwrap_err());
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found.iter().any(|fault| fault == "http.lisen: unknown key; did you mean `listen`?")
        );
        for key in ["http.listen:", "http.workers:", "http.body_limit_bytes:"] {
            assert!(found.iter().any(|fault| fault.starts_with(key)), "{key} in {found:#?}");
        }
    }

    #[test]
    fn an_unknown_section_is_refused_with_the_nearest_name() {
        let config = config("[databse]\nurl = 'x'\n[upstreams.personnal]\nbase_url = 'x'\n");
        let found = messages(&config.unknown_sections(&NAMES));
        assert_eq!(
            found,
            [
                "databse: unknown key; did you mean `database`?",
                "upstreams.personnal: unknown key; did you mean `personal`?"
            ]
        );
    }

    #[test]
    fn a_list_of_tables_is_mended_item_by_item() {
        let config = config(
            "[[auth.callers]]\nname = 'a'\n[[auth.callers]]\nname = 'b'\ntoken_sha256 = 'xyz'\naudiences = ['nobody']\n",
        );
        let found =
            messages(&config.section::<super::super::auth::AuthSettings>("auth").unwrap_err());
        assert!(found.iter().any(|fault| fault.contains("missing")), "{found:#?}");
        assert!(
            !found.iter().any(|fault| fault.contains("xyz")),
            "a token never stands in a fault"
        );
    }

    #[test]
    fn items_keep_their_numbers_though_one_before_them_is_left_out() {
        let digest = "0".repeat(64);
        let config = config(&format!(
            "[[auth.callers]]\nname = 'a'\ntoken_sha256 = 'xyz'\naudiences = ['driver']\n\
             [[auth.callers]]\nname = 'b'\ntoken_sha256 = '{digest}'\naudiences = []\n\
             [[auth.callers]]\nname = 'c'\ntoken_sha256 = 'xyz'\naudiences = ['driver']\n\
             [[auth.callers]]\nname = ''\ntoken_sha256 = '{}'\naudiences = ['nobody']\n",
            "1".repeat(64)
        ));
        let found =
            messages(&config.section::<super::super::auth::AuthSettings>("auth").unwrap_err());
        let mut keys: Vec<&str> =
            found.iter().filter_map(|fault| fault.split(": ").next()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "auth.callers[0].token_sha256",
                "auth.callers[1].audiences",
                "auth.callers[2].token_sha256",
                "auth.callers[3].audiences",
                "auth.callers[3].audiences[0]",
                "auth.callers[3].name",
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn a_caller_is_given_domains_that_there_are() {
        let digest = "0".repeat(64);
        let of = |domains: &str| {
            let config = config(&format!(
                "[[auth.callers]]\nname = 'a'\ntoken_sha256 = '{digest}'\n\
                 audiences = ['driver']\ndomains = {domains}\n"
            ));
            CoreSettings::read(&config, &NAMES).map(|_| ()).map_err(|faults| messages(&faults))
        };
        assert_eq!(of("['fleet-customers', 'scooter-accumulator']"), Ok(()));
        let unknown = "auth.callers[0].domains: unknown domain; did you mean `fleet-customers`?";
        assert_eq!(of("['fleet-customer']").unwrap_err(), [unknown]);
        assert_eq!(of("[]").unwrap_err().len(), 1);
    }

    #[test]
    fn domains_are_named_in_a_list_or_a_text_and_must_be_compiled() {
        let compiled = ["fleet-customers", "fleet-communications"];
        assert_eq!(config("").enabled_domains(&compiled).unwrap(), compiled);
        for text in ["domains = ['fleet-customers']", "domains = 'fleet-customers'"] {
            assert_eq!(config(text).enabled_domains(&compiled).unwrap(), ["fleet-customers"]);
        }
        assert!(config("domains = ['taxi']").enabled_domains(&compiled).is_err());
        assert!(config("domains = []").enabled_domains(&compiled).is_err());
    }
}
