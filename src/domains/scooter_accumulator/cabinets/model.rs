//! What clients send and see.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::near::{Circle, MAX_RADIUS_M};
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::http::pagination::Paging;

/// Most cells of a cabinet.
pub const MAX_CELLS: i32 = 1000;

/// A cabinet to be made known.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCabinet {
    /// What it is called in its topics.
    #[garde(skip)]
    pub id: CabinetId,
    /// Degrees.
    #[garde(range(min = -90.0, max = 90.0))]
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees.
    #[garde(range(min = -180.0, max = 180.0))]
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// Its cells are numbered from 1 to this.
    #[garde(range(min = 1, max = MAX_CELLS))]
    #[schema(minimum = 1, maximum = 1000)]
    pub cell_count: i32,
}

/// What a person says of a cabinet.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CabinetEdit {
    /// The same as in the path, if it is given.
    #[serde(default)]
    #[garde(skip)]
    pub id: Option<CabinetId>,
    /// Degrees.
    #[garde(range(min = -90.0, max = 90.0))]
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees.
    #[garde(range(min = -180.0, max = 180.0))]
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// Its cells are numbered from 1 to this. Cells go only when nothing is in them or booked.
    #[garde(range(min = 1, max = MAX_CELLS))]
    #[schema(minimum = 1, maximum = 1000)]
    pub cell_count: i32,
}

/// A cabinet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Cabinet {
    /// What it is called in its topics.
    pub id: CabinetId,
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// Its cells are numbered from 1 to this.
    pub cell_count: i32,
    /// Whether it speaks.
    pub online: bool,
    /// When it spoke last; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
    /// How many cells can be used for what.
    pub counts: Counts,
    /// How far it is from the point that was asked for, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
}

/// Cells by what they can be used for; each is counted once, and one whose door is open not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// With an accumulator that is charged (or of the charge that was asked for) and free to book.
    pub available: i32,
    /// With one that is not.
    pub charging: i32,
    /// Empty and free to book.
    pub empty: i32,
    /// Booked.
    pub booked: i32,
    /// Out of order.
    pub broken: i32,
}

/// Which cabinets are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CabinetQuery {
    /// A point, `LAT,LON` in degrees: the nearest cabinets come first, each with its distance.
    #[param(
        pattern = r"^-?(90(\.0{1,15})?|[0-8]?[0-9](\.[0-9]{1,15})?),-?(180(\.0{1,15})?|(1[0-7])?[0-9](\.[0-9]{1,15})?|[1-9][0-9](\.[0-9]{1,15})?)$"
    )]
    near: Option<String>,
    /// None farther from `near` than this, in metres.
    #[param(minimum = 1, maximum = 20_100_000)]
    radius_m: Option<f64>,
    /// Counts those with at least this charge (percent) as available, charging or not.
    #[param(minimum = 0, maximum = 100)]
    min_charge: Option<i16>,
    /// None with fewer accumulators to book than this; cabinets that are offline have none.
    #[param(minimum = 1, maximum = 1000)]
    available: Option<i32>,
    /// Items in the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 1024)]
    cursor: Option<String>,
}

/// The query, checked.
#[derive(Debug)]
pub struct CabinetSearch {
    pub near: Option<Circle>,
    pub min_charge: Option<i16>,
    pub available: Option<i32>,
    pub paging: Paging,
}

impl CabinetQuery {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// `invalid_query`.
    pub fn check(self) -> Result<CabinetSearch> {
        let near = self.near.as_deref().map(point).transpose()?;
        let radius = self.radius_m;
        must(radius.is_none() || near.is_some(), "radius_m needs near")?;
        let range = 1.0..=MAX_RADIUS_M;
        must(radius.is_none_or(|m| range.contains(&m)), "radius_m must be in 1..=20100000")?;
        let percent = self.min_charge.is_none_or(|charge| (0..=100).contains(&charge));
        must(percent, "min_charge must be in 0..=100")?;
        let some = self.available.is_none_or(|count| (1..=MAX_CELLS).contains(&count));
        must(some, "available must be in 1..=1000")?;
        let circle = |(lat, lon)| Circle { lat, lon, radius_m: radius.unwrap_or(MAX_RADIUS_M) };
        Ok(CabinetSearch {
            near: near.map(circle),
            min_charge: self.min_charge,
            available: self.available,
            paging: Paging::new(self.limit, self.cursor),
        })
    }
}

fn must(holds: bool, rule: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    let detail = format!("The query is not valid: {rule}.");
    Err(Error::new(Kind::InvalidInput, "invalid_query", detail))
}

fn point(text: &str) -> Result<(f64, f64)> {
    let degrees = |text: &str, most: f64| {
        let number: Option<f64> = text.trim().parse().ok();
        number.filter(|number| (-most..=most).contains(number))
    };
    let parsed = text
        .split_once(',')
        .and_then(|(lat, lon)| Some((degrees(lat, 90.0)?, degrees(lon, 180.0)?)));
    must(parsed.is_some(), "near must be LAT,LON in degrees")?;
    Ok(parsed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_two_numbers_of_degrees() {
        for (text, expected) in [
            ("55.75,37.61", Some((55.75, 37.61))),
            ("-90,180", Some((-90.0, 180.0))),
            (" 1 , 2 ", Some((1.0, 2.0))),
            ("90.1,0", None),
            ("0,180.1", None),
            ("NaN,0", None),
            ("inf,0", None),
            ("1", None),
            ("1,2,3", None),
            ("", None),
        ] {
            assert_eq!(point(text).ok(), expected, "{text}");
        }
    }
}
