//! What the regulator knows and was told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shifts::{Lengths, SessionStatus, Shift, Told};
use crate::sandbox::world;

/// So many reports are kept; then the oldest are forgotten.
const MOST_REPORTS: usize = 1_000_000;
const MOST_TOKENS: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// A status as it is reported.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Status {
    pub(super) driver_id: String,
    pub(super) license_number: String,
    #[serde(rename = "status")]
    pub(super) line: Line,
    pub(super) occurred_at: Timestamp,
    pub(super) request_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    OnLine,
    OffLine,
}

/// A report that KRT took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KrtReport {
    /// The driver's id in KRT.
    pub driver_id: String,
    /// The number of his licence.
    pub license_number: String,
    /// Whether he went on line, and not off.
    pub on_line: bool,
    /// When he did.
    pub occurred_at: Timestamp,
    /// What the report was called by.
    pub request_id: String,
    /// When it came.
    pub received_at: Timestamp,
}

/// How much KRT was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KrtCounts {
    /// Reports that were taken.
    pub reports: u64,
    /// Reports that came again, by their request ids.
    pub repeated: u64,
    /// Reports that were too many.
    pub limited: u64,
    /// Tokens that were given.
    pub tokens: u64,
    /// Most reports, of any outcome, that came within one second.
    pub most_per_second: usize,
}

/// Why a status is not taken.
pub(super) enum Refusal {
    TooMany,
    UnknownDriver,
    OtherLicense,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    login: String,
    password: String,
    token_seconds: u32,
    shift_seconds: u32,
    rest_seconds: u32,
    bulk: bool,
    per_second: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            login: "fleet".into(),
            password: "sandbox".into(),
            token_seconds: 3_600,
            shift_seconds: 12 * 3_600,
            rest_seconds: 8 * 3_600,
            bulk: true,
            per_second: None,
        }
    }
}

/// A driver who was added, or whose shift was pinned.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    license_number: Option<String>,
    session_status: Option<SessionStatus>,
    ended_at: Option<Timestamp>,
}

/// The regulator.
#[derive(Default)]
pub(in super::super) struct Regulator {
    options: Options,
    tokens: HashMap<String, Timestamp>,
    known: HashMap<String, Known>,
    shifts: HashMap<String, Shift>,
    answers: HashMap<String, Told>,
    reports: VecDeque<KrtReport>,
    counts: KrtCounts,
    /// When reports came within the last second, and which of them were taken within the limit.
    arrivals: VecDeque<Instant>,
    taken: VecDeque<Instant>,
}

#[derive(Default)]
pub(in super::super) struct Store(Mutex<Regulator>);

impl Store {
    pub(in super::super) fn lock(&self) -> MutexGuard<'_, Regulator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Regulator {
    /// # Errors
    /// What is wrong with the change.
    pub(in super::super) fn configure(&mut self, change: Value) -> Result<(), String> {
        self.options = Options::deserialize(change).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// # Errors
    /// What is wrong with the change.
    pub(in super::super) fn set_driver(&mut self, id: &str, change: Value) -> Result<(), String> {
        let known = Known::deserialize(change).map_err(|error| error.to_string())?;
        self.known.insert(id.to_owned(), known);
        Ok(())
    }

    pub(in super::super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn has_bulk(&self) -> bool {
        self.options.bulk
    }

    pub(super) fn give_token(
        &mut self,
        login: &str,
        password: &str,
        now: Timestamp,
    ) -> Option<(String, Timestamp)> {
        if login != self.options.login || password != self.options.password {
            return None;
        }
        self.tokens.retain(|_, expires_at| *expires_at > now);
        if self.tokens.len() >= MOST_TOKENS {
            return None;
        }
        let expires_at = now + SignedDuration::from_secs(self.options.token_seconds.into());
        let token = uuid::Uuid::new_v4().simple().to_string();
        self.tokens.insert(token.clone(), expires_at);
        self.counts.tokens += 1;
        Some((token, expires_at))
    }

    pub(super) fn knows(&self, token: &str, now: Timestamp) -> bool {
        self.tokens.get(token).is_some_and(|expires_at| *expires_at > now)
    }

    /// The licence of the driver with this id.
    pub(super) fn license_of(&self, driver_id: &str) -> Option<String> {
        let added = self.known.get(driver_id).and_then(|known| known.license_number.clone());
        added.or_else(|| world::person_of_krt_id(driver_id).map(world::license_number))
    }

    pub(super) fn take(&mut self, status: Status, now: Timestamp) -> Result<Told, Refusal> {
        if !self.has_room() {
            self.counts.limited += 1;
            return Err(Refusal::TooMany);
        }
        if let Some(answer) = self.answers.get(&status.request_id) {
            self.counts.repeated += 1;
            return Ok(*answer);
        }
        let license = self.license_of(&status.driver_id).ok_or(Refusal::UnknownDriver)?;
        if license != status.license_number {
            return Err(Refusal::OtherLicense);
        }
        let on_line = status.line == Line::OnLine;
        let lengths = Lengths {
            shift: SignedDuration::from_secs(self.options.shift_seconds.into()),
            rest: SignedDuration::from_secs(self.options.rest_seconds.into()),
        };
        let shift = self.shifts.entry(status.driver_id.clone()).or_default();
        let usual = shift.report(on_line, now, lengths);
        let told = self.pinned(&status.driver_id).unwrap_or(usual);
        self.remember(status, on_line, told, now);
        Ok(told)
    }

    fn pinned(&self, driver_id: &str) -> Option<Told> {
        let known = self.known.get(driver_id)?;
        let session_status = known.session_status?;
        Some(Told { session_status, ended_at: known.ended_at })
    }

    fn remember(&mut self, status: Status, on_line: bool, told: Told, now: Timestamp) {
        self.counts.reports += 1;
        self.answers.insert(status.request_id.clone(), told);
        if self.reports.len() >= MOST_REPORTS
            && let Some(oldest) = self.reports.pop_front()
        {
            self.answers.remove(&oldest.request_id);
        }
        self.reports.push_back(KrtReport {
            driver_id: status.driver_id,
            license_number: status.license_number,
            on_line,
            occurred_at: status.occurred_at,
            request_id: status.request_id,
            received_at: now,
        });
    }

    /// Counts a report, and whether it is within the limit.
    fn has_room(&mut self) -> bool {
        let now = Instant::now();
        for times in [&mut self.arrivals, &mut self.taken] {
            while times.front().is_some_and(|at| now.duration_since(*at) >= SECOND) {
                times.pop_front();
            }
        }
        self.arrivals.push_back(now);
        self.counts.most_per_second = self.counts.most_per_second.max(self.arrivals.len());
        let has_room = self.options.per_second.is_none_or(|most| self.taken.len() < most);
        if has_room {
            self.taken.push_back(now);
        }
        has_room
    }

    pub(in super::super) fn reports(&self, driver_id: Option<&str>) -> Vec<KrtReport> {
        let is_his = |report: &&KrtReport| driver_id.is_none_or(|id| report.driver_id == id);
        self.reports.iter().filter(is_his).cloned().collect()
    }

    pub(super) fn by_driver(&self) -> BTreeMap<&str, Vec<&KrtReport>> {
        let mut by_driver: BTreeMap<&str, Vec<&KrtReport>> = BTreeMap::new();
        for report in &self.reports {
            by_driver.entry(&report.driver_id).or_default().push(report);
        }
        by_driver
    }

    pub(in super::super) fn counts(&self) -> KrtCounts {
        self.counts
    }
}
