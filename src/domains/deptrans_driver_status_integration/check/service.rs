//! The rules. Plain values in and out.

use jiff::Timestamp;
use jiff_diesel::Timestamp as SqlTimestamp;

use super::Checks;
use super::model::{CheckedDriver, Code, DriverKey, Reason};
use super::positions::Whereabouts;
use super::store::{Asked, CheckDrivers, Found};
use crate::domains::deptrans_driver_status_integration::regions::Stage;
use crate::platform::context::Context;
use crate::platform::database::PackedId;
use crate::platform::error::{Error, Result};

impl Checks {
    /// Whether each of `drivers` may take orders now, in their order.
    ///
    /// # Errors
    /// `database_unavailable`; `deadline_exceeded`.
    pub(super) async fn check(
        &self,
        context: &Context,
        drivers: Vec<DriverKey>,
    ) -> Result<Vec<CheckedDriver>> {
        let whereabouts = self.positions.whereabouts(context, &drivers).await;
        let asked = drivers.iter().zip(&whereabouts).map(|(driver, at)| self.ask(driver, *at));
        let found = self.database.batched::<CheckDrivers>(context, asked.collect()).await?;
        if found.len() != drivers.len() {
            return Err(Error::internal("not every driver of a check was answered"));
        }
        let answers = drivers.into_iter().zip(whereabouts).zip(found);
        Ok(answers.map(|((driver, at), found)| self.judge(driver, at, &found)).collect())
    }

    fn ask(&self, driver: &DriverKey, at: Whereabouts) -> Asked {
        let (park, id) = (driver.park_id.as_str(), driver.driver_id.as_str());
        let license = self.directory.with_license(park, id, PackedId::new);
        let by_last_status = at == Whereabouts::NotAsked;
        Asked { license, profile: by_last_status.then(|| (PackedId::new(park), PackedId::new(id))) }
    }

    fn judge(&self, driver: DriverKey, at: Whereabouts, found: &Found) -> CheckedDriver {
        let (region, source) = match (at, found.region) {
            (Whereabouts::In(region), _) => (Some(region), "position"),
            (Whereabouts::NotAsked, Some(region)) => (Some(region), "last_status"),
            (Whereabouts::Nowhere | Whereabouts::NotAsked, _) => (None, "unknown"),
        };
        self.metrics.region(source);
        let stage = region.and_then(|region| self.regions.by_id(region)).map(|region| region.stage);
        let now = found.now.to_jiff();
        let reason = reason(found, now).filter(|reason| match (reason.code, reason.at) {
            (Code::ShiftEndsAt, Some(at)) => at.duration_since(now).unsigned_abs() <= self.warning,
            _ => true,
        });
        let stands_against = reason.is_some_and(|reason| reason.code != Code::ShiftEndsAt);
        let blocking = stands_against && stage == Some(Stage::Blocks);
        self.metrics.checked(reason.map(|reason| reason.code), blocking);
        CheckedDriver {
            park_id: driver.park_id,
            driver_id: driver.driver_id,
            allowed: !blocking,
            blocking,
            reasons: reason.into_iter().collect(),
        }
    }
}

/// What stands against a driver's taking orders at `now`, or will when his shift ends.
fn reason(found: &Found, now: Timestamp) -> Option<Reason> {
    let of = |code| Some(Reason { code, at: None });
    let ends_at = found.ended_at.map(SqlTimestamp::to_jiff);
    match (found.has_id, found.is_active, ends_at) {
        (false, ..) => of(Code::NoId),
        (true, Some(true), None) => None,
        (true, Some(true), Some(at)) if at > now => {
            Some(Reason { code: Code::ShiftEndsAt, at: Some(at) })
        }
        (true, ..) => of(Code::NoActiveShift),
    }
}
