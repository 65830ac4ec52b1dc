//! A park's drivers: computed from the park's id and their number, so that a big park costs nothing.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const NAMES: [&str; 8] = ["Алексей", "Борис", "Виктор", "Гульнара", "Денис", "Елена", "Иван", "Ян"];
const WORK_RULES: [&str; 4] = ["rule-1", "rule-2", "rule-3", "rule-4"];
/// How long a driver stays online, busy or offline.
const STATUS_SECONDS: u64 = 900;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkStatus {
    Working,
    NotWorking,
    Fired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CurrentStatus {
    Online,
    Busy,
    Offline,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Driver {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    work_rule_id: String,
    work_status: WorkStatus,
    current_status: CurrentStatus,
}

/// What a driver is like in place of what is computed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// An empty one is left out of answers.
    first_name: Option<String>,
    work_rule_id: Option<String>,
    work_status: Option<WorkStatus>,
    current_status: Option<CurrentStatus>,
}

/// Which drivers are wanted; an empty list wants all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) work_rule_ids: Vec<String>,
    pub(super) work_statuses: Vec<WorkStatus>,
    pub(super) current_statuses: Vec<CurrentStatus>,
}

fn wants<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

/// A park's drivers, by their positions: first the computed ones, then those that were added.
#[derive(Debug, Clone)]
pub(super) struct Drivers {
    pub(super) seed: u64,
    pub(super) count: u64,
    pub(super) frozen: bool,
    added: Vec<String>,
    changes: HashMap<u64, Change>,
}

impl Drivers {
    pub(super) fn new(park_id: &str, frozen: bool) -> Self {
        let (seed, count) = (seed(park_id), usual_count(park_id));
        Self { seed, count, frozen, added: Vec::new(), changes: HashMap::new() }
    }

    /// One more than the last position.
    pub(super) fn end(&self) -> u64 {
        self.count + self.added.len() as u64
    }

    pub(super) fn id(&self, position: u64) -> Option<String> {
        if position < self.count {
            return Some(usual_id(self.seed, position));
        }
        let added = usize::try_from(position - self.count).ok()?;
        self.added.get(added).cloned()
    }

    pub(super) fn position(&self, id: &str) -> Option<u64> {
        if let Some(added) = self.added.iter().position(|other| other == id) {
            return Some(self.count + added as u64);
        }
        let position = id.strip_prefix(&format!("{:016x}", self.seed))?;
        let position = u64::from_str_radix(position, 16).ok()?;
        (position < self.count && self.id(position).as_deref() == Some(id)).then_some(position)
    }

    /// Changes a driver, which is added if it is not there; says no when there are too many.
    pub(super) fn change(&mut self, id: &str, change: Change, most: usize) -> bool {
        let position = self.position(id);
        let is_new = position.is_none_or(|position| !self.changes.contains_key(&position));
        if is_new && self.changes.len() >= most {
            return false;
        }
        let position = position.unwrap_or_else(|| {
            self.added.push(id.to_owned());
            self.end() - 1
        });
        self.changes.insert(position, change);
        true
    }

    /// Sets how many drivers are computed; what was changed or added is forgotten.
    pub(super) fn resize(&mut self, count: u64) {
        self.count = count;
        self.added.clear();
        self.changes.clear();
    }

    /// The driver at a position, if the filter wants it.
    pub(super) fn wanted(&self, position: u64, filter: &Filter, now: Timestamp) -> Option<Driver> {
        let change = self.changes.get(&position);
        let dice = mix(self.seed ^ mix(position));
        let work_status = change.and_then(|change| change.work_status);
        let work_status = work_status.unwrap_or_else(|| usual_work_status(dice));
        if !wants(&filter.work_statuses, &work_status) {
            return None;
        }
        let current_status = change.and_then(|change| change.current_status);
        let current_status =
            current_status.unwrap_or_else(|| self.usual_current_status(work_status, dice, now));
        if !wants(&filter.current_statuses, &current_status) {
            return None;
        }
        let work_rule_id = change.and_then(|change| change.work_rule_id.as_deref());
        let work_rule_id = work_rule_id.unwrap_or_else(|| pick(&WORK_RULES, dice >> 32));
        if !filter.work_rule_ids.is_empty()
            && !filter.work_rule_ids.iter().any(|rule| rule == work_rule_id)
        {
            return None;
        }
        let first_name = change.and_then(|change| change.first_name.as_deref());
        let first_name = first_name.unwrap_or_else(|| pick(&NAMES, dice >> 40));
        Some(Driver {
            id: self.id(position)?,
            first_name: (!first_name.is_empty()).then(|| first_name.to_owned()),
            work_rule_id: work_rule_id.to_owned(),
            work_status,
            current_status,
        })
    }

    /// Of those who work, two of five are online and one is busy.
    fn usual_current_status(&self, work: WorkStatus, dice: u64, now: Timestamp) -> CurrentStatus {
        if work != WorkStatus::Working {
            return CurrentStatus::Offline;
        }
        let seconds = if self.frozen { 0 } else { now.as_second().unsigned_abs() };
        let period = (seconds + (dice >> 16) % STATUS_SECONDS) / STATUS_SECONDS;
        match mix(dice ^ period) % 5 {
            0 | 1 => CurrentStatus::Online,
            2 => CurrentStatus::Busy,
            _ => CurrentStatus::Offline,
        }
    }
}

/// How many drivers are computed for a park.
pub(in super::super) fn usual_count(park_id: &str) -> u64 {
    match park_id {
        "park-1" => 25_000,
        "park-2" => 20,
        "park-3" => 12_000,
        other if other.starts_with("park-") || other.starts_with("inactive-") => 100,
        _ => 0,
    }
}

/// What the ids of a park's drivers begin with.
pub(in super::super) fn seed(park_id: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(park_id).into();
    let (head, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*head)
}

/// The id of a computed driver.
pub(in super::super) fn usual_id(seed: u64, position: u64) -> String {
    format!("{seed:016x}{position:016x}")
}

fn usual_work_status(dice: u64) -> WorkStatus {
    match dice % 100 {
        0..85 => WorkStatus::Working,
        85..95 => WorkStatus::NotWorking,
        _ => WorkStatus::Fired,
    }
}

fn pick<'a>(from: &[&'a str], dice: u64) -> &'a str {
    let index = usize::try_from(dice % from.len() as u64).unwrap_or_default();
    from.get(index).copied().unwrap_or_default()
}

/// SplitMix64's last step: every bit depends on every bit.
pub(in super::super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn all(drivers: &Drivers, now: Timestamp) -> Vec<Driver> {
        let filter = Filter::default();
        (0..drivers.end()).map(|at| drivers.wanted(at, &filter, now).unwrap()).collect()
    }

    #[test]
    fn ids_and_positions_belong_together() {
        let mut drivers = Drivers::new("park-2", true);
        assert!(drivers.change("x-blocked", Change::default(), 10));
        for position in 0..=20 {
            let id = drivers.id(position).unwrap();
            assert_eq!(drivers.position(&id), Some(position), "{id}");
        }
        assert_eq!(drivers.id(21), None);
        let id = drivers.id(3).unwrap();
        let other = Drivers::new("park-3", true);
        for unknown in [&id.to_uppercase(), &id[1..], &format!("{id}0"), &other.id(3).unwrap()] {
            assert_eq!(drivers.position(unknown), None, "{unknown}");
        }
        assert_eq!(drivers.position(&format!("{:016x}+00000000000003", drivers.seed)), None);
    }

    #[test]
    fn drivers_are_the_same_until_time_moves_them() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
        let later = now + SignedDuration::from_mins(30);
        let mut drivers = Drivers::new("park-3", true);
        assert_eq!(all(&drivers, now), all(&drivers, later), "frozen");
        drivers.frozen = false;
        let (before, after) = (all(&drivers, now), all(&drivers, later));
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!((5_000..9_000).contains(&moved), "{moved}");
        let soon = all(&drivers, now + SignedDuration::from_secs(9));
        let moved = before.iter().zip(&soon).filter(|(a, b)| a != b).count();
        assert!((1..300).contains(&moved), "slowly: {moved}");
        let online = |drivers: &[Driver]| {
            drivers.iter().filter(|d| d.current_status == CurrentStatus::Online).count()
        };
        assert!((3_500..4_700).contains(&online(&after)), "{}", online(&after));
        let off_work = |driver: &&Driver| driver.work_status != WorkStatus::Working;
        assert!(after.iter().filter(off_work).all(|d| d.current_status == CurrentStatus::Offline));
    }
}
