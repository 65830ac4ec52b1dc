//! What is near a point of the earth, which is taken for a sphere.

/// Metres; as in the schema's `distance_m`.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Farther away than this is nothing, in metres.
pub const MAX_RADIUS_M: f64 = 20_100_000.0;
/// Degrees by which boxes are wider than they need be, for the rounding of numbers.
const MARGIN: f64 = 1e-5;

/// A circle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// Metres.
    pub radius_m: f64,
}

/// A box in degrees, by which the index is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Box {
    pub west: f64,
    pub south: f64,
    pub east: f64,
    pub north: f64,
}

impl Circle {
    /// Boxes that hold everything in the circle, and more. Where it crosses the antimeridian they are
    /// two, else twice the same; one with a pole in it goes all around.
    pub fn boxes(&self) -> [Box; 2] {
        let angle = self.radius_m / EARTH_RADIUS_M;
        let height = angle.to_degrees() + MARGIN;
        let (south, north) = (self.lat - height, self.lat + height);
        if south <= -90.0 || north >= 90.0 {
            let around =
                Box { west: -180.0, south: south.max(-90.0), east: 180.0, north: north.min(90.0) };
            return [around, around];
        }
        let width =
            (angle.sin() / self.lat.to_radians().cos()).clamp(-1.0, 1.0).asin().to_degrees()
                + MARGIN;
        let (west, east) = (self.lon - width, self.lon + width);
        let part = |west: f64, east: f64| Box { west, south, east, north };
        if width >= 180.0 {
            [part(-180.0, 180.0); 2]
        } else if west < -180.0 {
            [part(-180.0, east), part(west + 360.0, 180.0)]
        } else if east > 180.0 {
            [part(west, 180.0), part(-180.0, east - 360.0)]
        } else {
            [part(west, east); 2]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distance(from: (f64, f64), to: (f64, f64)) -> f64 {
        let sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let cosines = from.0.to_radians().cos() * to.0.to_radians().cos();
        let root = sine(to.0 - from.0) + cosines * sine(to.1 - from.1);
        2.0 * EARTH_RADIUS_M * root.min(1.0).sqrt().asin()
    }

    fn holds(within: &Box, (lat, lon): (f64, f64)) -> bool {
        (within.south..=within.north).contains(&lat) && (within.west..=within.east).contains(&lon)
    }

    /// Points everywhere, and many of them where it is difficult.
    fn points() -> impl Strategy<Value = (f64, f64)> {
        let lat = prop_oneof![-90.0..=90.0, 89.9..=90.0, -90.0..=-89.9, Just(0.0)];
        let lon = prop_oneof![-180.0..=180.0, 179.9..=180.0, -180.0..=-179.9];
        (lat, lon)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn whatever_is_within_the_circle_is_in_a_box(
            centre in points(), point in points(), spare in 0.0_f64..=100.0,
        ) {
            // As large as it must be to hold the point.
            let radius_m = distance(centre, point) + spare;
            let boxes = Circle { lat: centre.0, lon: centre.1, radius_m }.boxes();
            prop_assert!(boxes.iter().any(|within| holds(within, point)), "{boxes:?}");
        }

        #[test]
        fn boxes_are_not_much_larger_than_the_circle(lat in -80.0..=80.0, lon in -180.0..=180.0) {
            let boxes = Circle { lat, lon, radius_m: 1_000.0 }.boxes();
            let width: f64 = boxes.iter().map(|part| part.east - part.west).sum();
            prop_assert!(width < 0.4, "{boxes:?}");
        }
    }
}
