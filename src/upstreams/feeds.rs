//! `feeds`: shows messages in the drivers' app.
//!
//! A request's id makes its repetition harmless: the answer is the first one's, and nothing is
//! delivered twice.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::ids::ParkId;
use crate::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Most recipients of one request.
pub const CHANNELS: usize = 1_000;

/// The channel of a park's contractor.
#[must_use]
pub fn channel(park: &ParkId, contractor: &str) -> String {
    format!("contractor:{park}:{contractor}")
}

/// What is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Payload<'a> {
    /// The message.
    pub text: &'a str,
    /// What sort of message it is, for the app.
    pub kind: &'static str,
}

/// A recipient; with a text of his own where `text` is given.
#[derive(Debug, Clone)]
pub struct Recipient<'a> {
    /// The contractor's id within the park.
    pub contractor_id: &'a str,
    /// In place of the common text.
    pub text: Option<String>,
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Channels that have the message.
    pub channels: HashMap<String, serde_json::Value>,
    /// Channels that do not take it, with the reason.
    pub rejected: HashMap<String, String>,
}

#[derive(Serialize)]
struct Create<'a> {
    request_id: &'a str,
    service: &'static str,
    channels: Vec<serde_json::Value>,
    payload: &'a Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Created {
    feed_ids: HashMap<String, serde_json::Value>,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    channel: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Removed {
    removed: u32,
}

/// The client of `feeds`. Cheap to clone.
#[derive(Clone)]
pub struct Feeds {
    upstream: Upstream,
}

impl Feeds {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("feeds", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// Shows `payload` to the park's `recipients`, at most [`CHANNELS`], once for each `request_id`; from
    /// `expires_at` on to nobody any more.
    ///
    /// # Errors
    /// When there is no usable answer: they may have it all the same.
    pub async fn create(
        &self,
        ctx: &Context,
        request_id: &str,
        park: &ParkId,
        recipients: &[Recipient<'_>],
        payload: &Payload<'_>,
        expires_at: Option<Timestamp>,
    ) -> Result<Delivered, UpstreamError> {
        let channels: Vec<_> = recipients
            .iter()
            .map(|recipient| {
                let channel = channel(park, recipient.contractor_id);
                match &recipient.text {
                    Some(text) => json!({ "channel": channel, "payload": { "text": text } }),
                    None => json!({ "channel": channel }),
                }
            })
            .collect();
        let body = Create {
            request_id,
            service: "fleet-communications",
            channels,
            payload,
            expire_at: expires_at,
        };
        let call = Call::post("create", "/v1/feeds/create", &body)?.idempotent();
        match self.upstream.call_json::<Created>(ctx, call).await? {
            Answer::Ok(Created { feed_ids, rejected }) => Ok(Delivered {
                channels: feed_ids,
                rejected: rejected.into_iter().map(|one| (one.channel, one.code)).collect(),
            }),
            Answer::Refused(reply) => Err(reply.unexpected()),
        }
    }

    /// Takes back what was shown under a request's id; how many no longer have it for that. In one
    /// attempt: a second one would not say again what the first took back.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn remove(&self, ctx: &Context, request_id: &str) -> Result<u32, UpstreamError> {
        let body = json!({ "request_id": request_id });
        let call = Call::post("remove", "/v1/feeds/remove", &body)?;
        match self.upstream.call_json::<Removed>(ctx, call).await? {
            Answer::Ok(Removed { removed }) => Ok(removed),
            Answer::Refused(reply) => Err(reply.unexpected()),
        }
    }
}
