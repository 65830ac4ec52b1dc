//! `[secrets]`: keys of our own, read only by processes whose domains seal something.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Faults, Section};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// What a key must be.
const FORM: &str = "the base64 of 32 bytes: openssl rand -base64 32";
/// More keys than that are none that somebody still needs.
const MOST_PREVIOUS: usize = 8;

/// Keys that never leave the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// Seals what the database keeps and nobody may read there: base64 of 32 bytes.
    pub token_key: SecretString,
    /// Keys that opened it before, with commas between: they open what they sealed, and seal nothing.
    pub previous_token_keys: SecretString,
}

/// The bytes of a key; `None` when it is not what it should be.
fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

impl SecretSettings {
    /// The bytes of `token_key`; `None` when it is not what it should be.
    #[must_use]
    pub fn token_key(&self) -> Option<[u8; KEY_BYTES]> {
        key(self.token_key.expose_secret())
    }

    /// The bytes of `previous_token_keys`; `None` when one is not what it should be.
    #[must_use]
    pub fn previous_token_keys(&self) -> Option<Vec<[u8; KEY_BYTES]>> {
        let text = self.previous_token_keys.expose_secret();
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        text.split(',').map(key).collect()
    }
}

impl Section for SecretSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require(self.token_key().is_some(), "token_key", &format!("must be {FORM}"));
        faults.require(
            self.previous_token_keys().is_some_and(|keys| keys.len() <= MOST_PREVIOUS),
            "previous_token_keys",
            &format!("must be at most {MOST_PREVIOUS} keys with commas between, each {FORM}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigSource;
    use super::*;

    fn settings(key: &str) -> Result<SecretSettings, Vec<super::super::Fault>> {
        with_previous(key, "")
    }

    fn with_previous(key: &str, keys: &str) -> Result<SecretSettings, Vec<super::super::Fault>> {
        let text = format!("[secrets]\ntoken_key = '{key}'\nprevious_token_keys = '{keys}'\n");
        ConfigSource::texts(vec![text]).load().unwrap().section("secrets")
    }

    #[test]
    fn a_key_has_32_bytes() {
        let key = STANDARD.encode([7; KEY_BYTES]);
        assert_eq!(settings(&key).unwrap().token_key(), Some([7; KEY_BYTES]));
        for wrong in ["", "no base64", &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33])] {
            let faults = settings(wrong).unwrap_err();
            assert_eq!(faults.len(), 1, "{wrong}");
            assert_eq!(faults[0].key, "secrets.token_key");
            assert!(wrong.is_empty() || !faults[0].message.contains(wrong), "shows the key");
        }
    }

    #[test]
    fn previous_keys_are_a_list_with_commas() {
        let [new, old, older] = [1, 2, 3].map(|byte| STANDARD.encode([byte; KEY_BYTES]));
        for (keys, expected) in [
            (String::new(), vec![]),
            (old.clone(), vec![[2; KEY_BYTES]]),
            (format!("{old}, {older}"), vec![[2; KEY_BYTES], [3; KEY_BYTES]]),
        ] {
            let settings = with_previous(&new, &keys).unwrap();
            assert_eq!(settings.previous_token_keys(), Some(expected));
        }
        for wrong in [format!("{old},"), format!("{old},no key"), vec![old; 9].join(",")] {
            let faults = with_previous(&new, &wrong).unwrap_err();
            assert_eq!(faults.len(), 1, "{wrong}");
            assert_eq!(faults[0].key, "secrets.previous_token_keys");
            assert!(!faults[0].message.contains(&wrong), "shows the keys");
        }
    }
}
