//! The rules of commands that somebody gives. Plain values in and out.

use std::sync::Arc;

use diesel::OptionalExtension;
use diesel::sql_types::{Array, Integer, Text};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::kind::CommandKind;
use super::model::{CommandOrder, CommandView};
use super::store::{self, NewCommand};
use super::{Sending, sending};
use crate::domains::scooter_accumulator::NAME;
use crate::domains::scooter_accumulator::cabinets::store as cabinets;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::domains::scooter_accumulator::line::Line;
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::database::idempotency::Guard;
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::{Error, Kind, Result};

const BOOKED: &str = "SELECT k.cell AS n FROM scooter_accumulator.booking_cells k \
     JOIN scooter_accumulator.bookings b ON b.id = k.booking_id \
     WHERE k.live AND k.cabinet_id = $1 AND k.cell = ANY($2) \
     AND (b.status <> 'active' OR b.expires_at > clock_timestamp()) LIMIT 1";

#[derive(diesel::QueryableByName)]
struct BookedCell {
    #[diesel(sql_type = Integer)]
    #[allow(dead_code, reason = "that there is one is all")]
    n: i32,
}

/// Commands to cabinets.
pub struct Commands {
    line: Arc<Line>,
}

impl Commands {
    pub fn new(line: Arc<Line>) -> Self {
        Self { line }
    }

    /// Gives a cabinet a command; the answer says that it is written down.
    ///
    /// # Errors
    /// `broker_unavailable`, `cabinet_not_found`, `cabinet_offline`, `cell_booked`,
    /// `too_many_commands`, `invalid_request`.
    pub async fn give(
        &self,
        context: &Context,
        cabinet: CabinetId,
        order: &CommandOrder,
        call: Option<IdempotentCall>,
    ) -> Result<CommandView> {
        let (kind, cells) = (order.kind, order.cells()?);
        let (line, context) = (Arc::clone(&self.line), context.clone());
        // Between the commit and the publication no caller may drop this.
        let work = line.runtime.clone().spawn(async move {
            let mut written = None;
            let guard = Guard { call, domain: NAME, subject: None };
            let view = line
                .database
                .once(&context, guard, async |connection| {
                    let (view, sending) =
                        write(&line, connection, &cabinet, kind, cells.as_deref()).await?;
                    written = Some(sending);
                    Ok(view)
                })
                .await?;
            match written {
                Some(Some(sending)) => {
                    line.runtime.spawn(sending::send_and_drain(
                        Arc::clone(&line),
                        sending,
                        cabinet,
                    ));
                }
                Some(None) => {
                    line.runtime.spawn(sending::drain(Arc::clone(&line), cabinet));
                }
                None => {}
            }
            Ok(view)
        });
        work.await.map_err(Error::internal)?
    }

    /// A command of a cabinet.
    ///
    /// # Errors
    /// `command_not_found`.
    pub async fn find(
        &self,
        context: &Context,
        cabinet: &CabinetId,
        id: Uuid,
    ) -> Result<CommandView> {
        let find = self.line.find();
        let read = async |connection: &mut Connection| find.by_id(connection, id).await;
        let found = self.line.database.transaction(context, read).await?;
        found.filter(|command| command.cabinet_id == *cabinet).map(CommandView::from).ok_or_else(
            || Error::not_found("command_not_found", "This cabinet was given no such command."),
        )
    }
}

async fn write(
    line: &Line,
    connection: &mut Connection,
    cabinet: &CabinetId,
    kind: CommandKind,
    cells: Option<&[i32]>,
) -> Result<(CommandView, Option<Sending>)> {
    let Some(row) = cabinets::lock(connection, cabinet).await? else {
        return Err(cabinet_not_found());
    };
    if !line.mqtt.is_up() {
        return Err(broker_unavailable());
    }
    if !row.online {
        return Err(cabinet_offline());
    }
    if let Some(cells) = cells {
        if cells.iter().any(|n| !(1..=row.cell_count).contains(n)) {
            let detail = format!("must be in 1..={}: the cabinet has no other", row.cell_count);
            return Err(Error::invalid("/cells", detail));
        }
        if kind == CommandKind::UnlockCells && is_booked(connection, cabinet, cells).await? {
            let detail = "One of the cells is kept for a booking: cancel it, or execute it.";
            return Err(Error::new(Kind::Conflict, "cell_booked", detail));
        }
    }
    if store::waiting(connection, cabinet).await? >= line.settings.max_waiting {
        let detail = "Too many commands wait for this cabinet.";
        return Err(Error::new(Kind::Conflict, "too_many_commands", detail)
            .with_retry_after(line.settings.pace()));
    }
    let id = Uuid::now_v7();
    let ttl = line.settings.ttl();
    let new = NewCommand { id, cabinet, booking: None, kind, cells, ttl };
    store::insert(connection, &new).await?;
    let sending = sending::mark(line, connection, cabinet).await?;
    let written = line.find().by_id(connection, id).await?;
    let written = written.ok_or_else(|| Error::internal("a command is not there"))?;
    Ok((written.into(), sending))
}

async fn is_booked(
    connection: &mut Connection,
    cabinet: &CabinetId,
    cells: &[i32],
) -> Result<bool> {
    let query = diesel::sql_query(BOOKED).bind::<Text, _>(cabinet.as_str());
    let found: Option<BookedCell> = query
        .bind::<Array<Integer>, _>(cells)
        .prepared()
        .get_result(connection)
        .await
        .optional()?;
    Ok(found.is_some())
}

/// The broker cannot be reached: nothing is told to any cabinet.
pub fn broker_unavailable() -> Error {
    Error::unavailable("broker_unavailable", "The message broker cannot be reached now.")
        .with_retry_after(std::time::Duration::from_secs(5))
}

/// The cabinet is not there: it would open its doors to nobody, or later.
pub fn cabinet_offline() -> Error {
    Error::new(Kind::Conflict, "cabinet_offline", "The cabinet is not connected now.")
}

fn cabinet_not_found() -> Error {
    Error::not_found("cabinet_not_found", "There is no such cabinet.")
}
