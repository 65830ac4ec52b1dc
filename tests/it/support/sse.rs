//! Server-sent events as a browser reads them.

use std::collections::VecDeque;

use futures_util::StreamExt;
use serde_json::Value;

use super::PATIENCE;
use super::client::{Caller, Opened};

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: i64,
    pub name: String,
    pub data: Value,
}

/// An open stream; dropping it closes the connection.
pub struct Events {
    response: Opened,
    /// What has come of the next block; pieces may end within a character.
    bytes: Vec<u8>,
    ready: VecDeque<Event>,
    /// Where a browser would resume.
    pub last_id: Option<i64>,
    /// What the server said of coming back, in milliseconds.
    pub retry: Option<u64>,
    /// Comments seen.
    pub heartbeats: u32,
    ended: bool,
}

impl Events {
    /// Opens a stream that must be one, and waits until it says where it is.
    pub async fn open(caller: &Caller, path: &str) -> Self {
        Self::try_open(caller, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same of a server that may not answer.
    pub async fn try_open(caller: &Caller, path: &str) -> Result<Self, String> {
        let response = caller.open(path).await?;
        if response.status() != 200 {
            return Err(format!("answered {}", response.status()));
        }
        let kind = response.headers().get("content-type").map(|kind| kind.as_bytes().to_vec());
        assert_eq!(kind.as_deref(), Some(&b"text/event-stream"[..]));
        let mut events = Self {
            response,
            bytes: Vec::new(),
            ready: VecDeque::new(),
            last_id: None,
            retry: None,
            heartbeats: 0,
            ended: false,
        };
        while events.last_id.is_none() {
            if !events.fill().await {
                return Err("the stream ended before it began".to_owned());
            }
        }
        Ok(events)
    }

    /// The next event; `None` at the end of the stream. Panics when nothing comes.
    pub async fn next(&mut self) -> Option<Event> {
        let waited = tokio::time::timeout(PATIENCE, self.wait()).await;
        waited.unwrap_or_else(|_| panic!("no event in {PATIENCE:?}"))
    }

    /// The next so many events.
    pub async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let next = self.next().await;
            events.push(next.unwrap_or_else(|| panic!("ended after {events:?}")));
        }
        events
    }

    /// Waits for a further heartbeat.
    pub async fn heartbeat(&mut self) {
        let before = self.heartbeats;
        let beat = async { while self.heartbeats == before && self.fill().await {} };
        tokio::time::timeout(PATIENCE, beat).await.expect("a heartbeat");
        assert!(self.heartbeats > before, "the stream ended");
    }

    /// As `next`, without end.
    pub async fn wait(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads a piece; false at the end, however it came.
    async fn fill(&mut self) -> bool {
        match self.response.next().await {
            Some(Ok(bytes)) if !self.ended => {
                self.bytes.extend_from_slice(&bytes);
                while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
                    let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                    self.block(&String::from_utf8(block).expect("UTF-8"));
                }
                true
            }
            _ => {
                self.ended = true;
                false
            }
        }
    }

    fn block(&mut self, block: &str) {
        let (mut name, mut data) = (String::new(), None);
        for line in block.trim_end().lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.heartbeats += 1,
                "id" => self.last_id = Some(value.parse().expect("a number")),
                "retry" => self.retry = Some(value.parse().expect("milliseconds")),
                "event" => value.clone_into(&mut name),
                "data" => data = Some(serde_json::from_str(value).expect("JSON")),
                other => panic!("a field {other:?}"),
            }
        }
        if let Some(data) = data {
            let id = self.last_id.expect("an event with an id");
            self.ready.push_back(Event { id, name, data });
        }
    }
}
