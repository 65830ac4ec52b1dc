//! Saved templates: rules and SQL. Every statement names the park.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::model::{DriverStatus, Filter, TemplateEdit, TemplateView};
use super::service::{Asker, Mailings};
use crate::domains::fleet_communications::NAME;
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::database::idempotency::Guard;
use crate::platform::database::{Connection, Moment, Prepare};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;

/// A template and its version for the `ETag`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Versioned {
    pub view: TemplateView,
    pub version: i32,
}

/// A template as the database has it.
#[derive(Debug, QueryableByName)]
pub(super) struct TemplateRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Nullable<Text>)]
    work_rule: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    excl_contractor_ids: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    incl_contractor_ids: Option<Vec<String>>,
    #[diesel(sql_type = Text)]
    pub message: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: SqlTimestamp,
    #[diesel(sql_type = BigInt)]
    created_by: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_sent_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Integer)]
    version: i32,
}

/// A template in a list.
#[derive(Debug, QueryableByName)]
struct Listed {
    #[diesel(embed)]
    template: TemplateRow,
    /// How many there are from the page's beginning on, at most one more than asked for.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Where a page of templates ended.
pub(super) type TemplatePosition = (Moment, String);

impl TemplateRow {
    pub fn filter(&self) -> Filter {
        Filter {
            work_rule: self.work_rule.clone(),
            status: self.status.as_deref().and_then(DriverStatus::parse),
            excl_contractor_ids: self.excl_contractor_ids.clone(),
            incl_contractor_ids: self.incl_contractor_ids.clone(),
        }
    }

    fn position(&self) -> TemplatePosition {
        (Moment(self.created_at.to_jiff()), self.id.clone())
    }

    fn versioned(self) -> Versioned {
        let view = TemplateView {
            filter: self.filter(),
            id: self.id,
            message: self.message,
            created_at: self.created_at.to_jiff(),
            created_by: self.created_by,
            last_sent_at: self.last_sent_at.map(SqlTimestamp::to_jiff),
        };
        Versioned { view, version: self.version }
    }
}

impl Mailings {
    /// Saves a template.
    pub(super) async fn save_template(
        &self,
        asker: &Asker,
        edit: &TemplateEdit,
        call: Option<IdempotentCall>,
    ) -> Result<Versioned> {
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            let row = insert(connection, asker, &edit.message, &edit.filter).await?;
            Ok(row.versioned())
        };
        self.tools.database.once(&asker.context, guard, work).await
    }

    /// A page of the park's templates, newest first, and where the next begins.
    pub(super) async fn templates(
        &self,
        asker: &Asker,
        after: Option<TemplatePosition>,
        limit: u32,
    ) -> Result<(Vec<TemplateView>, Option<TemplatePosition>)> {
        let read = async |connection: &_| list(connection, &asker.park, after, limit).await;
        let mut listed = self.tools.database.statement(&asker.context, read).await?;
        let found = listed.as_slice().first().map_or(0, |first| first.found);
        listed.truncate(limit as usize);
        let more = i64::try_from(listed.len()).is_ok_and(|shown| shown < found);
        let rows: Vec<TemplateRow> = listed.into_iter().map(|listed| listed.template).collect();
        let next = rows.last().filter(|_| more).map(TemplateRow::position);
        Ok((rows.into_iter().map(|row| row.versioned().view).collect(), next))
    }

    /// A template of the park.
    pub(super) async fn template(&self, asker: &Asker, id: &str) -> Result<Versioned> {
        let read = async |connection: &_| find(connection, &asker.park, id).await;
        let found = self.tools.database.statement(&asker.context, read).await?;
        Ok(found.ok_or_else(not_found)?.versioned())
    }

    /// Edits a template; mailings that were ordered keep what they have.
    pub(super) async fn edit_template(
        &self,
        asker: &Asker,
        id: &str,
        edit: &TemplateEdit,
        expected: &ExpectedVersion,
    ) -> Result<Versioned> {
        let work = async |connection: &mut Connection| {
            let row = lock(connection, &asker.park, id).await?.ok_or_else(not_found)?;
            expected.check(row.version)?;
            update(connection, &asker.park, id, edit).await.map(TemplateRow::versioned)
        };
        self.tools.database.transaction(&asker.context, work).await
    }

    /// Deletes a template; the history of its mailings stays. Repeating it does no harm.
    pub(super) async fn delete_template(
        &self,
        asker: &Asker,
        id: &str,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        let work = async |connection: &mut Connection| {
            let Some(row) = lock(connection, &asker.park, id).await? else { return Ok(()) };
            expected.check(row.version)?;
            delete(connection, &asker.park, id).await
        };
        self.tools.database.transaction(&asker.context, work).await
    }
}

fn not_found() -> Error {
    Error::not_found("template_not_found", "The park has no such template.")
}

/// The columns of a [`TemplateRow`].
macro_rules! template_columns {
    () => {
        "id, work_rule, status::text AS status, excl_contractor_ids, incl_contractor_ids, message, \
         created_at, created_by, last_sent_at, version"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO fleet_communications.mailing_templates (park_id, id, created_by, message, \
     work_rule, status, excl_contractor_ids, incl_contractor_ids) VALUES ($1, $2, $3, $4, $5, \
     $6::fleet_communications.driver_status, $7, $8) RETURNING ",
    template_columns!()
);
const UPDATE: &str = concat!(
    "UPDATE fleet_communications.mailing_templates SET message = $3, work_rule = $4, \
     status = $5::fleet_communications.driver_status, excl_contractor_ids = $6, \
     incl_contractor_ids = $7, version = version + 1 WHERE park_id = $1 AND id = $2 RETURNING ",
    template_columns!()
);
/// A template that was not deleted, and what locks it.
macro_rules! select_template {
    ($lock:literal) => {
        concat!(
            "SELECT ",
            template_columns!(),
            " FROM fleet_communications.mailing_templates \
             WHERE park_id = $1 AND id = $2 AND deleted_at IS NULL",
            $lock
        )
    };
}

const FIND: &str = select_template!("");
const LOCK: &str = select_template!(" FOR NO KEY UPDATE");
/// Templates may name thousands of drivers: a page ends where it becomes too large, behind its first.
const LIST: &str = concat!(
    "SELECT ",
    template_columns!(),
    ", found FROM (SELECT *, count(*) OVER () AS found, \
       sum(COALESCE(pg_column_size(excl_contractor_ids), 0) \
         + COALESCE(pg_column_size(incl_contractor_ids), 0)) \
       OVER (ORDER BY created_at DESC, id DESC \
         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before \
       FROM (SELECT * FROM fleet_communications.mailing_templates \
         WHERE park_id = $1 AND deleted_at IS NULL \
         AND ($2 IS NULL OR (created_at, id) < ($2, $3)) \
         ORDER BY created_at DESC, id DESC LIMIT $4) AS t) AS page \
     WHERE before IS NULL OR before < $5 ORDER BY created_at DESC, id DESC"
);
/// Bytes that the named drivers of a page take as they are stored, about.
const PAGE_BYTES: i64 = 4 << 20;
const DELETE: &str = "UPDATE fleet_communications.mailing_templates SET deleted_at = now() \
     WHERE park_id = $1 AND id = $2";
const NOTE_SENT: &str = "UPDATE fleet_communications.mailing_templates SET last_sent_at = now() \
     WHERE park_id = $1 AND id = $2";

/// Stores a new template of the asker's.
pub(super) async fn insert(
    mut connection: &Connection,
    asker: &Asker,
    message: &str,
    filter: &Filter,
) -> Result<TemplateRow> {
    let row = diesel::sql_query(INSERT)
        .bind::<Text, _>(asker.park.as_str())
        .bind::<Text, _>(Uuid::now_v7().to_string())
        .bind::<BigInt, _>(asker.dispatcher_id)
        .bind::<Text, _>(message)
        .bind::<Nullable<Text>, _>(filter.work_rule.as_deref())
        .bind::<Nullable<Text>, _>(filter.status.map(DriverStatus::as_str))
        .bind::<Nullable<Array<Text>>, _>(filter.excl_contractor_ids.as_ref())
        .bind::<Nullable<Array<Text>>, _>(filter.incl_contractor_ids.as_ref())
        .prepared()
        .get_result(&mut connection)
        .await?;
    Ok(row)
}

async fn update(
    mut connection: &Connection,
    park: &ParkId,
    id: &str,
    edit: &TemplateEdit,
) -> Result<TemplateRow> {
    let filter = &edit.filter;
    let row = diesel::sql_query(UPDATE)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .bind::<Text, _>(&edit.message)
        .bind::<Nullable<Text>, _>(filter.work_rule.as_deref())
        .bind::<Nullable<Text>, _>(filter.status.map(DriverStatus::as_str))
        .bind::<Nullable<Array<Text>>, _>(filter.excl_contractor_ids.as_ref())
        .bind::<Nullable<Array<Text>>, _>(filter.incl_contractor_ids.as_ref())
        .prepared()
        .get_result(&mut connection)
        .await?;
    Ok(row)
}

async fn list(
    mut connection: &Connection,
    park: &ParkId,
    after: Option<TemplatePosition>,
    limit: u32,
) -> Result<Vec<Listed>> {
    let (after_at, after_id) = after.unzip();
    let rows = diesel::sql_query(LIST)
        .bind::<Text, _>(park.as_str())
        .bind::<Nullable<Timestamptz>, _>(after_at.map(|at: Moment| at.0.to_diesel()))
        .bind::<Nullable<Text>, _>(after_id)
        .bind::<BigInt, _>(i64::from(limit) + 1)
        .bind::<BigInt, _>(PAGE_BYTES)
        .prepared()
        .load(&mut connection)
        .await?;
    Ok(rows)
}

/// A template of the park that was not deleted.
pub(super) async fn find(
    connection: &Connection,
    park: &ParkId,
    id: &str,
) -> Result<Option<TemplateRow>> {
    read(connection, FIND, park, id).await
}

async fn lock(connection: &Connection, park: &ParkId, id: &str) -> Result<Option<TemplateRow>> {
    read(connection, LOCK, park, id).await
}

async fn read(
    mut connection: &Connection,
    sql: &'static str,
    park: &ParkId,
    id: &str,
) -> Result<Option<TemplateRow>> {
    let query = diesel::sql_query(sql).bind::<Text, _>(park.as_str()).bind::<Text, _>(id);
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

async fn delete(mut connection: &Connection, park: &ParkId, id: &str) -> Result<()> {
    diesel::sql_query(DELETE)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Notes that a mailing of the template went out now.
pub(super) async fn note_sent(mut connection: &Connection, park: &ParkId, id: &str) -> Result<()> {
    diesel::sql_query(NOTE_SENT)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}
