//! Where the regulator's rules hold: polygons of the configuration.

use geo::{BoundingRect as _, Intersects as _, LineString, Point, Polygon, Rect};
use serde::Deserialize;

use crate::platform::config::Faults;

/// Regions, and points of one polygon, that may be configured.
const MOST_REGIONS: usize = 100;
const MOST_POINTS: usize = 10_000;
/// Longest name: it is a label in metrics.
const MOST_NAME: usize = 32;

/// What may be set of one region.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    /// By which the database remembers it: stays with the region, whatever its place in the list.
    pub id: i16,
    /// Its label in metrics.
    pub name: String,
    /// 1: who may not drive is warned; 2: he gets no orders.
    pub stage: u8,
    /// Its outline: `[latitude, longitude]` in degrees, closed by itself.
    pub polygon: Vec<[f64; 2]>,
}

impl RegionSettings {
    fn check(&self, key: &str, faults: &mut Faults) {
        let mut require = |holds: bool, name: &str, message: &str| {
            faults.require(holds, &format!("{key}.{name}"), message);
        };
        require(self.id >= 1, "id", "must be in 1..=32767");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        require(
            (1..=MOST_NAME).contains(&self.name.len()) && self.name.bytes().all(plain),
            "name",
            "must be 1 to 32 of a-z, 0-9 and _",
        );
        require(matches!(self.stage, 1 | 2), "stage", "must be 1 (warns) or 2 (blocks)");
        let on_earth = |[latitude, longitude]: &[f64; 2]| {
            (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude)
        };
        require(
            (3..=MOST_POINTS).contains(&self.polygon.len()) && self.polygon.iter().all(on_earth),
            "polygon",
            "must be 3 to 10000 points [latitude, longitude] in degrees",
        );
    }
}

/// Notes what is wrong with `regions`.
pub(super) fn check(regions: &[RegionSettings], faults: &mut Faults) {
    faults.require(
        (1..=MOST_REGIONS).contains(&regions.len()),
        "regions",
        "must be 1 to 100 regions",
    );
    for (index, region) in regions.iter().enumerate() {
        region.check(&format!("regions[{index}]"), faults);
        let twice = regions.iter().take(index).any(|other| other.id == region.id);
        faults.require(!twice, &format!("regions[{index}].id"), "is that of another region");
        let twice = regions.iter().take(index).any(|other| other.name == region.name);
        faults.require(!twice, &format!("regions[{index}].name"), "is that of another region");
    }
}

/// What being in a region means to a driver without a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// He is warned.
    Warns,
    /// He gets no orders.
    Blocks,
}

/// One region.
#[derive(Debug)]
pub(super) struct Region {
    pub id: i16,
    pub name: String,
    pub stage: Stage,
    bounds: Rect,
    outline: Polygon,
}

/// All regions. Where they overlap, the first in the configuration counts.
#[derive(Debug)]
pub(super) struct Regions(Vec<Region>);

impl Regions {
    /// Of checked settings.
    pub fn new(settings: &[RegionSettings]) -> Self {
        Self(settings.iter().filter_map(Region::new).collect())
    }

    /// The region that a position lies in; its border belongs to it.
    pub fn at(&self, latitude: f64, longitude: f64) -> Option<&Region> {
        let point = Point::new(longitude, latitude);
        self.0
            .iter()
            .find(|region| region.bounds.intersects(&point) && region.outline.intersects(&point))
    }

    /// The region of that id, if it is still configured.
    pub fn by_id(&self, id: i16) -> Option<&Region> {
        self.0.iter().find(|region| region.id == id)
    }

    /// In the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }
}

impl Region {
    /// None without a single point, which no checked settings have.
    fn new(settings: &RegionSettings) -> Option<Self> {
        let points = settings.polygon.iter().map(|[latitude, longitude]| (*longitude, *latitude));
        let outline = Polygon::new(points.collect::<LineString>(), Vec::new());
        Some(Self {
            id: settings.id,
            name: settings.name.clone(),
            stage: if settings.stage == 2 { Stage::Blocks } else { Stage::Warns },
            bounds: outline.bounding_rect()?,
            outline,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(id: i16, name: &str, from: f64, to: f64) -> RegionSettings {
        let polygon = vec![[from, from], [from, to], [to, to], [to, from]];
        RegionSettings { id, name: name.to_owned(), stage: 1, polygon }
    }

    fn faults(regions: &[RegionSettings]) -> Vec<String> {
        let mut faults = Faults::below("section");
        check(regions, &mut faults);
        faults.into_vec().into_iter().map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn a_position_lies_in_the_first_region_that_holds_it() {
        let regions =
            Regions::new(&[square(7, "inner", 10.0, 20.0), square(3, "outer", 0.0, 30.0)]);
        let at = |latitude, longitude| regions.at(latitude, longitude).map(|region| region.id);
        assert_eq!(at(15.0, 15.0), Some(7));
        assert_eq!(at(10.0, 15.0), Some(7), "the border belongs to it");
        assert_eq!(at(5.0, 15.0), Some(3));
        assert_eq!(at(31.0, 15.0), None);
        assert_eq!(at(f64::NAN, 15.0), None);
        assert_eq!(regions.by_id(3).map(|region| region.name.as_str()), Some("outer"));
    }

    #[test]
    fn a_concave_outline_is_no_box() {
        let polygon = vec![[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [1.0, 1.0], [10.0, 0.0]];
        let settings = RegionSettings { id: 1, name: "angle".into(), stage: 2, polygon };
        let regions = Regions::new(&[settings]);
        assert!(regions.at(0.5, 5.0).is_some());
        assert!(regions.at(8.0, 5.0).is_none());
    }

    #[test]
    fn every_wrong_value_is_named() {
        let good = square(1, "moscow", 0.0, 1.0);
        assert_eq!(faults(std::slice::from_ref(&good)), Vec::<String>::new());
        assert_eq!(faults(&[]).len(), 1);
        assert_eq!(faults(&[good.clone(), good]).len(), 2, "id and name of another");
        let bad = RegionSettings {
            id: 0,
            name: "Москва".into(),
            stage: 3,
            polygon: vec![[91.0, 0.0], [0.0, 0.0], [1.0, f64::NAN]],
        };
        assert_eq!(faults(&[bad]).len(), 4);
    }
}
