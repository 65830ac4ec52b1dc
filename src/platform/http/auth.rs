//! Recognises callers by their bearer token.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::platform::config::auth::{Audience, AuthSettings, CallerSettings};
use crate::platform::error::{Error, Kind, Result};

/// The callers this process knows.
pub struct Callers(Vec<Caller>);

struct Caller {
    name: Arc<str>,
    settings: CallerSettings,
}

impl Callers {
    /// The callers of the configuration.
    #[must_use]
    pub fn new(settings: &AuthSettings) -> Self {
        let caller = |settings: &CallerSettings| Caller {
            name: Arc::from(settings.name.as_str()),
            settings: settings.clone(),
        };
        Self(settings.callers.iter().map(caller).collect())
    }

    /// The name of the caller that the `Authorization` header shows, if it may call `domain` as
    /// `audience`. Every known token is compared, in constant time, so that the time taken tells
    /// nothing about them.
    ///
    /// # Errors
    /// `unauthenticated` without a known token, `forbidden` for a known one elsewhere.
    pub fn authorise(
        &self,
        authorization: Option<&str>,
        domain: &str,
        audience: Audience,
    ) -> Result<Arc<str>> {
        let token = authorization.and_then(bearer).ok_or_else(unauthenticated)?;
        let digest = Sha256::digest(token.as_bytes());
        let mut found = None;
        for caller in &self.0 {
            for known in caller.settings.tokens() {
                if bool::from(known.0.ct_eq(digest.as_slice())) {
                    found = Some(caller);
                }
            }
        }
        let caller = found.ok_or_else(unauthenticated)?;
        let domains = caller.settings.domains.as_ref();
        let may = caller.settings.audiences.contains(&audience)
            && domains.is_none_or(|domains| domains.iter().any(|name| name == domain));
        if may {
            return Ok(Arc::clone(&caller.name));
        }
        Err(Error::new(Kind::Forbidden, "forbidden", "This caller may not use this route."))
    }
}

/// The scheme is compared without regard to case (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn unauthenticated() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "unauthenticated",
        "Authorization must be a bearer token that this server knows.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::auth::TokenDigest;

    fn callers() -> Callers {
        let digest = |token: &str| TokenDigest(Sha256::digest(token.as_bytes()).into());
        Callers::new(&AuthSettings {
            callers: vec![CallerSettings {
                name: "front".into(),
                token_sha256: digest("secret"),
                previous_token_sha256: Some(digest("old secret")),
                audiences: vec![Audience::Dispatcher],
                domains: Some(vec!["fleet-customers".into()]),
            }],
        })
    }

    #[test]
    fn a_known_token_opens_its_audience_and_domains_only() {
        let callers = callers();
        let kind = |header, domain, audience| {
            callers.authorise(header, domain, audience).map_err(|error| error.kind())
        };
        let ok = kind(Some("bearer secret"), "fleet-customers", Audience::Dispatcher);
        assert_eq!(ok.as_deref(), Ok("front"));
        let old = kind(Some("Bearer old secret"), "fleet-customers", Audience::Dispatcher);
        assert_eq!(old.as_deref(), Ok("front"), "under the same name");
        let old = kind(Some("Bearer old secret"), "fleet-customers", Audience::Internal);
        assert_eq!(old, Err(Kind::Forbidden));
        for header in
            [None, Some("secret"), Some("Bearer other"), Some("Bearer "), Some("Basic secret")]
        {
            let refused = kind(header, "fleet-customers", Audience::Dispatcher);
            assert_eq!(refused, Err(Kind::Unauthenticated), "{header:?}");
        }
        let audience = kind(Some("Bearer secret"), "fleet-customers", Audience::Internal);
        assert_eq!(audience, Err(Kind::Forbidden));
        let domain = kind(Some("Bearer secret"), "fleet-communications", Audience::Dispatcher);
        assert_eq!(domain, Err(Kind::Forbidden));
    }
}
