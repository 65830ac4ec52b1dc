//! SQL of mailings. Every statement names the park.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use futures_util::try_join;
use jiff::{SignedDuration, Timestamp};
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};

use super::audience::Position;
use super::chunks::Pending;
use super::model::{
    CancelOutcome, DriverStatus, Filter, HistoryQuery, MailingStatus, MailingView, Recipients,
};
use crate::platform::database::{Connection, Moment, Prepare};
use crate::platform::error::{Error, Result};
use crate::platform::ids::{OpaqueId, ParkId};
use crate::platform::tasks::Running;

/// A mailing as the database has it.
#[derive(Debug, QueryableByName)]
pub(super) struct MailingRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub template_id: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: SqlTimestamp,
    #[diesel(sql_type = BigInt)]
    created_by: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    send_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    finished_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Text)]
    pub message: String,
    #[diesel(sql_type = Integer)]
    pub next_chunk: i32,
    #[diesel(sql_type = Nullable<Text>)]
    next_page: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    selected_at: Option<SqlTimestamp>,
    #[diesel(sql_type = BigInt)]
    selected: i64,
    #[diesel(sql_type = BigInt)]
    sent: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
    #[diesel(sql_type = BigInt)]
    skipped: i64,
    #[diesel(sql_type = BigInt)]
    recalled: i64,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    /// When the last of its recipients was removed.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    recipients_removed_at: Option<SqlTimestamp>,
}

/// The columns of a [`MailingRow`].
macro_rules! mailing_columns {
    () => {
        "id, template_id, created_at, created_by, status::text AS status, send_at, finished_at, \
         message, next_chunk, next_page, selected_at, selected, sent, failed, skipped, \
         recalled, error, recipients_removed_at"
    };
}

pub(super) use mailing_columns;

impl MailingRow {
    pub fn status(&self) -> Result<MailingStatus> {
        MailingStatus::parse(&self.status)
            .ok_or_else(|| Error::internal("a mailing of an unknown status"))
    }

    /// Where the next page of recipients begins; `None` when all are selected.
    pub fn next_page(&self) -> Result<Option<Position>> {
        if self.selected_at.is_some() {
            return Ok(None);
        }
        let page = self.next_page.as_deref().map(serde_json::from_str).transpose();
        Ok(Some(page.map_err(Error::internal)?.unwrap_or_default()))
    }

    /// Since when its drivers wait for it.
    pub fn due_at(&self) -> Timestamp {
        let created_at = self.created_at.to_jiff();
        self.send_at.map_or(created_at, |send_at| send_at.to_jiff().max(created_at))
    }

    /// Whether recipients of such a mailing may be removed already, when they are kept for so long after
    /// its end.
    pub fn is_closed(&self, now: Timestamp, kept: SignedDuration) -> bool {
        self.recipients_removed_at.is_some()
            || self.finished_at.is_some_and(|at| now.duration_since(at.to_jiff()) >= kept)
    }

    pub fn position(&self) -> HistoryPosition {
        (Moment(self.created_at.to_jiff()), self.id.clone())
    }

    /// What a cancellation stopped: the counts add up to all who are selected, less those whose app
    /// did not take it.
    pub fn cancel_outcome(&self, pending: &Pending) -> CancelOutcome {
        CancelOutcome {
            stopped: self.skipped,
            recalled: self.recalled,
            too_late: (self.sent - self.recalled - pending.sent - pending.unknown).max(0),
            pending: pending.in_flight + pending.sent,
            unknown: pending.unknown,
        }
    }

    pub fn view(self) -> Result<MailingView> {
        Ok(MailingView {
            status: self.status()?,
            created_at: self.created_at.to_jiff(),
            send_at: self.send_at.map(SqlTimestamp::to_jiff),
            finished_at: self.finished_at.map(SqlTimestamp::to_jiff),
            recipients: Recipients {
                selected: self.selected,
                sent: self.sent,
                failed: self.failed,
                skipped: self.skipped,
                recalled: self.recalled,
            },
            id: self.id,
            template_id: self.template_id,
            message: self.message,
            created_by: self.created_by,
            error: self.error,
        })
    }
}

/// Where a page of the history ended.
pub(super) type HistoryPosition = (Moment, String);

/// A mailing to be stored.
pub(super) struct NewMailing<'a> {
    pub id: &'a str,
    pub template_id: &'a str,
    pub created_by: i64,
    pub status: MailingStatus,
    pub send_at: Option<Timestamp>,
    pub message: &'a str,
    pub filter: &'a Filter,
}

#[derive(QueryableByName)]
struct Now {
    #[diesel(sql_type = Timestamptz)]
    now: SqlTimestamp,
}

/// The time of the database.
pub(super) async fn now(mut connection: &Connection) -> Result<Timestamp> {
    let query = diesel::sql_query("SELECT clock_timestamp() AS now");
    let row: Now = query.prepared().get_result(&mut connection).await?;
    Ok(row.now.to_jiff())
}

const INSERT: &str = "INSERT INTO fleet_communications.mailings (park_id, id, template_id, \
     created_by, status, send_at, message, work_rule, driver_status, excl_contractor_ids, \
     incl_contractor_ids) VALUES ($1, $2, $3, $4, $5::fleet_communications.mailing_status, $6, $7, \
     $8, $9::fleet_communications.driver_status, $10, $11)";

/// Stores a mailing.
pub(super) async fn insert(
    mut connection: &Connection,
    park: &ParkId,
    mailing: &NewMailing<'_>,
) -> Result<()> {
    let filter = mailing.filter;
    diesel::sql_query(INSERT)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(mailing.id)
        .bind::<Text, _>(mailing.template_id)
        .bind::<BigInt, _>(mailing.created_by)
        .bind::<Text, _>(mailing.status.as_str())
        .bind::<Nullable<Timestamptz>, _>(mailing.send_at.map(ToDiesel::to_diesel))
        .bind::<Text, _>(mailing.message)
        .bind::<Nullable<Text>, _>(filter.work_rule.as_deref())
        .bind::<Nullable<Text>, _>(filter.status.map(DriverStatus::as_str))
        .bind::<Nullable<Array<Text>>, _>(filter.excl_contractor_ids.as_ref())
        .bind::<Nullable<Array<Text>>, _>(filter.incl_contractor_ids.as_ref())
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// A mailing of the park.
pub(super) async fn find(
    mut connection: &Connection,
    park: &ParkId,
    id: &str,
) -> Result<Option<MailingRow>> {
    const FIND: &str = concat!(
        "SELECT ",
        mailing_columns!(),
        " FROM fleet_communications.mailings WHERE park_id = $1 AND id = $2"
    );
    let query = diesel::sql_query(FIND).bind::<Text, _>(park.as_str()).bind::<Text, _>(id);
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// A mailing of the park, which nobody else changes before the transaction ends. Whoever changes
/// anything of a mailing takes this lock first.
pub(super) async fn lock(
    mut connection: &Connection,
    park: &ParkId,
    id: &str,
) -> Result<Option<MailingRow>> {
    const LOCK: &str = concat!(
        "SELECT ",
        mailing_columns!(),
        " FROM fleet_communications.mailings WHERE park_id = $1 AND id = $2 FOR NO KEY UPDATE"
    );
    let query = diesel::sql_query(LOCK).bind::<Text, _>(park.as_str()).bind::<Text, _>(id);
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// The same for a task, made sure of by the same round trip: nobody takes the task over either.
pub(super) async fn lock_fenced<T>(
    running: &Running<T>,
    connection: &Connection,
    park: &ParkId,
    id: &str,
) -> Result<Option<MailingRow>> {
    let ((), row) = try_join!(running.fence(connection), lock(connection, park, id))?;
    Ok(row)
}

/// A filter as it is stored. It may name thousands of drivers, so it is read only where it is used.
#[derive(Debug, QueryableByName)]
struct FilterRow {
    #[diesel(sql_type = Nullable<Text>)]
    work_rule: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    driver_status: Option<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    excl_contractor_ids: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    incl_contractor_ids: Option<Vec<String>>,
}

/// Whom a mailing is for.
pub(super) async fn filter(mut connection: &Connection, park: &ParkId, id: &str) -> Result<Filter> {
    const FILTER: &str = "SELECT work_rule, driver_status::text AS driver_status, \
         excl_contractor_ids, incl_contractor_ids \
         FROM fleet_communications.mailings WHERE park_id = $1 AND id = $2";
    let query = diesel::sql_query(FILTER).bind::<Text, _>(park.as_str()).bind::<Text, _>(id);
    let row: FilterRow = query.prepared().get_result(&mut connection).await?;
    Ok(Filter {
        work_rule: row.work_rule,
        status: row.driver_status.as_deref().and_then(DriverStatus::parse),
        excl_contractor_ids: row.excl_contractor_ids,
        incl_contractor_ids: row.incl_contractor_ids,
    })
}

/// A page of the park's history, newest first; one more than `limit` when there is more.
pub(super) async fn history(
    mut connection: &Connection,
    park: &ParkId,
    query: &HistoryQuery,
    after: Option<HistoryPosition>,
    limit: u32,
) -> Result<Vec<MailingRow>> {
    const HISTORY: &str = concat!(
        "SELECT ",
        mailing_columns!(),
        " FROM fleet_communications.mailings WHERE park_id = $1 \
         AND ($2 IS NULL OR created_at >= $2) AND ($3 IS NULL OR created_at < $3) \
         AND ($4 IS NULL OR template_id = $4) \
         AND ($5 IS NULL OR status = $5::fleet_communications.mailing_status) \
         AND ($6 IS NULL OR (created_at, id) < ($6, $7)) \
         ORDER BY created_at DESC, id DESC LIMIT $8"
    );
    let (after_at, after_id) = after.unzip();
    let rows = diesel::sql_query(HISTORY)
        .bind::<Text, _>(park.as_str())
        .bind::<Nullable<Timestamptz>, _>(query.from.map(ToDiesel::to_diesel))
        .bind::<Nullable<Timestamptz>, _>(query.to.map(ToDiesel::to_diesel))
        .bind::<Nullable<Text>, _>(query.template_id.as_ref().map(OpaqueId::as_str))
        .bind::<Nullable<Text>, _>(query.status.map(MailingStatus::as_str))
        .bind::<Nullable<Timestamptz>, _>(after_at.map(|at: Moment| at.0.to_diesel()))
        .bind::<Nullable<Text>, _>(after_id)
        .bind::<BigInt, _>(i64::from(limit) + 1)
        .prepared()
        .load(&mut connection)
        .await?;
    Ok(rows)
}

const SET_STATUS: &str = "UPDATE fleet_communications.mailings SET \
     status = $3::fleet_communications.mailing_status, error = $4, updated_at = now(), \
     finished_at = CASE WHEN $3 IN ('sent', 'failed', 'cancelled') THEN now() END \
     WHERE park_id = $1 AND id = $2";

/// Changes a mailing's status; one that is over gets its time.
pub(super) async fn set_status(
    mut connection: &Connection,
    park: &ParkId,
    id: &str,
    status: MailingStatus,
    error: Option<&str>,
) -> Result<()> {
    diesel::sql_query(SET_STATUS)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .bind::<Text, _>(status.as_str())
        .bind::<Nullable<Text>, _>(error)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

const NOTE_TROUBLE: &str = "UPDATE fleet_communications.mailings SET error = $3, updated_at = now() \
     WHERE park_id = $1 AND id = $2 AND status IN ('created', 'scheduled', 'sending')";

/// Notes why an open mailing waits; its next progress takes that away.
pub(super) async fn note_trouble(
    mut connection: &Connection,
    park: &ParkId,
    id: &str,
    code: &str,
) -> Result<()> {
    diesel::sql_query(NOTE_TROUBLE)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .bind::<Text, _>(code)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}
