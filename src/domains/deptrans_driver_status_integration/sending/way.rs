//! The way of a status from the queue to the regulator: the cheap questions come first, and one `no`
//! ends it. (`docs/decisions/deptrans-status-queue.md`)

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::moves::{self, Today};
use super::shifts::Answered;
use super::store::{Entry, Rest, Settlement, Whereabouts, find_ids};
use super::{DATABASE, PERSONAL, Sender, TRACKSTORY};
use crate::domains::deptrans_driver_status_integration::krt::NoOutcome;
use crate::platform::context::Context;
use crate::platform::database::PackedId;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::driver_trackstory::DriverRef;
use crate::upstreams::krt::{BULK, Line, Outcome, Report, Shift};
use crate::upstreams::personal::{PersonalError, PersonalKind};

/// The caches follow a new driver after a moment: so often his status is put off for that.
const UNKNOWN_TRIES: i16 = 3;

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    /// The regulator was told, and answered with his shift.
    Taken { line: Line, shift: Shift },
    /// It is nothing for the regulator.
    LeftOut(&'static str),
    /// The regulator does not take it, and never will.
    Refused(&'static str),
    /// It is sent again after a pause.
    Later(&'static str),
    /// It is sent again after all others.
    Last(&'static str),
    /// It was not sent, for what has nothing to do with it.
    Back(&'static str),
}

/// A status on its way.
pub(super) struct Way {
    pub entry: Entry,
    whereabouts: Whereabouts,
    license: Option<PackedId>,
    id: Option<SecretString>,
    number: Option<SecretString>,
    /// The id under which he leaves is still that licence's: he has another licence.
    has_moved: bool,
    fate: Option<Fate>,
}

impl Way {
    pub fn new(entry: Entry) -> Self {
        Self {
            entry,
            whereabouts: Whereabouts::Unasked,
            license: None,
            id: None,
            number: None,
            has_moved: false,
            fate: None,
        }
    }

    /// What became of it; it waits where nothing did.
    pub fn fate(&self) -> Fate {
        self.fate.unwrap_or(Fate::Back("stopping"))
    }

    /// Whoever the regulator believes to be on line is reported off line wherever he is.
    fn must_be_told(&self) -> bool {
        self.is_leave() || self.entry.off_line && self.entry.reported_on_line == Some(true)
    }

    /// Not his status is to be told, but that he is off line under an id that is his no more.
    pub fn is_leave(&self) -> bool {
        self.entry.former().is_some()
    }

    fn line(&self) -> Line {
        if self.entry.off_line || self.is_leave() { Line::OffLine } else { Line::OnLine }
    }

    /// The report, once everything is known.
    fn report(&self) -> Option<Report> {
        let driver_id = self.id.clone()?;
        let (occurred_at, event) = match self.entry.former() {
            Some(former) => (former.at.to_jiff(), "taken from him"),
            None => (self.entry.occurred_at.to_jiff(), self.entry.tiebreak.as_str()),
        };
        Some(Report {
            request_id: request_id(&self.entry, occurred_at, event, &driver_id),
            driver_id,
            license_number: self.number.clone()?,
            status: self.line(),
            occurred_at,
        })
    }

    /// How its row is settled.
    pub fn settlement(&self, backoff: impl Fn(i16) -> Duration) -> Settlement<'_> {
        let (rest, reported_on_line) = match self.fate() {
            Fate::Taken { line, .. } => (Rest::Rests, Some(line == Line::OnLine)),
            // Whatever the regulator has under that id is no concern of the driver's any more.
            Fate::LeftOut(_) | Fate::Refused(_) if self.is_leave() => (Rest::Rests, Some(false)),
            Fate::LeftOut(_) | Fate::Refused(_) => (Rest::Rests, None),
            Fate::Later(_) => (Rest::Later(backoff(self.entry.attempts).as_secs_f64()), None),
            Fate::Last(_) => (Rest::Last, None),
            Fate::Back(_) => (Rest::Back, None),
        };
        Settlement {
            entry: &self.entry,
            rest,
            reported_on_line,
            whereabouts: self.whereabouts,
            license: self.license.as_ref(),
        }
    }

    /// The shift that the regulator answered with.
    pub fn answered(&self) -> Option<Answered<'_>> {
        let Some(Fate::Taken { shift, .. }) = self.fate else { return None };
        let occurred_at: Timestamp = match self.entry.former() {
            // The state belongs to the id, and went with it.
            Some(_) if !self.has_moved => return None,
            Some(former) => former.at.to_jiff(),
            None => self.entry.occurred_at.to_jiff(),
        };
        Some(Answered { license: self.license.as_ref()?, shift, occurred_at })
    }
}

/// The same for the same status of the same driver under the same id, whoever sends it and whenever.
fn request_id(entry: &Entry, occurred_at: Timestamp, event: &str, id: &SecretString) -> String {
    let mut hash = Sha256::new();
    let occurred_at = occurred_at.as_microsecond().to_string();
    let (park, driver) = (entry.park_id.text(), entry.driver_id.text());
    for part in [&*park, &*driver, &occurred_at, event, id.expose_secret()] {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, of_hash)| *byte = of_hash);
    Uuid::from_bytes(bytes).simple().to_string()
}

/// The statuses of one lease.
pub(super) struct Trip<'a> {
    pub sender: &'a Sender,
    pub ways: Vec<Way>,
    pub stop: &'a Shutdown,
}

impl Trip<'_> {
    /// Goes as far with each as it comes before the deadline.
    pub async fn go(&mut self, ctx: &Context) {
        if let Err(error) = self.note_moves(ctx).await {
            self.wait_for(DATABASE, &error);
            return;
        }
        self.ask_categories();
        if let Err(error) = self.ask_regions(ctx).await {
            self.wait_for(TRACKSTORY, &error);
            return;
        }
        self.ask_licenses();
        if let Err(error) = self.ask_ids(ctx).await {
            self.wait_for(DATABASE, &error);
            return;
        }
        if let Err(error) = self.ask_numbers(ctx).await {
            self.wait_for(PERSONAL, &error);
            return;
        }
        self.report(ctx).await;
    }

    /// Those on which nothing was decided yet.
    fn open(&mut self) -> impl Iterator<Item = &mut Way> {
        self.ways.iter_mut().filter(|way| way.fate.is_none())
    }

    /// Whoever was told on line under a licence that is no more his leaves under it first. Mostly that
    /// was noted when driver-profiles said so; this finds what no process saw.
    async fn note_moves(&mut self, ctx: &Context) -> Result<()> {
        let mut today = Today::default();
        for Way { entry, .. } in &self.ways {
            if let Some(license) = self.sender.drivers.license_of(entry)
                && entry.has_left(&license)
            {
                today.add(entry.park_id.clone(), entry.driver_id.clone(), license);
            }
        }
        if today.is_empty() {
            return Ok(());
        }
        let note = async |connection: &_| moves::note(connection, &today).await;
        for (park, driver, at, id) in self.sender.database.statement(ctx, note).await? {
            let is_it = |way: &&mut Way| way.entry.park_id == park && way.entry.driver_id == driver;
            if let Some(way) = self.ways.iter_mut().find(is_it) {
                way.entry.owes(at, id);
            }
        }
        Ok(())
    }

    fn ask_categories(&mut self) {
        let drivers = &self.sender.drivers;
        for way in self.ways.iter_mut().filter(|way| !way.must_be_told()) {
            way.fate = match drivers.works(&way.entry) {
                Some(true) => None,
                Some(false) => {
                    // He is none of those whom the region would lose.
                    way.whereabouts = Whereabouts::Elsewhere;
                    Some(Fate::LeftOut("category"))
                }
                None if way.entry.attempts < UNKNOWN_TRIES => Some(Fate::Later("unknown_driver")),
                None => Some(Fate::LeftOut("unknown_driver")),
            };
        }
    }

    async fn ask_regions(&mut self, ctx: &Context) -> Result<(), UpstreamError> {
        let texts: Vec<_> = self
            .open()
            .map(|way| {
                (way.entry.park_id.text().into_owned(), way.entry.driver_id.text().into_owned())
            })
            .collect();
        if texts.is_empty() {
            return Ok(());
        }
        let asked: Vec<_> =
            texts.iter().map(|(park_id, driver_id)| DriverRef { park_id, driver_id }).collect();
        let found = self.sender.trackstory.positions(ctx, &asked).await?;
        self.sender.rest.well(TRACKSTORY);
        let positions: HashMap<(&str, &str), _> = found
            .iter()
            .map(|found| ((found.park_id.as_str(), found.driver_id.as_str()), found))
            .collect();
        let regions = &self.sender.regions;
        let open = self.ways.iter_mut().filter(|way| way.fate.is_none());
        for (way, (park, driver)) in open.zip(&texts) {
            let position = positions.get(&(park.as_str(), driver.as_str()));
            let region = position.and_then(|found| regions.at(found.lat, found.lon));
            way.whereabouts =
                region.map_or(Whereabouts::Elsewhere, |region| Whereabouts::In(region.id));
            if region.is_none() && !way.must_be_told() {
                let reason = if position.is_none() { "no_position" } else { "region" };
                way.fate = Some(Fate::LeftOut(reason));
            }
        }
        Ok(())
    }

    fn ask_licenses(&mut self) {
        let drivers = &self.sender.drivers;
        for way in self.ways.iter_mut().filter(|way| way.fate.is_none()) {
            way.license = match way.entry.former() {
                Some(former) => Some(former.license.clone()),
                None => drivers.license_of(&way.entry),
            };
            // A profile that is gone, or has no licence any more, goes off line as what it was.
            if way.license.is_none() && way.must_be_told() {
                way.license = way.entry.last_license().cloned();
            }
            if way.license.is_none() {
                way.fate = Some(Fate::LeftOut("no_license"));
            }
        }
    }

    async fn ask_ids(&mut self, ctx: &Context) -> Result<()> {
        for way in self.open() {
            let former = way.entry.former().map(|former| former.id.text().into_owned());
            way.id = former.map(SecretString::from);
        }
        let licenses: Vec<PackedId> = self.open().filter_map(|way| way.license.clone()).collect();
        if licenses.is_empty() {
            return Ok(());
        }
        let database = &self.sender.database;
        let found = database
            .statement(ctx, async |connection| find_ids(connection, &licenses).await)
            .await?;
        let ids: HashMap<PackedId, SecretString> = found.into_iter().collect();
        for way in self.open() {
            let id = way.license.as_ref().and_then(|license| ids.get(license));
            match (&way.id, id) {
                (Some(former), Some(id)) => {
                    way.has_moved = former.expose_secret() == id.expose_secret();
                }
                (Some(_), None) => {}
                (None, Some(id)) => way.id = Some(id.clone()),
                (None, None) => way.fate = Some(Fate::LeftOut("no_id")),
            }
        }
        Ok(())
    }

    async fn ask_numbers(&mut self, ctx: &Context) -> Result<(), PersonalError> {
        let licenses = self.open().filter_map(|way| way.license.as_ref());
        let mut licenses: Vec<String> =
            licenses.map(|license| license.text().into_owned()).collect();
        if licenses.is_empty() {
            return Ok(());
        }
        licenses.sort_unstable();
        licenses.dedup();
        let personal = &self.sender.personal;
        let numbers = personal.bulk_retrieve(ctx, PersonalKind::DriverLicenses, &licenses).await?;
        self.sender.rest.well(PERSONAL);
        for way in self.open() {
            let number = way.license.as_ref().and_then(|license| numbers.get(&*license.text()));
            way.number = number.cloned();
            if way.number.is_none() {
                way.fate = Some(Fate::LeftOut("no_license_number"));
            }
        }
        Ok(())
    }

    /// Sends what is left, in its order.
    async fn report(&mut self, ctx: &Context) {
        let (places, reports): (Vec<usize>, Vec<Report>) = self
            .ways
            .iter()
            .enumerate()
            .filter(|(_, way)| way.fate.is_none())
            .filter_map(|(place, way)| Some((place, way.report()?)))
            .unzip();
        let outcomes = if self.sender.krt.has_bulk() {
            self.send_in_bulk(ctx, &reports).await
        } else {
            self.send_one_by_one(ctx, &reports).await
        };
        let is_down = self.sender.krt.pulse().is_down();
        for (place, outcome) in places.into_iter().zip(outcomes) {
            let Some(way) = self.ways.get_mut(place) else { continue };
            way.fate = Some(match outcome {
                Ok(Outcome::Taken(shift)) => Fate::Taken { line: way.line(), shift },
                Ok(Outcome::UnknownId) => Fate::Refused("unknown_id"),
                Ok(Outcome::Invalid) => Fate::Refused("invalid"),
                Err(NoOutcome::HeldBack(reason)) => Fate::Back(reason),
                // One that brings KRT down must not be the one that asks whether it is back.
                Err(NoOutcome::Lost(reason)) if is_down => Fate::Last(reason),
                Err(NoOutcome::Lost(reason)) => Fate::Later(reason),
                Err(NoOutcome::NoBulk) => Fate::Back("no_bulk"),
            });
        }
    }

    async fn send_one_by_one(
        &self,
        ctx: &Context,
        reports: &[Report],
    ) -> Vec<Result<Outcome, NoOutcome>> {
        let krt = &self.sender.krt;
        join_all(reports.iter().map(|report| krt.report(ctx, self.stop, report))).await
    }

    async fn send_in_bulk(
        &self,
        ctx: &Context,
        reports: &[Report],
    ) -> Vec<Result<Outcome, NoOutcome>> {
        let chunk = async |reports: &[Report]| match self
            .sender
            .krt
            .report_bulk(ctx, self.stop, reports)
            .await
        {
            Ok(outcomes) => outcomes,
            Err(NoOutcome::NoBulk) => self.send_one_by_one(ctx, reports).await,
            Err(NoOutcome::HeldBack(reason)) => all(reports, NoOutcome::HeldBack(reason)),
            Err(NoOutcome::Lost(reason)) => all(reports, NoOutcome::Lost(reason)),
        };
        join_all(reports.chunks(BULK).map(chunk)).await.into_iter().flatten().collect()
    }

    /// What is open waits until something else is well again.
    fn wait_for(&mut self, reason: &'static str, error: &impl std::fmt::Display) {
        tracing::debug!(reason, %error, "statuses wait");
        for way in self.open() {
            way.fate = Some(Fate::Back(reason));
        }
        self.sender.rest.trouble(reason);
    }
}

fn all(reports: &[Report], outcome: NoOutcome) -> Vec<Result<Outcome, NoOutcome>> {
    reports.iter().map(|_| Err(outcome)).collect()
}
