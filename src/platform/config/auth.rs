//! `[auth]`: who may call.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::section::nearest;
use super::{Fault, Faults, Section};

/// Whom a route is for: the first path segment after a domain's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The dispatcher's web front, through the auth proxy.
    Dispatcher,
    /// The driver's app, through its auth proxy.
    Driver,
    /// Other back-end services.
    Internal,
    /// The data-subject service.
    Takeout,
}

/// The SHA-256 of a bearer token. The token itself is stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenDigest(pub [u8; 32]);

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0_u8; 32];
        let wrong = || D::Error::custom("must be the token's SHA-256 in 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

/// One caller.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSettings {
    /// Stands in logs and audit rows.
    pub name: String,
    /// SHA-256 of its token.
    pub token_sha256: TokenDigest,
    /// SHA-256 of the token that it replaces, which is known as well until everybody has the new one.
    pub previous_token_sha256: Option<TokenDigest>,
    /// The audiences it may call as.
    pub audiences: Vec<Audience>,
    /// The domains it may call; all when left out.
    pub domains: Option<Vec<String>>,
}

impl CallerSettings {
    /// The digests of all its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenDigest> + Clone {
        std::iter::once(&self.token_sha256).chain(&self.previous_token_sha256)
    }
}

/// The callers this process knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// May be empty: then every request is 401.
    pub callers: Vec<CallerSettings>,
}

impl AuthSettings {
    /// Names under `domains` that no domain bears, compiled or not, by the domains' sections.
    #[must_use]
    pub fn unknown_domains(&self, sections: &[&str]) -> Vec<Fault> {
        let known: Vec<String> = sections.iter().map(|section| section.replace('_', "-")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut faults = Faults::below("auth");
        for (index, caller) in self.callers.iter().enumerate() {
            let key = format!("callers[{index}].domains");
            let named = caller.domains.as_deref();
            let is_empty = named.is_some_and(<[String]>::is_empty);
            faults.require(!is_empty, &key, "names no domain; leave it out for all");
            for name in named.unwrap_or_default() {
                if !known.contains(&name.as_str()) {
                    faults.add(&key, nearest("domain", name, &known));
                }
            }
        }
        faults.into_vec()
    }
}

impl Section for AuthSettings {
    fn check(&self, faults: &mut Faults) {
        for (index, caller) in self.callers.iter().enumerate() {
            let key = |field: &str| format!("callers[{index}].{field}");
            let earlier = self.callers.iter().take(index);
            faults.require(!caller.name.trim().is_empty(), &key("name"), "must not be empty");
            faults.require(
                !caller.audiences.is_empty(),
                &key("audiences"),
                "must name at least one audience",
            );
            faults.require(
                !earlier.clone().any(|other| other.name == caller.name),
                &key("name"),
                "is the name of another caller too",
            );
            for (field, token) in
                ["token_sha256", "previous_token_sha256"].iter().zip(caller.tokens())
            {
                faults.require(
                    !earlier.clone().any(|other| other.tokens().any(|known| known == token)),
                    &key(field),
                    "is the token of another caller too",
                );
            }
        }
    }
}
