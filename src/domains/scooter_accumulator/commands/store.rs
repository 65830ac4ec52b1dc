//! SQL of commands. Whoever writes one, marks one as sent or ends one holds its cabinet's row.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz,
    Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use super::kind::CommandKind;
use super::model::Answer;
use super::status::{CommandEvent, CommandStatus};
use crate::domains::scooter_accumulator::bookings::BookingKind;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::database::{Connection, Json, Prepare};
use crate::platform::error::{Error, Result};

/// Where it is told that a command, or its booking, is another; the payload is the command's id.
pub const CHANGES: &str = "fleet_scooter_commands";

/// A command, as it is stored.
#[derive(Debug, Clone)]
pub struct Command {
    pub id: Uuid,
    pub cabinet_id: CabinetId,
    pub booking_id: Option<Uuid>,
    pub kind: CommandKind,
    pub cells: Option<Vec<i32>>,
    pub status: CommandStatus,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The expiry by the cabinet's clock, of one that was sent.
    pub told_expires_at: Option<Timestamp>,
    pub result: Option<Answer>,
    /// Whether our clock is past its expiry.
    pub is_past: bool,
    /// Whether the time for an answer is over, of one that was sent; see [`Find`].
    pub is_overdue: bool,
    /// Whether it was sent within the last minute.
    pub is_recent: bool,
}

#[derive(QueryableByName)]
struct CommandRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    cabinet_id: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    booking_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Array<Integer>>)]
    cells: Option<Vec<i32>>,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Timestamptz)]
    issued_at: SqlTimestamp,
    #[diesel(sql_type = Timestamptz)]
    expires_at: SqlTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    told_expires_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    result: Option<Json<Answer>>,
    #[diesel(sql_type = Bool)]
    is_past: bool,
    #[diesel(sql_type = Bool)]
    is_overdue: bool,
    #[diesel(sql_type = Bool)]
    is_recent: bool,
}

impl CommandRow {
    fn read(self) -> Result<Command> {
        let unknown = || Error::internal("a command of an unknown kind or status");
        Ok(Command {
            id: self.id,
            cabinet_id: CabinetId::try_from(self.cabinet_id).map_err(Error::internal)?,
            booking_id: self.booking_id,
            kind: CommandKind::parse(&self.kind).ok_or_else(unknown)?,
            cells: self.cells,
            status: CommandStatus::parse(&self.status).ok_or_else(unknown)?,
            issued_at: self.issued_at.to_jiff(),
            expires_at: self.expires_at.to_jiff(),
            told_expires_at: self.told_expires_at.map(SqlTimestamp::to_jiff),
            result: self.result.map(|result| result.0),
            is_past: self.is_past,
            is_overdue: self.is_overdue,
            is_recent: self.is_recent,
        })
    }
}

/// `$1` is what is looked for, `$2` the seconds that an answer may take.
macro_rules! select_command {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.cabinet_id, k.booking_id, k.kind, k.cells, k.status::text AS status, \
             k.issued_at, k.expires_at, k.told_expires_at, k.result, \
             k.expires_at <= clock_timestamp() AS is_past, \
             COALESCE(k.sent_at + make_interval(secs => $2) <= clock_timestamp(), false) AS is_overdue, \
             COALESCE(k.sent_at > clock_timestamp() - interval '1 minute', false) AS is_recent \
             FROM scooter_accumulator.commands k ",
            $rest
        )
    };
}

const BY_ID: &str = select_command!("WHERE k.id = $1");
const LAST_OF_BOOKING: &str =
    select_command!("WHERE k.booking_id = $1 ORDER BY k.issued_at DESC, k.id DESC LIMIT 1");
/// Of bookings of a cabinet: sent, and not ended yet.
const UNANSWERED: &str = select_command!(
    "JOIN scooter_accumulator.bookings b ON b.id = k.booking_id WHERE b.cabinet_id = $1 \
     AND b.status IN ('executing', 'unknown') AND k.status IN ('sent', 'timed_out') ORDER BY k.id"
);

const INSERT: &str = "INSERT INTO scooter_accumulator.commands \
       (id, cabinet_id, booking_id, kind, rank, cells, issued_at, expires_at) \
     SELECT $1, $2, $3, $4, $5, $6, t.now, t.now + make_interval(secs => $7) \
     FROM (SELECT clock_timestamp() AS now) t";
const SET_STATUS: &str = "WITH changed AS (UPDATE scooter_accumulator.commands SET \
       status = $3::scooter_accumulator.command_status, result = COALESCE($4, result), \
       ended_at = CASE WHEN $5 THEN clock_timestamp() END \
     WHERE id = $1 AND status = $2::scooter_accumulator.command_status RETURNING id, issued_at) \
     SELECT extract(epoch FROM clock_timestamp() - issued_at)::float8 AS seconds, \
       pg_notify($6, id::text) IS NULL AS told FROM changed";
const WAITING: &str = "SELECT count(*) AS count FROM scooter_accumulator.commands \
     WHERE cabinet_id = $1 AND status = 'created'";
/// The place in the line and the mark are one: whoever takes the cabinet's turn marks what goes first.
const MARK: &str = "WITH turn AS (UPDATE scooter_accumulator.cabinets \
       SET free_at = clock_timestamp() + make_interval(secs => $3) \
       WHERE id = $1 AND free_at <= clock_timestamp() AND EXISTS (SELECT FROM scooter_accumulator.commands \
         WHERE cabinet_id = $1 AND status = 'created' AND expires_at > clock_timestamp()) \
       RETURNING clock_ahead_ms), \
     first AS (SELECT k.id FROM scooter_accumulator.commands k, turn WHERE k.cabinet_id = $1 \
       AND k.status = 'created' AND k.expires_at > clock_timestamp() \
       ORDER BY k.rank, k.issued_at, k.id LIMIT 1) \
     UPDATE scooter_accumulator.commands k SET status = 'sent', lease = $2, sent_at = clock_timestamp(), \
       told_expires_at = k.expires_at + turn.clock_ahead_ms * interval '1 millisecond' \
     FROM first, turn WHERE k.id = first.id RETURNING k.id, k.kind, k.cells, \
       k.issued_at + turn.clock_ahead_ms * interval '1 millisecond' AS issued_at, \
       k.told_expires_at AS expires_at, \
       extract(epoch FROM k.expires_at - clock_timestamp())::float8 AS left, \
       (SELECT b.kind::text FROM scooter_accumulator.bookings b WHERE b.id = k.booking_id) AS purpose";
const FREE_IN: &str = "SELECT GREATEST(extract(epoch FROM c.free_at - clock_timestamp()), 0)::float8 AS seconds \
     FROM scooter_accumulator.cabinets c WHERE c.id = $1 AND EXISTS (SELECT FROM scooter_accumulator.commands k \
       WHERE k.cabinet_id = c.id AND k.status = 'created' AND k.expires_at > clock_timestamp())";
const UNMARK: &str = "SELECT id FROM scooter_accumulator.commands \
     WHERE id = $1 AND lease = $2 AND status = 'sent'";
const DUE: &str = "SELECT id, cabinet_id FROM scooter_accumulator.commands \
     WHERE status IN ('created', 'sent') AND CASE status WHEN 'created' \
       THEN expires_at <= clock_timestamp() OR issued_at < clock_timestamp() - interval '2 seconds' \
       ELSE sent_at + make_interval(secs => $1) <= clock_timestamp() END LIMIT $2";
/// A command to be written.
#[derive(Debug)]
pub struct NewCommand<'a> {
    pub id: Uuid,
    pub cabinet: &'a CabinetId,
    pub booking: Option<Uuid>,
    pub kind: CommandKind,
    pub cells: Option<&'a [i32]>,
    /// From now on the cabinet may carry it out for so long.
    pub ttl: Duration,
}

/// A command that is marked as sent, and now to be sent.
#[derive(Debug, QueryableByName)]
pub struct Marked {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Array<Integer>>)]
    pub cells: Option<Vec<i32>>,
    /// By the cabinet's clock, and so is the expiry.
    #[diesel(sql_type = Timestamptz)]
    issued_at: SqlTimestamp,
    #[diesel(sql_type = Timestamptz)]
    expires_at: SqlTimestamp,
    /// Seconds until it must have left.
    #[diesel(sql_type = Double)]
    left: f64,
    #[diesel(sql_type = Nullable<Text>)]
    purpose: Option<String>,
}

impl Marked {
    pub fn kind(&self) -> Result<CommandKind> {
        CommandKind::parse(&self.kind)
            .ok_or_else(|| Error::internal("a command of an unknown kind"))
    }

    pub fn purpose(&self) -> Option<BookingKind> {
        self.purpose.as_deref().and_then(BookingKind::parse)
    }

    pub fn times(&self) -> (Timestamp, Timestamp) {
        (self.issued_at.to_jiff(), self.expires_at.to_jiff())
    }

    pub fn left(&self) -> Duration {
        Duration::try_from_secs_f64(self.left).unwrap_or_default()
    }
}

#[derive(QueryableByName)]
struct Seconds {
    #[diesel(sql_type = Double)]
    seconds: f64,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    cabinet_id: String,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    #[allow(dead_code, reason = "that it is there is all")]
    id: Uuid,
}

/// Writes a command down. The caller holds the cabinet's row.
pub async fn insert(mut connection: &Connection, command: &NewCommand<'_>) -> Result<()> {
    let rank = i16::try_from(command.kind.entry().rank).unwrap_or(i16::MAX);
    diesel::sql_query(INSERT)
        .bind::<SqlUuid, _>(command.id)
        .bind::<Text, _>(command.cabinet.as_str())
        .bind::<Nullable<SqlUuid>, _>(command.booking)
        .bind::<Text, _>(command.kind.name())
        .bind::<SmallInt, _>(rank)
        .bind::<Nullable<Array<Integer>>, _>(command.cells)
        .bind::<Double, _>(command.ttl.as_secs_f64())
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Looks for commands; holds how long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Find {
    pub answer: Duration,
}

impl Find {
    /// A command.
    pub async fn by_id(self, mut connection: &Connection, id: Uuid) -> Result<Option<Command>> {
        let query = diesel::sql_query(BY_ID).bind::<SqlUuid, _>(id);
        let row: Option<CommandRow> = query
            .bind::<Double, _>(self.answer.as_secs_f64())
            .prepared()
            .get_result(&mut connection)
            .await
            .optional()?;
        row.map(CommandRow::read).transpose()
    }

    /// The last command of a booking.
    pub async fn last_of_booking(
        self,
        mut connection: &Connection,
        booking: Uuid,
    ) -> Result<Option<Command>> {
        let query = diesel::sql_query(LAST_OF_BOOKING).bind::<SqlUuid, _>(booking);
        let row: Option<CommandRow> = query
            .bind::<Double, _>(self.answer.as_secs_f64())
            .prepared()
            .get_result(&mut connection)
            .await
            .optional()?;
        row.map(CommandRow::read).transpose()
    }

    /// The commands of a cabinet's bookings of which it is not known what became of them. The caller
    /// holds the cabinet's row.
    pub async fn unanswered(
        self,
        mut connection: &Connection,
        cabinet: &CabinetId,
    ) -> Result<Vec<Command>> {
        let query = diesel::sql_query(UNANSWERED).bind::<Text, _>(cabinet.as_str());
        let rows: Vec<CommandRow> = query
            .bind::<Double, _>(self.answer.as_secs_f64())
            .prepared()
            .load(&mut connection)
            .await?;
        rows.into_iter().map(CommandRow::read).collect()
    }
}

/// Lets `event` happen to a command and tells whoever waits for it, at the commit; `None` where it
/// cannot happen any more. Otherwise how old the command is. The caller holds the cabinet's row.
pub async fn advance(
    mut connection: &Connection,
    command: &mut Command,
    event: CommandEvent,
    answer: Option<Answer>,
) -> Result<Option<Duration>> {
    let Some(next) = command.status.next(event) else { return Ok(None) };
    let changed: Option<Seconds> = diesel::sql_query(SET_STATUS)
        .bind::<SqlUuid, _>(command.id)
        .bind::<Text, _>(command.status.name())
        .bind::<Text, _>(next.name())
        .bind::<Nullable<Jsonb>, _>(answer.clone().map(Json))
        .bind::<Bool, _>(!next.is_open())
        .bind::<Text, _>(CHANGES)
        .prepared()
        .get_result(&mut connection)
        .await
        .optional()?;
    let Some(Seconds { seconds }) = changed else { return Ok(None) };
    command.status = next;
    command.result = answer.or_else(|| command.result.take());
    Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Commands that wait for their turn at a cabinet.
pub async fn waiting(mut connection: &Connection, cabinet: &CabinetId) -> Result<i64> {
    let query = diesel::sql_query(WAITING).bind::<Text, _>(cabinet.as_str());
    let counted: Counted = query.prepared().get_result(&mut connection).await?;
    Ok(counted.count)
}

/// Takes the cabinet's turn and marks the command that goes first as sent, under `lease`; `None` when
/// the cabinet is not free yet or nothing waits. The caller holds the cabinet's row.
pub async fn mark(
    mut connection: &Connection,
    cabinet: &CabinetId,
    lease: Uuid,
    pace: Duration,
) -> Result<Option<Marked>> {
    let query = diesel::sql_query(MARK)
        .bind::<Text, _>(cabinet.as_str())
        .bind::<SqlUuid, _>(lease)
        .bind::<Double, _>(pace.as_secs_f64());
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// When the cabinet takes the next command that waits for it; `None` when nothing waits.
pub async fn free_in(mut connection: &Connection, cabinet: &CabinetId) -> Result<Option<Duration>> {
    let query = diesel::sql_query(FREE_IN).bind::<Text, _>(cabinet.as_str());
    let found: Option<Seconds> = query.prepared().get_result(&mut connection).await.optional()?;
    Ok(found.map(|found| Duration::try_from_secs_f64(found.seconds).unwrap_or_default()))
}

/// Whether a command is still marked as sent under this lease: then whoever marked it may say that it
/// did not leave. The caller holds the cabinet's row.
pub async fn is_leased(mut connection: &Connection, command: Uuid, lease: Uuid) -> Result<bool> {
    let query = diesel::sql_query(UNMARK).bind::<SqlUuid, _>(command).bind::<SqlUuid, _>(lease);
    Ok(query.prepared().get_result::<Found>(&mut connection).await.optional()?.is_some())
}

/// Commands that somebody must look after, and their cabinets: past their expiry, left alone before
/// they were sent, or without an answer in time.
pub async fn due(
    mut connection: &Connection,
    answer: Duration,
    limit: i64,
) -> Result<Vec<(Uuid, CabinetId)>> {
    let query = diesel::sql_query(DUE).bind::<Double, _>(answer.as_secs_f64());
    let rows: Vec<Due> = query.bind::<BigInt, _>(limit).prepared().load(&mut connection).await?;
    rows.into_iter()
        .map(|due| Ok((due.id, CabinetId::try_from(due.cabinet_id).map_err(Error::internal)?)))
        .collect()
}
