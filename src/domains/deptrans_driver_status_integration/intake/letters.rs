//! What could not be read is sealed and kept for a while, for people to look at.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Double, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::event::Unreadable;
use super::store::DeadLetter;
use crate::platform::database::Connection;
use crate::platform::error::Result;
use crate::platform::seal::{NotOurs, Seal};

/// Of a longer body only the beginning is kept.
const MOST_BYTES: usize = 16 << 10;

/// What a letter's body is sealed about.
pub(super) fn about(id: Uuid) -> Vec<u8> {
    format!("deptrans.dead_letters/{id}").into_bytes()
}

/// A letter about what stood in this place of the topic.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn write(
    seal: &Seal,
    why: &Unreadable,
    (partition, offset): (i32, i64),
    body: &[u8],
) -> Result<DeadLetter> {
    let id = Uuid::now_v7();
    let kept = body.get(..MOST_BYTES).unwrap_or(body);
    let sealed = seal.seal(kept, &about(id))?;
    let reason = format!("{}: {}", why.reason, why.detail);
    Ok(DeadLetter { reason, partition, offset, id, sealed })
}

/// A letter, for people.
#[derive(QueryableByName)]
pub struct StoredLetter {
    /// Its number.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Seconds since it was received.
    #[diesel(sql_type = Double)]
    pub age: f64,
    /// Where it came from.
    #[diesel(sql_type = Text)]
    pub topic: String,
    /// Its place in the topic.
    #[diesel(sql_type = Integer)]
    pub partition: i32,
    /// Its place in the partition.
    #[diesel(sql_type = BigInt)]
    pub offset: i64,
    /// Why it is no event.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// What it says, sealed.
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
}

impl StoredLetter {
    /// What it says; of a long one the beginning.
    ///
    /// # Errors
    /// It was sealed with another key.
    pub fn open(&self, seal: &Seal) -> Result<Vec<u8>, NotOurs> {
        seal.open(&self.body, &about(self.id))
    }
}

/// Which letters are meant.
#[derive(Debug, Default)]
pub struct Selection {
    /// Their numbers; empty: all.
    pub ids: Vec<Uuid>,
    /// The word of their reason.
    pub reason: Option<String>,
}

impl Selection {
    /// Those that are meant, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, connection: &mut Connection, limit: i64) -> Result<Vec<StoredLetter>> {
        let query = diesel::sql_query(LIST)
            .bind::<Array<SqlUuid>, _>(&self.ids)
            .bind::<Nullable<Text>, _>(&self.reason)
            .bind::<BigInt, _>(limit);
        Ok(query.load(connection).await?)
    }

    /// Removes them for good; says how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn discard(&self, connection: &mut Connection) -> Result<usize> {
        let discard = diesel::sql_query(DISCARD)
            .bind::<Array<SqlUuid>, _>(&self.ids)
            .bind::<Nullable<Text>, _>(&self.reason);
        Ok(discard.execute(connection).await?)
    }
}

macro_rules! selected {
    () => {
        "(cardinality($1) = 0 OR id = ANY($1)) AND ($2 IS NULL OR split_part(reason, ':', 1) = $2)"
    };
}

const LIST: &str = concat!(
    "SELECT id, extract(epoch FROM now() - received_at)::float8 AS age, topic, partition, \"offset\", \
     reason, body FROM deptrans.dead_letters WHERE ",
    selected!(),
    " ORDER BY received_at DESC, id DESC LIMIT $3"
);
const DISCARD: &str = concat!("DELETE FROM deptrans.dead_letters WHERE ", selected!());
