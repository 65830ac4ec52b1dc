//! Everything that is wrong with a configuration, collected so that one look shows it all.

use std::fmt;

/// One thing that is wrong: the key's full path and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Dotted path of the key, for example `http.listen`.
    pub key: String,
    /// What is wrong and what would be right. Never holds a secret's value.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The faults found so far, below one key prefix.
#[derive(Debug, Default)]
pub struct Faults {
    prefix: String,
    found: Vec<Fault>,
}

impl Faults {
    /// Collects faults of keys below `prefix` (a section's name).
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), found: Vec::new() }
    }

    /// Notes a fault at `key`, relative to the prefix.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        let key = match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}.{key}"),
        };
        self.found.push(Fault { key, message: message.into() });
    }

    /// Notes a fault unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            self.add(key, message);
        }
    }

    /// What was found, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.found
    }
}
