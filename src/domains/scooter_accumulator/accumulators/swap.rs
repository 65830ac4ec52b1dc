//! A technician swaps a charged accumulator into a scooter.

use super::Accumulators;
use super::model::{NewSwap, Swap};
use super::service::{conflict, no_accumulator};
use super::store;
use crate::domains::scooter_accumulator::NAME;
use crate::domains::scooter_accumulator::ids::{AccumulatorId, ScooterId};
use crate::domains::scooter_accumulator::places::{
    self, Accumulator, Cause, Locked, Move, MoveKind, Place,
};
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Result};

const NOT_WITH_HIM: (&str, &str) =
    ("charged_accumulator_elsewhere", "The technician does not have the charged accumulator.");
const NOT_INSIDE: (&str, &str) =
    ("discharged_accumulator_elsewhere", "The discharged accumulator is not in the scooter.");

impl Accumulators {
    /// Moves the charged one from the technician into the scooter, and the discharged one to the
    /// technician: both or none.
    pub async fn swap(
        &self,
        context: &Context,
        scooter: &ScooterId,
        asked: &NewSwap,
        call: Option<IdempotentCall>,
    ) -> Result<Swap> {
        let (charged, discharged) =
            (&asked.charged_accumulator_id, asked.discharged_accumulator_id.as_ref());
        if discharged == Some(charged) {
            let detail = "must be another than charged_accumulator_id";
            return Err(Error::invalid("/discharged_accumulator_id", detail));
        }
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            let moves = plan(connection, scooter, asked).await?;
            places::move_all(connection, &moves, Cause::of(MoveKind::Swapped)).await?;
            let charged_now = found(connection, charged).await?;
            let discharged_now = match discharged {
                Some(id) => Some(found(connection, id).await?),
                None => None,
            };
            Ok(Swap {
                scooter_id: scooter.clone(),
                contractor_id: asked.contractor_id.clone(),
                charged_accumulator: charged_now.into(),
                discharged_accumulator: discharged_now.map(Into::into),
            })
        };
        self.tools.database.once(context, guard, work).await
    }
}

/// Takes the scooter and the accumulators, and says where these go; an error where one of them is not where
/// it must be.
async fn plan(
    connection: &mut Connection,
    scooter: &ScooterId,
    asked: &NewSwap,
) -> Result<Vec<Move>> {
    let (charged, discharged) =
        (&asked.charged_accumulator_id, asked.discharged_accumulator_id.as_ref());
    let technician = Place::contractor(asked.contractor_id.clone());
    let inside = Place::scooter(scooter.clone());
    store::lock_scooter(connection, scooter).await?;
    let ids: Vec<&AccumulatorId> = std::iter::once(charged).chain(discharged).collect();
    let locked = places::lock(connection, &ids).await?;
    let charged_one = at(&locked, charged, &technician, NOT_WITH_HIM)?;
    let mut moves = vec![moved(charged_one, inside.clone())];
    if let Some(id) = discharged {
        let discharged_one = at(&locked, id, &inside, NOT_INSIDE)?;
        moves.push(moved(discharged_one, technician));
    }
    check_free(connection, scooter, &ids, discharged.is_some()).await?;
    Ok(moves)
}

/// Where one of the accumulators must be, or it cannot be swapped.
fn at<'a>(
    locked: &'a [Locked],
    id: &AccumulatorId,
    place: &Place,
    otherwise: (&'static str, &'static str),
) -> Result<&'a Locked> {
    let one = locked.iter().find(|locked| locked.get().id == *id).ok_or_else(no_accumulator)?;
    let (code, detail) = otherwise;
    if one.get().place.as_ref() == Some(place) { Ok(one) } else { Err(conflict(code, detail)) }
}

fn moved(one: &Locked, to: Place) -> Move {
    Move { accumulator: one.clone(), to: Some(to), flag: false }
}

/// An error when one of them is on its way back into a cabinet, or the scooter has one that nobody takes out.
async fn check_free(
    connection: &mut Connection,
    scooter: &ScooterId,
    ids: &[&AccumulatorId],
    takes_out: bool,
) -> Result<()> {
    for id in ids {
        if store::is_booked(connection, id, Some("return")).await? {
            return Err(conflict("accumulator_booked", "The accumulator is being returned."));
        }
    }
    if !takes_out && store::is_in_scooter(connection, scooter).await? {
        let detail = "There is an accumulator in the scooter, and none is said to come out.";
        return Err(conflict("scooter_occupied", detail));
    }
    Ok(())
}

async fn found(connection: &mut Connection, id: &AccumulatorId) -> Result<Accumulator> {
    store::find(connection, id).await?.ok_or_else(no_accumulator)
}
