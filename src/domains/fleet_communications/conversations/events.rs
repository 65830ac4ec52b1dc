//! A park's events as they are read, behind a position.

use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{OptionalExtension, Queryable};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use serde::Serialize;
use uuid::Uuid;

use super::model::{Direction, Message, MessageEvent, ReadEvent, Reader};
use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::Result;
use crate::platform::http::sse::Frames;
use crate::platform::ids::ParkId;

/// Events in one read: a stream whose client is slow holds as many in memory.
pub(super) const PAGE: usize = 32;

prepared_statement! {
    struct LastSeq<'a> returns BigInt;
    "SELECT last_seq FROM fleet_communications.park_streams WHERE park_id = ",
    park: &'a str => Text, "",
}

prepared_statement! {
    /// Events behind a position in their order, each with the number of the park's last; one row
    /// without an event when there is none.
    struct EventPage<'a> returns (BigInt, Nullable<EventColumns>);
    "SELECT s.last_seq, e.seq, e.contractor_id, e.created_at, e.by_park, e.up_to, \
       m.id, m.to_park, m.text, m.author_id, m.read_at \
     FROM fleet_communications.park_streams s \
     LEFT JOIN LATERAL (SELECT * FROM fleet_communications.events \
       WHERE park_id = s.park_id AND seq > ",
    after: i64 => BigInt, " ORDER BY seq LIMIT ",
    limit: i64 => BigInt,
    ") e ON true \
     LEFT JOIN fleet_communications.messages m ON e.kind = 'message' \
       AND m.park_id = e.park_id AND m.contractor_id = e.contractor_id AND m.seq = e.seq \
     WHERE s.park_id = ",
    park: &'a str => Text, " ORDER BY e.seq",
}

type EventColumns = (
    BigInt,
    Text,
    Timestamptz,
    Nullable<Bool>,
    Nullable<SqlUuid>,
    Nullable<SqlUuid>,
    Nullable<Bool>,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
);

#[derive(Queryable)]
struct EventRow {
    seq: i64,
    contractor_id: String,
    created_at: SqlTimestamp,
    by_park: Option<bool>,
    up_to: Option<Uuid>,
    id: Option<Uuid>,
    to_park: Option<bool>,
    text: Option<String>,
    author_id: Option<i64>,
    read_at: Option<SqlTimestamp>,
}

/// What lies behind a position.
pub(super) struct Page {
    /// The number of the park's last event.
    head: i64,
    rows: Vec<EventRow>,
}

/// What a client is told instead of events that are not kept any more: it loads everything anew.
#[derive(Serialize)]
struct Reset {}

/// The number of the park's last event; 0 before the first.
pub(super) async fn head(mut connection: &Connection, park: &ParkId) -> Result<i64> {
    let statement = LastSeq { park: park.as_str() };
    let head: Option<i64> = statement.get_result(&mut connection).await.optional()?;
    Ok(head.unwrap_or(0))
}

/// Up to [`PAGE`] events behind `after`.
pub(super) async fn read(mut connection: &Connection, park: &ParkId, after: i64) -> Result<Page> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let statement = EventPage { after, limit, park: park.as_str() };
    let rows: Vec<(i64, Option<EventRow>)> = statement.load(&mut connection).await?;
    let head = rows.iter().map(|(head, _)| *head).max().unwrap_or(0);
    Ok(Page { head, rows: rows.into_iter().filter_map(|(_, row)| row).collect() })
}

impl Page {
    /// The number of the park's last event.
    pub fn head(&self) -> i64 {
        self.head
    }

    /// Writes the events behind `position`, and returns how far the client is then. Numbers have no
    /// gaps: where one is missing events were removed (or the database is an older copy), and the
    /// client is told to load everything anew and goes on from now.
    ///
    /// # Errors
    /// An event cannot be written as JSON.
    pub fn write(&self, frames: &mut Frames, mut position: i64) -> Result<i64> {
        for row in &self.rows {
            if row.seq != position + 1 {
                break;
            }
            row.write(frames)?;
            position = row.seq;
        }
        let last = self.rows.last().map_or(self.head, |row| row.seq);
        if position != last {
            frames.event(self.head, "reset", &Reset {})?;
            position = self.head;
        }
        Ok(position)
    }
}

impl EventRow {
    fn write(&self, frames: &mut Frames) -> Result<()> {
        let contractor_id = self.contractor_id.as_str();
        if let (Some(by_park), Some(up_to_message_id)) = (self.by_park, self.up_to) {
            let reader = if by_park { Reader::Park } else { Reader::Driver };
            let read_at = self.created_at.to_jiff();
            let data = ReadEvent { contractor_id, reader, up_to_message_id, read_at };
            return frames.event(self.seq, "read", &data);
        }
        let Some(message) = self.message() else {
            // The message is gone: the client only learns how far it is.
            frames.position(self.seq);
            return Ok(());
        };
        frames.event(self.seq, "message", &MessageEvent { contractor_id, message: &message })
    }

    fn message(&self) -> Option<Message> {
        let direction = if self.to_park? { Direction::ToPark } else { Direction::ToDriver };
        Some(Message {
            id: self.id?,
            direction,
            text: self.text.clone()?,
            author_id: self.author_id,
            created_at: self.created_at.to_jiff(),
            read_at: self.read_at.map(SqlTimestamp::to_jiff),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(seq: i64) -> EventRow {
        let at = jiff_diesel::ToDiesel::to_diesel(jiff::Timestamp::UNIX_EPOCH);
        EventRow {
            seq,
            contractor_id: "c".into(),
            created_at: at,
            by_park: Some(true),
            up_to: Some(Uuid::nil()),
            id: None,
            to_park: None,
            text: None,
            author_id: None,
            read_at: None,
        }
    }

    /// The position after a page, and whether it told to load anew.
    fn after(position: i64, head: i64, seqs: impl IntoIterator<Item = i64>) -> (i64, bool) {
        let mut frames = Frames::default();
        let page = Page { head, rows: seqs.into_iter().map(row).collect() };
        let position = page.write(&mut frames, position).unwrap();
        let text = String::from_utf8(frames.into_bytes().to_vec()).unwrap();
        (position, text.contains("event: reset"))
    }

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(after(5, 5, []), (5, false), "nothing new");
        assert_eq!(after(5, 7, [6, 7]), (7, false));
        assert_eq!(after(5, 70, [6, 7]), (7, false), "more follow");
        assert_eq!(after(5, 9, [7, 8, 9]), (9, true), "6 was removed");
        assert_eq!(after(5, 9, [6, 8, 9]), (9, true), "7 was removed");
        assert_eq!(after(5, 9, []), (9, true), "all were removed");
        assert_eq!(after(9, 5, []), (5, true), "an older copy of the database");
    }

    proptest! {
        #[test]
        fn nothing_is_passed_over_in_silence(
            start in 0_i64..50, kept in proptest::collection::btree_set(1_i64..50, 0..50), head in 0_i64..50,
        ) {
            let rows: Vec<i64> = kept.into_iter().filter(|seq| *seq > start && *seq <= head).collect();
            let (position, reset) = after(start, head, rows.clone());
            let whole = rows.iter().copied().eq((start + 1..).take(rows.len()));
            let at_end = rows.last().copied().unwrap_or(start);
            if reset {
                prop_assert_eq!(position, head);
                prop_assert!(!whole || (rows.is_empty() && head != start));
            } else {
                prop_assert!(whole);
                prop_assert_eq!(position, at_end);
            }
        }
    }
}
