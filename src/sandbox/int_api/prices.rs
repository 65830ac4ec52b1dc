//! Prices and arrival times: the same for the same way and class, every time.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::body::{Body, Point, Refusal};

const EARTH_RADIUS_METRES: f64 = 6_371_000.0;
/// Twice around the Earth: no way is longer.
const FARTHEST_METRES: f64 = 80_000_000.0;
/// Streets are not straight lines: metres on the road for 100 as the crow flies.
const DETOUR_PERCENT: u64 = 130;

#[derive(Serialize)]
pub(super) struct Prices {
    offer_id: String,
    currency: String,
    estimates: Vec<Estimate>,
}

#[derive(Serialize)]
struct Estimate {
    class: String,
    price: String,
    eta_seconds: u64,
}

/// Hundredths of the currency, to start and for each kilometre.
fn tariff(class: &str) -> (u64, u64) {
    match class {
        "econom" => (9_900, 1_800),
        "comfort" => (14_900, 2_400),
        "business" => (29_900, 4_500),
        other => (10_000 + (other.len() as u64) * 500, 2_000),
    }
}

/// The currency is that of the body, as the park's is not known here.
pub(super) fn estimate(body: &Body) -> Result<Prices, Refusal> {
    let (route, classes) = (body.route()?, body.classes()?);
    let currency: Option<String> = body.optional("currency")?;
    let metres = metres(&route) * DETOUR_PERCENT / 100;
    let estimates = classes.iter().map(|class| {
        let (start, per_kilometre) = tariff(class);
        let price = start + per_kilometre * metres / 1_000;
        Estimate {
            class: class.clone(),
            price: format!("{}.{:02}", price / 100, price % 100),
            eta_seconds: 120 + start / 100,
        }
    });
    Ok(Prices {
        offer_id: offer_id(body),
        currency: currency.unwrap_or_else(|| "RUB".into()),
        estimates: estimates.collect(),
    })
}

fn offer_id(body: &Body) -> String {
    let mut hash = Sha256::new();
    hash.update(&body.park_id);
    for name in ["route", "classes", "due"] {
        hash.update([0]);
        hash.update(body.fields.get(name).map(|raw| raw.get()).unwrap_or_default());
    }
    hash.finalize().iter().take(16).fold(String::from("offer-"), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn metres(route: &[Point]) -> u64 {
    let way = route.windows(2).filter_map(|pair| match pair {
        [from, to] => Some(haversine(from, to)),
        _ => None,
    });
    let metres = way.sum::<f64>().round().clamp(0.0, FARTHEST_METRES);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was just rounded and is within bounds"
    )]
    let metres = metres as u64;
    metres
}

fn haversine(from: &Point, to: &Point) -> f64 {
    let (from_lat, to_lat) = (from.lat.to_radians(), to.lat.to_radians());
    let lat = ((to_lat - from_lat) / 2.0).sin().powi(2);
    let lon = ((to.lon - from.lon).to_radians() / 2.0).sin().powi(2);
    let chord = from_lat.cos().mul_add(to_lat.cos() * lon, lat);
    2.0 * EARTH_RADIUS_METRES * chord.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prices(route: &serde_json::Value) -> serde_json::Value {
        let body = json!({"park_id": "park-1", "route": route, "classes": ["econom", "business"]});
        let body = Body::parse(body.to_string().as_bytes()).unwrap();
        serde_json::to_value(estimate(&body).unwrap()).unwrap()
    }

    #[test]
    fn a_price_depends_on_the_way_and_the_class() {
        let point = |lat: f64| json!({"lat": lat, "lon": 37.6, "address": "Москва"});
        let near = prices(&json!([point(55.75)]));
        assert_eq!(near["estimates"][0]["price"], "99.00");
        assert_eq!(near["estimates"][1]["price"], "299.00");
        assert_eq!(near["currency"], "RUB");
        // A tenth of a degree of latitude: 11.1 km, 14.5 km by road.
        let far = prices(&json!([point(55.75), point(55.85)]));
        let price = far["estimates"][0]["price"].as_str().unwrap().to_owned();
        assert!(price.starts_with("359.") && price.len() == 6, "{price}");
        assert_eq!(far, prices(&json!([point(55.75), point(55.85)])));
        assert_ne!(far["offer_id"], near["offer_id"]);
    }
}
