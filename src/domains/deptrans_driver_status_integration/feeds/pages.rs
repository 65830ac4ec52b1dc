//! Pages of a feed, written piece by piece: however long a page is, a piece of it is in memory.
//!
//! A page holds the answers of several statements, as if the caller had asked for as many shorter
//! pages: what changes in between moves behind. When one of them fails, the page ends early, and the
//! next poll learns why. While a piece is written the next is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::Feeds;
use super::cursor::Position;
use super::model::Shown;
use super::store::{Followed, Read};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Kind, Result};

/// Most rows of one statement, and the longest that it may take: far longer than it does, and short
/// enough that pollers of a database that hangs are told so.
const PIECE: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(3);

/// A page that is being written.
pub struct PageWriter<R> {
    feeds: Arc<Feeds>,
    context: Context,
    position: Position,
    left: usize,
    /// How many items were written.
    written: usize,
    /// Of the last one.
    updated_at: Option<Timestamp>,
    ended: bool,
    /// The next piece, as it is read on another thread.
    ahead: Option<Ahead<R>>,
}

/// When rows were asked for, and the rows.
type Ahead<R> = (Instant, JoinHandle<Result<Read<R>>>);

impl<R: Shown> PageWriter<R> {
    /// A page of up to `limit` items behind `from`, with its first piece; without `from` it is the first
    /// of a full read.
    ///
    /// # Errors
    /// `cursor_expired`; `database_unavailable`.
    pub async fn begin(
        feeds: Arc<Feeds>,
        context: Context,
        from: Option<Position>,
        limit: usize,
    ) -> Result<(Self, Bytes)> {
        let position = from.unwrap_or(Position { seq: 0, since: 0 });
        let mut page = Self {
            feeds,
            context,
            position,
            left: limit,
            written: 0,
            updated_at: None,
            ended: false,
            ahead: None,
        };
        let (asked_at, read) = page.read().await?;
        if from.is_none() {
            page.position.since = read.last_seq;
        }
        page.position.check(read.last_seq, read.forgotten_seq)?;
        page.count(&read, from);
        let piece = page.piece(&read, br#"{"items":["#, asked_at)?;
        Ok((page, piece))
    }

    /// Whether the last piece was written.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The pieces that are left.
    pub fn rest(self) -> impl Stream<Item = Result<Bytes>> + use<R> {
        futures_util::stream::unfold(self, async |mut page| {
            if page.ended {
                return None;
            }
            let piece = page.next().await;
            page.ended |= piece.is_err();
            Some((piece, page))
        })
    }

    async fn next(&mut self) -> Result<Bytes> {
        let read = self.read().await.and_then(|(asked_at, read)| {
            self.position.check(read.last_seq, read.forgotten_seq)?;
            Ok((asked_at, read))
        });
        match read {
            Ok((asked_at, read)) => self.piece(&read, b"", asked_at),
            Err(error) => {
                tracing::info!(code = error.code(), "a page of updates ends early");
                let mut out = Vec::new();
                self.end(&mut out, true, Duration::ZERO)?;
                Ok(out.into())
            }
        }
    }

    /// The rows behind the position: those that are read already, or those that are asked for now.
    async fn read(&mut self) -> Result<(Instant, Read<R>)> {
        let (asked_at, rows) = self.ahead.take().unwrap_or_else(|| self.ask());
        let read = rows.await.map_err(Error::internal)?;
        read.map(|read| (asked_at, read)).map_err(|error| match error.kind() {
            Kind::DeadlineExceeded if !self.context.deadline.has_passed() => {
                Error::unavailable("database_unavailable", "The database does not answer.")
                    .with_retry_after(Duration::from_secs(1))
                    .with_source(error)
            }
            _ => error,
        })
    }

    /// Has the rows behind the position read. That ends by itself when nobody waits for it any more.
    fn ask(&self) -> Ahead<R> {
        let limit = i64::try_from(self.left.min(PIECE)).unwrap_or(i64::MAX);
        let (after, database) = (self.position.seq, self.feeds.database.clone());
        let deadline = self.context.deadline.at_most(PATIENCE);
        let context = Context { deadline, ..self.context.clone() };
        let rows = self.feeds.runtime.spawn(async move {
            let read = async |connection: &Connection| R::read(connection, after, limit).await;
            database.statement(&context, read).await
        });
        (Instant::now(), rows)
    }

    fn piece(&mut self, read: &Read<R>, head: &[u8], asked_at: Instant) -> Result<Bytes> {
        let mut out = Vec::with_capacity(256 + 320 * read.rows.len());
        out.extend_from_slice(head);
        let at_end = read.rows.len() < self.left.min(PIECE);
        self.left -= read.rows.len();
        if at_end {
            self.position.seq = read.last_seq;
        } else if let Some(last) = read.rows.last() {
            self.position.seq = last.seq();
        }
        let more = self.position.seq < read.last_seq;
        if more && self.left > 0 {
            self.ahead = Some(self.ask());
        }
        for row in &read.rows {
            if self.written > 0 {
                out.push(b',');
            }
            let license = row.license();
            // After the row was read: a profile that came or went later gives it a new number.
            let profiles = self.feeds.profiles_of(&license);
            serde_json::to_writer(&mut out, &row.show(license, profiles))
                .map_err(Error::internal)?;
            self.written += 1;
        }
        self.updated_at = read.rows.last().map(Followed::updated_at).or(self.updated_at);
        if !more || self.left == 0 {
            self.end(&mut out, more, asked_at.elapsed())?;
        }
        Ok(out.into())
    }

    /// What stands behind the items.
    fn end(&mut self, out: &mut Vec<u8>, has_more: bool, since_end: Duration) -> Result<()> {
        use std::io::Write as _;
        self.ended = true;
        let behind =
            self.updated_at.filter(|_| has_more).map(|at| Timestamp::now().duration_since(at));
        let lag_ms = behind
            .map_or(since_end.as_millis(), |behind| behind.as_millis().max(0).cast_unsigned());
        let cursor = self.position.encode(R::FEED)?;
        write!(out, r#"],"cursor":"{cursor}","has_more":{has_more},"lag_ms":{lag_ms}}}"#)
            .map_err(Error::internal)
    }

    fn count(&self, read: &Read<R>, from: Option<Position>) {
        let metrics = self.feeds.metrics.of(R::FEED);
        let is_full_read = from.is_none_or(Position::is_full_read);
        match read.rows.first() {
            _ if is_full_read => metrics.full.inc(),
            None => metrics.empty.inc(),
            Some(oldest) => {
                metrics.incremental.inc();
                let waited = Timestamp::now().duration_since(oldest.updated_at());
                metrics.lag.observe(waited.as_secs_f64().max(0.0));
            }
        }
    }
}

/// The page of a poller who has everything, when that was last known `age` ago.
pub fn nothing_new(cursor: &str, age: Duration) -> Bytes {
    let lag_ms = age.as_millis();
    format!(r#"{{"items":[],"cursor":"{cursor}","has_more":false,"lag_ms":{lag_ms}}}"#).into()
}
