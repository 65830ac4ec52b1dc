//! Seals what the database must keep but nobody may read there: AES-256-GCM with a configured key.
//!
//! A sealed text is a byte for the format, the nonce, and the cipher text with its tag. It opens only
//! with what it is about (its table and row, say), so that it cannot be put in another's place.
//! Nonces are random: one key is good for some four thousand million texts. Keys are changed by way of
//! `secrets.previous_token_keys`, which open and do not seal.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::config::secrets::{KEY_BYTES, SecretSettings};
use super::error::{Error, Kind, Result};

/// The first byte: AES-256-GCM, nonce of 12 bytes, tag of 16 behind the cipher text.
const FORMAT: u8 = 1;
const HEAD: usize = 1 + NONCE_LEN;

/// Seals and opens. Cheap to share behind an `Arc`.
pub struct Seal {
    key: LessSafeKey,
    /// They only open.
    previous: Vec<LessSafeKey>,
    random: SystemRandom,
}

/// What was to be opened was not sealed by this key about this, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was not sealed with this key, or was changed since")]
pub struct NotOurs;

impl Seal {
    /// Takes the configured keys.
    ///
    /// # Errors
    /// `invalid_configuration`: one is not a key.
    pub fn new(settings: &SecretSettings) -> Result<Self> {
        let invalid = || {
            let detail = "The configuration is not valid.";
            Error::new(Kind::Internal, "invalid_configuration", detail)
                .with_source("a key of [secrets] is not the base64 of 32 bytes")
        };
        let key = settings.token_key().ok_or_else(invalid)?;
        let previous = settings.previous_token_keys().ok_or_else(invalid)?;
        Self::with_keys(&key, &previous)
    }

    fn with_keys(key: &[u8; KEY_BYTES], previous: &[[u8; KEY_BYTES]]) -> Result<Self> {
        let previous = previous.iter().map(key_of).collect::<Result<_>>()?;
        Ok(Self { key: key_of(key)?, previous, random: SystemRandom::new() })
    }

    /// Seals `text`; it opens only with the same `about`.
    ///
    /// # Errors
    /// `internal`: the system gives no random bytes.
    pub fn seal(&self, text: &[u8], about: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| Error::internal("the system gives no random bytes"))?;
        let mut body = text.to_vec();
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about),
                &mut body,
            )
            .map_err(|_| Error::internal("it is too long to be sealed"))?;
        let mut sealed = Vec::with_capacity(HEAD + body.len() + tag.as_ref().len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`Seal::seal`] made about the same.
    ///
    /// # Errors
    /// A key that is not configured, other words about it, another format, or a changed text.
    pub fn open(&self, sealed: &[u8], about: &[u8]) -> Result<Vec<u8>, NotOurs> {
        let (head, body) = sealed.split_at_checked(HEAD).ok_or(NotOurs)?;
        let (format, nonce) = head.split_first().ok_or(NotOurs)?;
        if *format != FORMAT {
            return Err(NotOurs);
        }
        let mut keys = std::iter::once(&self.key).chain(&self.previous);
        keys.find_map(|key| open_with(key, nonce, body, about)).ok_or(NotOurs)
    }
}

fn key_of(bytes: &[u8; KEY_BYTES]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, bytes)
        .map_err(|_| Error::internal("not a key of AES-256-GCM"))?;
    Ok(LessSafeKey::new(key))
}

fn open_with(key: &LessSafeKey, nonce: &[u8], body: &[u8], about: &[u8]) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from(about), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(byte: u8) -> Seal {
        Seal::with_keys(&[byte; KEY_BYTES], &[]).unwrap()
    }

    #[test]
    fn what_is_sealed_is_not_seen_and_never_the_same_twice() {
        let seal = seal(1);
        let (one, two) =
            (seal.seal(b"a token", b"x").unwrap(), seal.seal(b"a token", b"x").unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(5).any(|part| part == b"token"));
        assert_eq!(one.len(), HEAD + 7 + 16);
    }

    #[test]
    fn another_key_or_another_place_does_not_open_it() {
        let sealed = seal(1).seal(b"a token", b"here").unwrap();
        assert_eq!(seal(1).open(&sealed, b"here").unwrap(), b"a token");
        assert_eq!(seal(2).open(&sealed, b"here"), Err(NotOurs));
        assert_eq!(seal(1).open(&sealed, b"there"), Err(NotOurs));
    }

    #[test]
    fn a_previous_key_opens_and_does_not_seal() {
        let changed = Seal::with_keys(&[2; KEY_BYTES], &[[9; KEY_BYTES], [1; KEY_BYTES]]).unwrap();
        let old = seal(1).seal(b"a token", b"x").unwrap();
        assert_eq!(changed.open(&old, b"x").unwrap(), b"a token");
        assert_eq!(changed.open(&old, b"y"), Err(NotOurs));
        let new = changed.seal(b"a token", b"x").unwrap();
        assert_eq!(seal(1).open(&new, b"x"), Err(NotOurs));
        assert_eq!(seal(2).open(&new, b"x").unwrap(), b"a token");
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let sealed = seal(1).seal(b"a token", b"").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal(1).open(&changed, b""), Err(NotOurs), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(seal(1).open(&sealed[..length], b""), Err(NotOurs), "length {length}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text: Vec<u8>, about: Vec<u8>) {
            let seal = seal(3);
            prop_assert_eq!(seal.open(&seal.seal(&text, &about).unwrap(), &about).unwrap(), text);
        }

        #[test]
        fn nothing_else_opens(bytes: Vec<u8>) {
            prop_assert_eq!(seal(3).open(&bytes, b""), Err(NotOurs));
        }
    }
}
