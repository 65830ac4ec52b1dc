//! Idempotency keys: the same call twice takes effect once and answers the same.
//!
//! The answer is stored in the transaction of the work it guards, so a crash between work and
//! answer leaves both or neither. While a call runs, its transaction holds an advisory lock on the
//! key's digest: a second one is told at once that the first is under way, and a crashed holder's
//! lock goes with its connection.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Jsonb, Nullable, Text};
use diesel_async::RunQueryDsl;
use futures_util::try_join;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cleaning, Connection, Database, PackedId, Prepare};
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};

/// How long an answer is remembered.
pub const LIFETIME: Duration = Duration::from_hours(24);

/// How often older ones are looked for.
const CLEANING: Duration = Duration::from_mins(1);

/// What is told apart in the table beside the call itself.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The call, if it carried a key.
    pub call: Option<IdempotentCall>,
    /// The domain whose work it is.
    pub domain: &'static str,
    /// Whom the answer is about, and in which park.
    pub subject: Option<(&'a PackedId, &'a PackedId)>,
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = Binary)]
    request: Vec<u8>,
    #[diesel(sql_type = Jsonb)]
    answer: serde_json::Value,
}

const LOCK: &str = "SELECT pg_try_advisory_xact_lock($1) AS locked";
const READ: &str = "SELECT request, answer FROM fleet_platform.idempotency_keys \
     WHERE scope = $1 AND created_at > now() - make_interval(secs => $2)";
const WRITE: &str = "INSERT INTO fleet_platform.idempotency_keys \
     (scope, request, domain, park_id, subject, answer) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (scope) DO UPDATE SET request = excluded.request, created_at = now(), \
     domain = excluded.domain, park_id = excluded.park_id, subject = excluded.subject, answer = excluded.answer";
const FORGET: &str = "DELETE FROM fleet_platform.idempotency_keys WHERE domain = $1 AND park_id = $2 AND subject = $3";
const FORGET_EVERYWHERE: &str = "DELETE FROM fleet_platform.idempotency_keys WHERE scope IN \
     (SELECT scope FROM fleet_platform.idempotency_keys WHERE domain = $1 AND subject = ANY($2) \
      ORDER BY scope LIMIT $3 FOR UPDATE)";
const CLEAN: &str = "DELETE FROM fleet_platform.idempotency_keys WHERE scope IN \
     (SELECT scope FROM fleet_platform.idempotency_keys \
      WHERE created_at < now() - make_interval(hours => $1) ORDER BY created_at LIMIT $2)";

impl Database {
    /// Runs `work` in a transaction; under a key, at most once: a repeated call gets the first
    /// one's answer. Only success is remembered.
    ///
    /// # Errors
    /// Those of [`Database::transaction`]; `idempotency_key_in_progress` while the first call
    /// runs; `idempotency_key_reused` for another request under the same key.
    pub async fn once<T: Serialize + DeserializeOwned>(
        &self,
        context: &Context,
        guard: Guard<'_>,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let Some(call) = guard.call else { return self.transaction(context, work).await };
        self.transaction(context, async |connection| {
            // Sent together; PostgreSQL looks for an answer when it has the lock.
            let ((), answer) = try_join!(lock(connection, &call), recall(connection, &call))?;
            if let Some(answer) = answer {
                return serde_json::from_value(answer).map_err(Error::internal);
            }
            let value = work(connection).await?;
            remember(connection, &call, guard, &value).await?;
            Ok(value)
        })
        .await
    }

    /// The answer to this call, if it was made before: for work that would ask others first.
    ///
    /// # Errors
    /// Those of [`Database::transaction`]; `idempotency_key_reused`.
    pub async fn recall<T: DeserializeOwned>(
        &self,
        context: &Context,
        call: IdempotentCall,
    ) -> Result<Option<T>> {
        let answer =
            self.statement(context, async |connection| recall(connection, &call).await).await?;
        answer.map(serde_json::from_value).transpose().map_err(Error::internal)
    }
}

/// Forgets answers that are too old.
pub(super) fn cleaning() -> Cleaning {
    let hours = i32::try_from(LIFETIME.as_secs() / 3_600).unwrap_or(i32::MAX);
    Cleaning::by_statement("fleet_platform.idempotency_keys", CLEAN, hours).every(CLEANING)
}

/// Forgets every answer about (park, subject); part of a deletion.
///
/// # Errors
/// The database fails.
pub async fn forget(
    connection: &mut Connection,
    domain: &str,
    (park, subject): &(PackedId, PackedId),
) -> Result<usize> {
    let forget = diesel::sql_query(FORGET)
        .bind::<Text, _>(domain)
        .bind::<Binary, _>(park)
        .bind::<Binary, _>(subject);
    Ok(forget.prepared().execute(connection).await?)
}

/// Forgets up to `limit` answers about these subjects in all parks; part of an erasure. Fewer: no more
/// are left.
///
/// # Errors
/// The database fails.
pub async fn forget_everywhere(
    mut connection: &Connection,
    domain: &str,
    subjects: &[PackedId],
    limit: i64,
) -> Result<i64> {
    let forget = diesel::sql_query(FORGET_EVERYWHERE)
        .bind::<Text, _>(domain)
        .bind::<Array<Binary>, _>(subjects)
        .bind::<BigInt, _>(limit);
    Ok(i64::try_from(forget.prepared().execute(&mut connection).await?).unwrap_or(i64::MAX))
}

async fn lock(mut connection: &Connection, call: &IdempotentCall) -> Result<()> {
    let key = call.scope.first_chunk().map_or(0, |head| i64::from_be_bytes(*head));
    let lock = diesel::sql_query(LOCK).bind::<BigInt, _>(key);
    let locked: Locked = lock.prepared().get_result(&mut connection).await?;
    if locked.locked {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "idempotency_key_in_progress",
        "The first call with this Idempotency-Key is still running.",
    )
    .with_retry_after(Duration::from_secs(1)))
}

async fn recall(
    mut connection: &Connection,
    call: &IdempotentCall,
) -> Result<Option<serde_json::Value>> {
    let read = diesel::sql_query(READ)
        .bind::<Binary, _>(call.scope.as_slice())
        .bind::<diesel::sql_types::Double, _>(LIFETIME.as_secs_f64());
    let stored: Option<Stored> = read.prepared().get_result(&mut connection).await.optional()?;
    match stored {
        None => Ok(None),
        Some(stored) if stored.request == call.request => Ok(Some(stored.answer)),
        Some(_) => Err(Error::new(
            Kind::Unprocessable,
            "idempotency_key_reused",
            "This Idempotency-Key was used with another request.",
        )),
    }
}

async fn remember<T: Serialize>(
    connection: &mut Connection,
    call: &IdempotentCall,
    guard: Guard<'_>,
    value: &T,
) -> Result<()> {
    let answer = serde_json::to_value(value).map_err(Error::internal)?;
    diesel::sql_query(WRITE)
        .bind::<Binary, _>(call.scope.as_slice())
        .bind::<Binary, _>(call.request.as_slice())
        .bind::<Text, _>(guard.domain)
        .bind::<Nullable<Binary>, _>(guard.subject.map(|(park, _)| park))
        .bind::<Nullable<Binary>, _>(guard.subject.map(|(_, subject)| subject))
        .bind::<Jsonb, _>(answer)
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}
