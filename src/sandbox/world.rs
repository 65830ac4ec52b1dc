//! The drivers that several stand-ins know, and what belongs to each: computed from his number, so that
//! a million of them cost nothing.
//!
//! Driver 0 is the first of `park-1`, as `parks` lists them; 25 000 of that park are followed by 12 000
//! of `park-3`, 20 of `park-2`, and 100 each of `park-4`, `park-5`, ... Of fifty drivers the eighth has
//! no licence; of ten the tenth has the licence of the fifth, as another profile of the same person. A
//! licence's number is `77` and eight digits, its id in KRT twelve digits; `personal` knows each number
//! without having been told.

use super::parks::drivers::{mix, seed, usual_count, usual_id};

/// The largest number of drivers.
pub(super) const MOST: u64 = 5_000_000;

const FIRST_PARKS: [&str; 3] = ["park-1", "park-3", "park-2"];
/// Drivers of each of the other parks, which are numbered from this on.
const OTHERS: u64 = 100;
const FIRST_OTHER: u64 = 4;

/// What the ids of licences begin with.
const LICENSES: u64 = 0x11ce_05e5_0000_0000;
/// Of ten digits.
const FIRST_LICENSE: u64 = 7_700_000_000;
const PERSONS: u64 = 100_000_000;
/// No common factor with [`IDS`]: distinct persons have distinct ids.
const STEP: u64 = 387_420_489_017;
const IDS: u64 = 1_000_000_000_000;
/// What undoes [`STEP`]: their product is 1 in numbers of that many digits.
const UNSTEP: u128 = 394_821_081_353;
const KRT_OFFSET: u128 = 17;

/// Categories, from the usual to the rare.
const CATEGORIES: [&[&str]; 8] = [
    &["econom"],
    &["econom", "comfort"],
    &["econom", "comfort", "comfortplus"],
    &["comfort", "comfortplus", "business"],
    &["econom", "child_tariff"],
    &["business", "vip"],
    &["cargo"],
    &[],
];

/// A driver as the stand-ins know him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxDriver {
    /// His park.
    pub park_id: String,
    /// His id in that park.
    pub driver_id: String,
    /// His licence; some have none.
    pub license: Option<SandboxLicense>,
    /// In which categories he works.
    pub categories: Vec<&'static str>,
}

/// A licence as the stand-ins know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxLicense {
    /// What `personal` calls its number.
    pub pd_id: String,
    /// Its number.
    pub number: String,
    /// Its holder's id in KRT.
    pub krt_id: String,
}

impl SandboxDriver {
    /// The driver with this number, whether or not that many are served.
    #[must_use]
    pub fn of(index: u64) -> Self {
        let (park_id, position) = place(index);
        Self {
            driver_id: usual_id(seed(&park_id), position),
            park_id,
            license: person(index).map(SandboxLicense::of),
            categories: categories(index).to_vec(),
        }
    }
}

impl SandboxLicense {
    fn of(person: u64) -> Self {
        Self {
            pd_id: license_pd_id(person),
            number: license_number(person),
            krt_id: krt_id(person),
        }
    }
}

/// Park and position in it.
pub(super) fn place(index: u64) -> (String, u64) {
    let mut index = index;
    for park in FIRST_PARKS {
        let count = usual_count(park);
        if index < count {
            return (park.to_owned(), index);
        }
        index -= count;
    }
    (format!("park-{}", FIRST_OTHER + index / OTHERS), index % OTHERS)
}

/// A driver's number, if he is one of these.
pub(super) fn index(park_id: &str, driver_id: &str) -> Option<u64> {
    let (first, count) = range(park_id)?;
    let position = driver_id.strip_prefix(&format!("{:016x}", seed(park_id)))?;
    let position = u64::from_str_radix(position, 16).ok()?;
    let is_his = position < count && usual_id(seed(park_id), position) == driver_id;
    is_his.then_some(first + position)
}

/// The number of a park's first driver, and how many there are.
fn range(park_id: &str) -> Option<(u64, u64)> {
    let mut first = 0;
    for park in FIRST_PARKS {
        let count = usual_count(park);
        if park == park_id {
            return Some((first, count));
        }
        first += count;
    }
    let number: u64 = park_id.strip_prefix("park-")?.parse().ok()?;
    let other = number.checked_sub(FIRST_OTHER)?;
    Some((first + other.checked_mul(OTHERS)?, OTHERS))
}

/// Whose licence a driver has.
pub(super) fn person(index: u64) -> Option<u64> {
    match (index % 50, index % 10) {
        (7, _) => None,
        (_, 9) => Some(index - 5),
        _ => Some(index),
    }
}

pub(super) fn categories(index: u64) -> &'static [&'static str] {
    let choice = match mix(index) % 100 {
        0..35 => 0,
        35..65 => 1,
        65..80 => 2,
        80..86 => 3,
        86..90 => 4,
        90..93 => 5,
        93..98 => 6,
        _ => 7,
    };
    CATEGORIES.get(choice).copied().unwrap_or_default()
}

pub(super) fn license_number(person: u64) -> String {
    format!("{}", FIRST_LICENSE + person % PERSONS)
}

pub(super) fn license_pd_id(person: u64) -> String {
    format!("{LICENSES:016x}{person:016x}")
}

pub(super) fn krt_id(person: u64) -> String {
    format!("{:012}", (u128::from(person) * u128::from(STEP) + KRT_OFFSET) % u128::from(IDS))
}

/// Who has this id in KRT.
pub(super) fn person_of_krt_id(id: &str) -> Option<u64> {
    let number = id.parse::<u128>().ok()?;
    let ids = u128::from(IDS);
    let person = (number + ids - KRT_OFFSET % ids) % ids * UNSTEP % ids;
    let person = u64::try_from(person).ok()?;
    (person < PERSONS && krt_id(person) == id).then_some(person)
}

/// Whose licence has this number.
pub(super) fn person_of_number(number: &str) -> Option<u64> {
    let person = number.parse::<u64>().ok()?.checked_sub(FIRST_LICENSE)?;
    (person < PERSONS && license_number(person) == number).then_some(person)
}

/// Whose licence has this id.
pub(super) fn person_of_pd_id(id: &str) -> Option<u64> {
    let person = u64::from_str_radix(id.strip_prefix(&format!("{LICENSES:016x}"))?, 16).ok()?;
    (person < PERSONS && license_pd_id(person) == id).then_some(person)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_driver_and_his_number_belong_together() {
        for number in [0, 24_999, 25_000, 37_000, 37_020, 37_119, 37_120, 999_999] {
            let driver = SandboxDriver::of(number);
            assert_eq!(index(&driver.park_id, &driver.driver_id), Some(number));
            assert_eq!(index(&driver.park_id, &driver.driver_id[1..]), None);
        }
        assert_eq!(SandboxDriver::of(37_020).park_id, "park-4");
        assert_eq!(index("park-1", "x"), None);
        assert_eq!(index("park-99999999999999999999", "x"), None);
    }

    #[test]
    fn licences_are_found_by_number_and_by_id() {
        let license = SandboxDriver::of(123_456).license.unwrap();
        assert_eq!(license.number, "7700123456");
        assert_eq!(person_of_number(&license.number), Some(123_456));
        assert_eq!(person_of_pd_id(&license.pd_id), Some(123_456));
        assert_eq!(person_of_number("77001234560"), None);
        assert_eq!(person_of_number("7700 123456"), None);
        assert_eq!(SandboxDriver::of(7).license, None);
        assert_eq!(SandboxDriver::of(9).license, SandboxDriver::of(4).license);
        assert_eq!(license.krt_id.len(), 12);
        assert_eq!(person_of_krt_id(&license.krt_id), Some(123_456));
        assert_eq!(person_of_krt_id("999999999999"), None);
        let ids: HashSet<_> = (0..100_000).map(krt_id).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
