//! What the data-subject service may ask for.

use super::erasing::EraseCustomers;
use super::model::{
    Category, Erased, ErasureAccepted, ErasureRequest, ErasureStatus, Receipt, TakeoutState,
    TakeoutStatus,
};
use super::requests::{self, Audit, Kept};
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::domains::fleet_customers::metrics::CustomerMetrics;
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database, PackedId};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{PersonalId, RequestId};
use crate::platform::tasks::{NewTask, Tasks};

/// Takes requests on and tells how far they are.
pub(in super::super) struct Takeout {
    database: Database,
    tasks: Tasks,
    metrics: CustomerMetrics,
}

impl Takeout {
    pub fn new(database: Database, tasks: Tasks, metrics: CustomerMetrics) -> Self {
        Self { database, tasks, metrics }
    }

    /// What is kept of these persons in all parks.
    pub async fn status(&self, context: &Context, persons: &[PersonalId]) -> Result<TakeoutStatus> {
        let persons: Vec<PackedId> = persons.iter().map(|id| PackedId::new(id.as_str())).collect();
        let kept = self
            .database
            .statement(context, async |connection| requests::kept(connection, &persons).await)
            .await?;
        Ok(status_of(&kept))
    }

    /// Takes an erasure on: stores it with its task, or finds what was stored under its id. One that is
    /// not completed gets a task again if its own was discarded.
    pub async fn erase(
        &self,
        context: &Context,
        request: ErasureRequest,
    ) -> Result<ErasureAccepted> {
        let digest = request.digest();
        let (status, is_new) = self
            .database
            .transaction(context, async |connection| {
                let caller = &*context.caller;
                let made = requests::insert(connection, &request, &digest, caller).await?;
                if let Some(number) = made {
                    self.enqueue(connection, context, number).await?;
                    return Ok((ErasureStatus::InProgress, true));
                }
                let id = request.request_id.as_str();
                let audit = requests::find(connection, id).await?.ok_or_else(unreadable)?;
                if audit.request != digest {
                    return Err(reused());
                }
                let status = status_of_erasure(&audit);
                if status == ErasureStatus::InProgress {
                    self.enqueue(connection, context, audit.erasure_no).await?;
                }
                Ok((status, false))
            })
            .await?;
        let metrics = &self.metrics;
        if is_new { &metrics.erasures_requested } else { &metrics.erasures_repeated }.inc();
        Ok(ErasureAccepted { request_id: request.request_id, status })
    }

    async fn enqueue(
        &self,
        connection: &Connection,
        context: &Context,
        erasure_no: i64,
    ) -> Result<()> {
        let task = NewTask::new(EraseCustomers { erasure_no }).unique(erasure_no.to_string());
        self.tasks.enqueue(connection, context, task).await.map(drop)
    }

    /// What an erasure did.
    pub async fn receipt(&self, context: &Context, request_id: RequestId) -> Result<Receipt> {
        let audit = self
            .database
            .statement(context, async |connection| {
                requests::find(connection, request_id.as_str()).await
            })
            .await?;
        let audit = audit.ok_or_else(|| {
            Error::not_found("receipt_not_found", "No erasure was asked for under this id.")
        })?;
        Ok(receipt_of(request_id, audit))
    }
}

fn status_of(kept: &Kept) -> TakeoutStatus {
    let categories = [
        ("profiles", kept.customers),
        ("favourite_locations", kept.favourite_locations),
        ("recurring_routes", kept.recurring_routes),
        ("recent_answers", kept.idempotency_keys),
    ];
    let status = if kept.in_progress {
        TakeoutState::DeleteInProgress
    } else if categories.iter().any(|(_, count)| *count > 0) {
        TakeoutState::ReadyToDelete
    } else {
        TakeoutState::Empty
    };
    let categories = categories.map(|(name, count)| Category { name, count }).to_vec();
    TakeoutStatus { status, categories }
}

fn status_of_erasure(audit: &Audit) -> ErasureStatus {
    if audit.completed_at.is_some() { ErasureStatus::Completed } else { ErasureStatus::InProgress }
}

fn receipt_of(request_id: RequestId, audit: Audit) -> Receipt {
    let tables = [
        ("fleet_customers.customers", audit.customers),
        ("fleet_customers.favourite_locations", audit.favourite_locations),
        ("fleet_customers.recurring_routes", audit.recurring_routes),
        ("fleet_platform.idempotency_keys", audit.idempotency_keys),
    ];
    Receipt {
        request_id,
        status: status_of_erasure(&audit),
        caller: audit.caller,
        requested_at: audit.requested_at.to_jiff(),
        completed_at: audit.completed_at.map(SqlTimestamp::to_jiff),
        tables: tables.map(|(name, rows)| Erased { name, rows }).to_vec(),
        systems: vec![Erased { name: "personal", rows: audit.names }],
    }
}

fn reused() -> Error {
    let detail = "This request_id was used for other persons.";
    Error::new(Kind::Unprocessable, "request_id_reused", detail)
}

/// Audit rows are never deleted.
fn unreadable() -> Error {
    Error::internal("an erasure that is there cannot be read")
}
