//! One event of a driver's status, from the outside's JSON to what the queue stores.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::platform::database::PackedId;
use crate::platform::ids::OpaqueId;
use crate::platform::validation::without_value;

/// How far in the future an event's time may be: clocks differ, but not by more than this.
const MOST_AHEAD: Duration = Duration::from_hours(1);
/// Nothing that this product is told of happened before (2000-01-01).
const EARLIEST_SECOND: i64 = 946_684_800;

/// What a driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverStatus {
    /// Takes no orders.
    Offline,
    /// Waits for an order.
    Online,
    /// Carries out an order.
    Busy,
}

impl DriverStatus {
    /// The word in events and in the database.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Busy => "busy",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Offline, Self::Online, Self::Busy].into_iter().find(|status| status.word() == word)
    }
}

/// A driver went on line, off line, or took an order. Events order by driver, then by their own time:
/// of two of one driver the greater is the newer one, whenever they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// The park and the driver's profile in it, as the queue stores them.
    pub park_id: PackedId,
    /// The driver's profile.
    pub driver_id: PackedId,
    /// When it happened, in whole microseconds: what the database keeps.
    pub occurred_at: Timestamp,
    /// Decides between equal times: three digits of nanoseconds, then the event's id.
    pub tiebreak: String,
    /// What the driver does since.
    pub status: DriverStatus,
}

impl StatusEvent {
    /// The newest of a driver is the greatest.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> bool {
        (self.occurred_at, &self.tiebreak) > (other.occurred_at, &other.tiebreak)
    }

    /// Whose status it is.
    #[must_use]
    pub fn key(&self) -> (&PackedId, &PackedId) {
        (&self.park_id, &self.driver_id)
    }
}

/// Why something is no event. `detail` repeats nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// A stable word.
    pub reason: &'static str,
    /// What is wrong, for a person.
    pub detail: Cow<'static, str>,
}

/// Every `reason`.
pub const REASONS: [&str; 6] =
    ["not_json", "not_an_event", "bad_id", "bad_status", "bad_time", "time_in_future"];

impl Unreadable {
    fn new(reason: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(REASONS.contains(&reason), "{reason}");
        Self { reason, detail: detail.into() }
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    park_id: Cow<'a, str>,
    #[serde(borrow)]
    driver_id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    occurred_at: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
}

/// Reads an event; fields that it does not know are ignored. `now` bounds its time.
///
/// # Errors
/// What is no event, and will not become one by trying again.
pub fn read(body: &[u8], now: Timestamp) -> Result<StatusEvent, Unreadable> {
    let raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Unreadable::new("not_an_event", without_value(message))
        } else {
            Unreadable::new("not_json", "it is not JSON")
        }
    })?;
    for (id, name) in
        [(&raw.park_id, "park_id"), (&raw.driver_id, "driver_id"), (&raw.event_id, "event_id")]
    {
        OpaqueId::parse(id)
            .map_err(|invalid| Unreadable::new("bad_id", format!("{name} {invalid}")))?;
    }
    let status = DriverStatus::of(&raw.status)
        .ok_or_else(|| Unreadable::new("bad_status", "status must be online, busy or offline"))?;
    let (occurred_at, nanoseconds) = time(&raw.occurred_at, now)?;
    Ok(StatusEvent {
        park_id: PackedId::new(&raw.park_id),
        driver_id: PackedId::new(&raw.driver_id),
        occurred_at,
        tiebreak: format!("{nanoseconds:03}{}", raw.event_id),
        status,
    })
}

/// The time in whole microseconds, and the nanoseconds beyond.
fn time(text: &str, now: Timestamp) -> Result<(Timestamp, i128), Unreadable> {
    let bad = || Unreadable::new("bad_time", "occurred_at must be a time of RFC 3339");
    let time: Timestamp = text.parse().map_err(|_| bad())?;
    if time.as_second() < EARLIEST_SECOND {
        return Err(Unreadable::new("bad_time", "occurred_at is before the year 2000"));
    }
    if time.duration_since(now) > jiff::SignedDuration::try_from(MOST_AHEAD).unwrap_or_default() {
        return Err(Unreadable::new(
            "time_in_future",
            "occurred_at is more than an hour in the future",
        ));
    }
    let whole = Timestamp::from_microsecond(time.as_microsecond()).map_err(|_| bad())?;
    Ok((whole, time.as_nanosecond() % 1000))
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes: an event that is read is the same when it is written and read again.
pub fn fuzz(bytes: &[u8]) {
    let now = Timestamp::from_second(1_772_366_400).unwrap_or_default();
    let Ok(event) = read(bytes, now) else { return };
    let (nanoseconds, event_id) = event.tiebreak.split_at(3);
    let nanoseconds = i64::from(nanoseconds.parse::<u16>().unwrap_or_default());
    let written = serde_json::json!({
        "park_id": event.park_id.text(),
        "driver_id": event.driver_id.text(),
        "status": event.status.word(),
        "occurred_at": event.occurred_at + jiff::SignedDuration::from_nanos(nanoseconds),
        "event_id": event_id,
    });
    assert_eq!(read(written.to_string().as_bytes(), now), Ok(event));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn body(member: &str, value: &str) -> String {
        let mut event = serde_json::json!({
            "park_id": "park-1", "driver_id": "0123456789abcdef0123456789abcdef",
            "status": "online", "occurred_at": "2026-03-01T11:59:59.123456789Z", "event_id": "e-1",
        });
        if !member.is_empty() {
            event[member] = serde_json::from_str(value).unwrap();
        }
        event.to_string()
    }

    fn reason(body: &[u8]) -> &'static str {
        read(body, now()).unwrap_err().reason
    }

    #[test]
    fn an_event_is_read_and_what_is_unknown_in_it_ignored() {
        let event = read(body("more", r#"{"deep": [1]}"#).as_bytes(), now()).unwrap();
        assert_eq!(event.park_id.text(), "park-1");
        assert_eq!(event.driver_id.text(), "0123456789abcdef0123456789abcdef");
        assert_eq!(event.status, DriverStatus::Online);
        assert_eq!(event.occurred_at.to_string(), "2026-03-01T11:59:59.123456Z");
        assert_eq!(event.tiebreak, "789e-1");
    }

    #[test]
    fn times_may_have_offsets_and_any_precision_up_to_nanoseconds() {
        for (text, micros, rest) in [
            ("2026-03-01T14:59:59+03:00", "2026-03-01T11:59:59Z", "000"),
            ("2026-03-01T11:59:59.5Z", "2026-03-01T11:59:59.5Z", "000"),
            ("2026-03-01T11:59:59.000000001Z", "2026-03-01T11:59:59Z", "001"),
            ("2026-03-01T12:59:59Z", "2026-03-01T12:59:59Z", "000"),
        ] {
            let event = read(body("occurred_at", &format!("{text:?}")).as_bytes(), now()).unwrap();
            assert_eq!(event.occurred_at, micros.parse().unwrap(), "{text}");
            assert_eq!(event.tiebreak, format!("{rest}e-1"));
        }
    }

    #[test]
    fn what_is_no_event_is_told_by_a_word() {
        for (bytes, word) in [
            (&b""[..], "not_json"),
            (b"garbage", "not_json"),
            (b"\xff\xfe", "not_json"),
            (b"{\"park_id\":", "not_json"),
            (b"[]", "not_an_event"),
            (b"{}", "not_an_event"),
            (b"null", "not_an_event"),
        ] {
            assert_eq!(reason(bytes), word, "{bytes:?}");
        }
        for (member, value, word) in [
            ("park_id", "5", "not_an_event"),
            ("event_id", "null", "not_an_event"),
            ("park_id", "\"\"", "bad_id"),
            ("driver_id", "\"with space\"", "bad_id"),
            ("event_id", "\"\\u0000\"", "bad_id"),
            ("driver_id", &format!("{:?}", "x".repeat(65)), "bad_id"),
            ("status", "\"sleeping\"", "bad_status"),
            ("status", "\"Online\"", "bad_status"),
            ("occurred_at", "\"yesterday\"", "bad_time"),
            ("occurred_at", "\"2026-03-01T11:59:59\"", "bad_time"),
            ("occurred_at", "\"1999-12-31T23:59:59Z\"", "bad_time"),
            ("occurred_at", "\"-009000-01-01T00:00:00Z\"", "bad_time"),
            ("occurred_at", "\"2026-03-01T13:00:01Z\"", "time_in_future"),
            ("occurred_at", "\"9999-01-01T00:00:00Z\"", "time_in_future"),
            ("occurred_at", "1772366399", "not_an_event"),
        ] {
            assert_eq!(reason(body(member, value).as_bytes()), word, "{member} = {value}");
        }
    }

    #[test]
    fn what_is_told_repeats_nothing_of_what_was_sent() {
        for (member, value) in [
            ("park_id", "8005553535"),
            ("status", "\"8005553535\""),
            ("occurred_at", "\"8005553535\""),
        ] {
            let told = read(body(member, value).as_bytes(), now()).unwrap_err();
            assert!(!told.detail.contains("8005553535"), "{told:?}");
        }
    }

    #[test]
    fn equal_times_are_decided_by_nanoseconds_and_then_by_the_id() {
        let event = |time: &str, id: &str| {
            let text = body("occurred_at", &format!("{time:?}")).replace("e-1", id);
            read(text.as_bytes(), now()).unwrap()
        };
        let ordered = [
            event("2026-03-01T11:00:00.000001Z", "z"),
            event("2026-03-01T11:00:00.000001001Z", "a"),
            event("2026-03-01T11:00:00.000001001Z", "b"),
            event("2026-03-01T11:00:00.000002Z", "a"),
        ];
        for pair in ordered.windows(2) {
            assert!(pair[1].newer_than(&pair[0]) && !pair[0].newer_than(&pair[1]));
            assert!(!pair[0].newer_than(&pair[0]));
        }
    }
}
