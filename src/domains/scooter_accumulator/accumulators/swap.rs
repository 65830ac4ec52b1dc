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
        let technician = Place::contractor(asked.contractor_id.clone());
        let inside = Place::scooter(scooter.clone());
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            store::lock_scooter(connection, scooter).await?;
            let ids: Vec<&AccumulatorId> = std::iter::once(charged).chain(discharged).collect();
            let locked = places::lock(connection, &ids).await?;
            let charged_one = pick(&locked, charged)?;
            if charged_one.get().place.as_ref() != Some(&technician) {
                let detail = "The technician does not have the charged accumulator.";
                return Err(conflict("charged_accumulator_elsewhere", detail));
            }
            let mut moves = vec![Move {
                accumulator: charged_one.clone(),
                to: Some(inside.clone()),
                flag: false,
            }];
            if let Some(id) = discharged {
                let discharged_one = pick(&locked, id)?;
                if discharged_one.get().place.as_ref() != Some(&inside) {
                    let detail = "The discharged accumulator is not in the scooter.";
                    return Err(conflict("discharged_accumulator_elsewhere", detail));
                }
                let to = Some(technician.clone());
                moves.push(Move { accumulator: discharged_one.clone(), to, flag: false });
            }
            for id in &ids {
                // One that is on its way back into a cabinet.
                if store::is_booked(connection, id, Some("return")).await? {
                    return Err(conflict(
                        "accumulator_booked",
                        "The accumulator is being returned.",
                    ));
                }
            }
            if discharged.is_none() && store::is_in_scooter(connection, scooter).await? {
                let detail =
                    "There is an accumulator in the scooter, and none is said to come out.";
                return Err(conflict("scooter_occupied", detail));
            }
            places::move_all(connection, &moves, Cause::of(MoveKind::Swapped)).await?;
            let find = async |connection: &mut Connection, id: &AccumulatorId| {
                store::find(connection, id).await?.ok_or_else(no_accumulator)
            };
            let charged_now: Accumulator = find(connection, charged).await?;
            let discharged_now = match discharged {
                Some(id) => Some(find(connection, id).await?),
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

fn pick<'a>(locked: &'a [Locked], id: &AccumulatorId) -> Result<&'a Locked> {
    locked.iter().find(|locked| locked.get().id == *id).ok_or_else(no_accumulator)
}
