//! `[secrets]`: keys of our own, read only by processes whose domains seal something.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Faults, Section};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Keys that never leave the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// Seals what the database keeps and nobody may read there: base64 of 32 bytes.
    pub token_key: SecretString,
}

impl SecretSettings {
    /// The bytes of `token_key`; `None` when it is not what it should be.
    #[must_use]
    pub fn token_key(&self) -> Option<[u8; KEY_BYTES]> {
        STANDARD.decode(self.token_key.expose_secret()).ok()?.try_into().ok()
    }
}

impl Section for SecretSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require(
            self.token_key().is_some(),
            "token_key",
            "must be the base64 of 32 bytes: openssl rand -base64 32",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigSource;
    use super::*;

    fn settings(key: &str) -> Result<SecretSettings, Vec<super::super::Fault>> {
        let text = format!("[secrets]\ntoken_key = '{key}'\n");
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
}
