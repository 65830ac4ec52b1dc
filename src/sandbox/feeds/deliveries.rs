//! What was delivered: counts by channel and payload, and what each request got.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// In the characters that people count.
const LONGEST_TEXT: usize = 4_096;
/// How much is kept: each delivery takes some 20 bytes.
const MOST_DELIVERIES: usize = 20_000_000;
const MOST_REJECTED: usize = 100_000;
const BLOCKED: &str = "-blocked";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    pub(super) request_id: String,
    pub(super) service: String,
    pub(super) channels: Vec<To>,
    pub(super) payload: Payload,
    expire_at: Option<Timestamp>,
}

/// A channel that a request delivers to; its own payload is laid over the common one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct To {
    channel: String,
    #[serde(default)]
    payload: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    text: String,
    title: Option<String>,
    kind: String,
}

impl Payload {
    pub(super) fn is_valid(&self) -> bool {
        is_text(&self.text) && !self.kind.is_empty()
    }
}

impl Create {
    /// The same for requests that ask for the same, in whatever order.
    fn digest(&mut self) -> serde_json::Result<[u8; 32]> {
        self.channels.sort_by(|one, other| one.channel.cmp(&other.channel));
        Ok(Sha256::digest(serde_json::to_vec(self)?).into())
    }
}

impl To {
    /// Stands for what the driver sees.
    fn shown(&self, common: &Payload) -> serde_json::Result<u64> {
        let digest: [u8; 32] = Sha256::digest(serde_json::to_vec(&(common, &self.payload))?).into();
        let (head, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Ok(u64::from_be_bytes(*head))
    }
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= LONGEST_TEXT
}

/// `contractor:PARK:ID`
fn contractor(channel: &str) -> Option<(&str, &str)> {
    let (park, id) = channel.strip_prefix("contractor:")?.split_once(':')?;
    (!park.is_empty() && !id.is_empty()).then_some((park, id))
}

fn is_of(channel: &str, park: Option<&str>) -> bool {
    park.is_none_or(|park| contractor(channel).is_some_and(|(of, _)| of == park))
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Created {
    pub(super) feed_ids: BTreeMap<String, String>,
    pub(super) rejected: Vec<Rejected>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rejected {
    pub(super) channel: String,
    pub(super) code: String,
}

/// Counts for tests; see the parent's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Channels that got something.
    pub drivers: usize,
    /// Everything that was delivered, also what was removed later.
    pub deliveries: u64,
    /// Deliveries of a payload to a channel that had got the same payload before.
    pub doubled: u64,
    /// Deliveries that were removed.
    pub removed: u64,
    /// Channels that were rejected, each time.
    pub rejected: usize,
    /// Different requests.
    pub requests: usize,
    /// Repeated requests whose body was not the first one's.
    pub mismatches: u64,
}

struct Channel {
    name: Arc<str>,
    /// How often each payload was delivered.
    payloads: Vec<(u64, u32)>,
    removed: u32,
}

struct Request {
    digest: [u8; 32],
    channels: Vec<u32>,
    rejected: Vec<Rejected>,
    is_removed: bool,
    mismatches: u64,
}

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    Full,
    Json(serde_json::Error),
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

#[derive(Default)]
pub(super) struct Deliveries {
    channels: Vec<Channel>,
    by_name: HashMap<Arc<str>, u32>,
    requests: HashMap<String, Request>,
    rejecting: HashMap<String, String>,
    /// Deliveries and requests.
    kept: usize,
}

impl Deliveries {
    /// Delivers what the request asks for, once; again, it only answers as it did.
    pub(super) fn create(&mut self, mut create: Create) -> Result<Created, Failure> {
        let digest = create.digest()?;
        if let Some(first) = self.requests.get_mut(&create.request_id) {
            first.mismatches += u64::from(first.digest != digest);
            return Ok(self.created(&create.request_id));
        }
        if self.kept + create.channels.len() >= MOST_DELIVERIES {
            return Err(Failure::Full);
        }
        let (mut channels, mut rejected) = (Vec::with_capacity(create.channels.len()), Vec::new());
        for to in create.channels {
            if let Some(code) = self.rejection(&to) {
                rejected.push(Rejected { channel: to.channel, code });
                continue;
            }
            let shown = to.shown(&create.payload)?;
            channels.push(self.deliver(to.channel, shown)?);
        }
        self.kept += channels.len() + rejected.len() + 1;
        let request = Request { digest, channels, rejected, is_removed: false, mismatches: 0 };
        self.requests.insert(create.request_id.clone(), request);
        Ok(self.created(&create.request_id))
    }

    /// Returns how many deliveries of the request were there to remove.
    pub(super) fn remove(&mut self, request_id: &str) -> usize {
        let Some(request) = self.requests.get_mut(request_id) else { return 0 };
        if std::mem::replace(&mut request.is_removed, true) {
            return 0;
        }
        for index in &request.channels {
            if let Some(channel) = self.channels.get_mut(*index as usize) {
                channel.removed += 1;
            }
        }
        request.channels.len()
    }

    /// From now on the channel is rejected with that code, or with none no more. Says no when there
    /// are too many.
    pub(super) fn reject(&mut self, channel: &str, code: Option<String>) -> bool {
        match code {
            None => drop(self.rejecting.remove(channel)),
            Some(_) if self.rejecting.len() >= MOST_REJECTED => return false,
            Some(code) => drop(self.rejecting.insert(channel.to_owned(), code)),
        }
        true
    }

    /// Forgets all that was delivered, but not what is to be rejected.
    pub(super) fn clear(&mut self) {
        *self = Self { rejecting: std::mem::take(&mut self.rejecting), ..Self::default() };
    }

    /// How often something was delivered to each channel of a park.
    pub(super) fn by_channel(&self, park: &str) -> BTreeMap<String, u64> {
        let channels = self.channels.iter().filter(|channel| is_of(&channel.name, Some(park)));
        channels.map(|channel| (channel.name.to_string(), channel.deliveries())).collect()
    }

    /// Counts for a park, or for all.
    pub(super) fn count(&self, park: Option<&str>) -> Delivered {
        let mut count = Delivered::default();
        for channel in self.channels.iter().filter(|channel| is_of(&channel.name, park)) {
            count.drivers += 1;
            count.deliveries += channel.deliveries();
            count.doubled += channel.deliveries() - channel.payloads.len() as u64;
            count.removed += u64::from(channel.removed);
        }
        for request in self.requests.values() {
            let rejected = request.rejected.iter();
            let rejected = rejected.filter(|rejected| is_of(&rejected.channel, park)).count();
            count.rejected += rejected;
            if rejected > 0 || request.channels.iter().any(|index| is_of(self.name(*index), park)) {
                count.requests += 1;
                count.mismatches += request.mismatches;
            }
        }
        count
    }

    fn deliver(&mut self, channel: String, shown: u64) -> Result<u32, Failure> {
        let index = match self.by_name.get(channel.as_str()) {
            Some(index) => *index,
            None => self.add(channel)?,
        };
        if let Some(channel) = self.channels.get_mut(index as usize) {
            match channel.payloads.iter_mut().find(|(payload, _)| *payload == shown) {
                Some((_, times)) => *times += 1,
                None => channel.payloads.push((shown, 1)),
            }
        }
        Ok(index)
    }

    fn add(&mut self, channel: String) -> Result<u32, Failure> {
        let index = u32::try_from(self.channels.len()).map_err(|_| Failure::Full)?;
        let name: Arc<str> = channel.into();
        self.by_name.insert(Arc::clone(&name), index);
        self.channels.push(Channel { name, payloads: Vec::new(), removed: 0 });
        Ok(index)
    }

    fn rejection(&self, to: &To) -> Option<String> {
        if let Some(code) = self.rejecting.get(&to.channel) {
            return Some(code.clone());
        }
        let Some((_, id)) = contractor(&to.channel) else { return Some("bad_channel".into()) };
        if id.ends_with(BLOCKED) {
            return Some("blocked".into());
        }
        let text = to.payload.get("text");
        let is_bad = text.is_some_and(|text| !text.as_str().is_some_and(is_text));
        is_bad.then(|| "bad_text".into())
    }

    fn created(&self, request_id: &str) -> Created {
        let Some(request) = self.requests.get(request_id) else {
            return Created { feed_ids: BTreeMap::new(), rejected: Vec::new() };
        };
        let names = request.channels.iter().map(|index| self.name(*index));
        let feed_ids = names.map(|name| (name.to_owned(), feed_id(request_id, name)));
        Created { feed_ids: feed_ids.collect(), rejected: request.rejected.clone() }
    }

    fn name(&self, index: u32) -> &str {
        self.channels.get(index as usize).map(|channel| &*channel.name).unwrap_or_default()
    }
}

impl Channel {
    fn deliveries(&self) -> u64 {
        self.payloads.iter().map(|(_, times)| u64::from(*times)).sum()
    }
}

fn feed_id(request_id: &str, channel: &str) -> String {
    let digest = Sha256::digest(format!("{request_id}\0{channel}"));
    digest.iter().take(16).fold(String::with_capacity(32), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn create(deliveries: &mut Deliveries, request_id: &str, ids: &[&str], text: &str) -> Created {
        let channels: Vec<_> =
            ids.iter().map(|id| json!({"channel": format!("contractor:park-1:{id}")})).collect();
        let create = json!({
            "request_id": request_id, "service": "fleet-communications", "channels": channels,
            "payload": {"text": text, "kind": "mailing"},
        });
        deliveries.create(serde_json::from_value(create).unwrap()).unwrap()
    }

    #[test]
    fn only_what_a_driver_sees_twice_is_doubled() {
        let mut deliveries = Deliveries::default();
        create(&mut deliveries, "r-1", &["a", "b"], "one");
        create(&mut deliveries, "r-1", &["b", "a"], "one");
        create(&mut deliveries, "r-2", &["a"], "two");
        let once = Delivered { drivers: 2, deliveries: 3, requests: 2, ..Delivered::default() };
        assert_eq!(deliveries.count(None), once);
        create(&mut deliveries, "r-3", &["b", "c", "c"], "one");
        let count = deliveries.count(Some("park-1"));
        assert_eq!((count.drivers, count.deliveries, count.doubled), (3, 6, 2));
        assert_eq!(deliveries.count(Some("park-2")), Delivered::default());
        deliveries.clear();
        assert_eq!(deliveries.count(None), Delivered::default());
    }

    #[test]
    fn another_body_under_the_same_id_gets_the_first_answer() {
        let mut deliveries = Deliveries::default();
        let first = create(&mut deliveries, "r", &["a"], "one");
        assert_eq!(create(&mut deliveries, "r", &["a", "b"], "one"), first);
        assert_eq!(create(&mut deliveries, "r", &["a"], "two"), first);
        let count = deliveries.count(Some("park-1"));
        assert_eq!((count.deliveries, count.requests, count.mismatches), (1, 1, 2));
    }
}
