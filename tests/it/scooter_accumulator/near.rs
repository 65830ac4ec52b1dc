//! The search for the nearest cabinets, beside a plain one.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::support::eventually;

const EARTH_RADIUS_M: f64 = 6_371_008.8;

#[derive(Debug, Clone, Copy)]
struct Point {
    lat: f64,
    lon: f64,
}

impl Point {
    fn distance_m(self, other: Self) -> f64 {
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let cosines = self.lat.to_radians().cos() * other.lat.to_radians().cos();
        let root = half(other.lat - self.lat) + cosines * half(other.lon - self.lon);
        2.0 * EARTH_RADIUS_M * root.min(1.0).sqrt().asin()
    }

    /// A point somewhere, often where searching is difficult.
    fn random(random: &mut StdRng) -> Self {
        let lat = match random.random_range(0..5) {
            0 => 89.9 + random.random_range(0.0..=0.1),
            1 => -89.9 - random.random_range(0.0..=0.1),
            2 => random.random_range(55.0..56.0),
            _ => random.random_range(-90.0..=90.0),
        };
        let lon = match random.random_range(0..4) {
            0 => 179.5 + random.random_range(0.0..=0.5),
            1 => -179.5 - random.random_range(0.0..=0.5),
            2 => random.random_range(37.0..38.0),
            _ => random.random_range(-180.0..=180.0),
        };
        Self { lat, lon }
    }
}

/// Makes cabinets of one cell each, quicker than by calls; every third has an accumulator of 90 %.
async fn fill(world: &World, points: &[Point]) {
    let rows: Vec<String> = (0..)
        .zip(points)
        .map(|(number, point)| format!("('c{number:05}', {}, {}, 1)", point.lat, point.lon))
        .collect();
    let sql = format!(
        "INSERT INTO scooter_accumulator.cabinets (id, lat, lon, cell_count) VALUES {}; \
         INSERT INTO scooter_accumulator.cells (cabinet_id, n, state) SELECT id, 1, \
           CASE WHEN substr(id, 2)::integer % 3 = 0 THEN 'charged' ELSE 'empty' END::scooter_accumulator.cell_state \
           FROM scooter_accumulator.cabinets; \
         INSERT INTO scooter_accumulator.accumulators (id, charge, cabinet_id, cell) \
           SELECT 'a-' || cabinet_id, 90, cabinet_id, 1 FROM scooter_accumulator.cells WHERE state = 'charged'; \
         ANALYZE scooter_accumulator.cabinets, scooter_accumulator.cells, scooter_accumulator.accumulators",
        rows.join(", ")
    );
    world.app.database().execute(&sql).await;
}

/// What a plain search finds: ids with distances, the nearest first.
fn plain(points: &[Point], centre: Point, radius_m: f64, available: bool) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = (0..)
        .zip(points)
        .filter(|(number, _)| !available || number % 3 == 0)
        .map(|(number, point)| (format!("c{number:05}"), centre.distance_m(*point)))
        .filter(|(_, distance)| *distance <= radius_m)
        .collect();
    found.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
    found
}

/// All pages of a search.
async fn search(world: &World, query: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("cabinets?{query}&limit={limit}");
    loop {
        let page = world.backend.get(&path).await.expect(200);
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { return found };
        assert_eq!(page["items"].as_array().unwrap().len(), limit);
        path = format!("cabinets?{query}&limit={limit}&cursor={next}");
    }
}

#[actix_web::test]
async fn it_finds_what_a_plain_search_finds_everywhere_on_earth() {
    let world = World::start().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut points: Vec<Point> = (0..400).map(|_| Point::random(&mut random)).collect();
    // Exactly where it is most difficult, and several in one place.
    for (lat, lon) in
        [(90.0, 0.0), (90.0, 17.0), (-90.0, 5.0), (0.0, 180.0), (0.0, -180.0), (0.0, 0.0)]
    {
        points.extend([Point { lat, lon }; 2]);
    }
    fill(&world, &points).await;
    for round in 0..60 {
        let centre = match round {
            0 => Point { lat: 90.0, lon: 0.0 },
            1 => Point { lat: -90.0, lon: 180.0 },
            2 => Point { lat: 0.0, lon: 180.0 },
            3 => Point { lat: 0.0, lon: -180.0 },
            _ => Point::random(&mut random),
        };
        let radius_m = 10_f64.powf(random.random_range(2.0..7.3));
        let available = round % 2 == 1;
        let mut query = format!("near={},{}&radius_m={radius_m}", centre.lat, centre.lon);
        if available {
            query += "&available=1";
        }
        let expected = plain(&points, centre, radius_m, available);
        let found = search(&world, &query, 50).await;
        assert_eq!(found.len(), expected.len(), "{query}");
        for (found, (_, distance)) in found.iter().zip(&expected) {
            // Ids of equal distances may differ by rounding; distances may not.
            let shown = found["distance_m"].as_f64().unwrap();
            assert!((shown - distance).abs() < 0.2, "{query}: {found}, {distance}");
        }
        let mut ids: Vec<&str> = found.iter().map(|item| item["id"].as_str().unwrap()).collect();
        let mut expected: Vec<&str> = expected.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected, "{query}");
    }
}

#[actix_web::test]
async fn without_a_radius_all_are_found_the_nearest_first() {
    let world = World::start().await;
    let mut random = StdRng::seed_from_u64(8);
    let points: Vec<Point> = (0..50).map(|_| Point::random(&mut random)).collect();
    fill(&world, &points).await;
    let found = search(&world, "near=55.75,37.61", 7).await;
    assert_eq!(found.len(), points.len());
    let distances: Vec<f64> =
        found.iter().map(|item| item["distance_m"].as_f64().unwrap()).collect();
    assert!(distances.is_sorted(), "{distances:?}");
    assert_eq!(found[0]["counts"].as_object().unwrap().len(), 5);
}

#[actix_web::test]
async fn the_index_is_used_and_only_what_is_near_is_read() {
    // Nobody else reads the tables meanwhile.
    let quiet = "[scooter_accumulator]\ngauges_ms = 600000\nsweep_ms = 60000";
    let world = World::with(quiet).await;
    let mut random = StdRng::seed_from_u64(9);
    let points: Vec<Point> = (0..20_000)
        .map(|_| Point {
            lat: random.random_range(-60.0..60.0),
            lon: random.random_range(-180.0..180.0),
        })
        .collect();
    fill(&world, &points).await;
    let scans = "SELECT \
         (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'cabinets_place')::bigint, \
         (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'cabinets' \
          AND schemaname = 'scooter_accumulator')::bigint, \
         (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'cells')::bigint";
    let read = async || {
        let rows = world.app.database().query(scans, &[]).await;
        (rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1), rows[0].get::<_, i64>(2))
    };
    // A session's reading is in the statistics when it has ended.
    let filled = i64::try_from(points.len()).unwrap();
    eventually("what the filling read is in the statistics", async || {
        let (_, cabinets, cells) = read().await;
        cabinets >= filled && cells >= filled
    })
    .await;
    // More often than a plan is made for the values at hand.
    let search = async || {
        let mut found = 0;
        let before = read().await;
        for centre in points.iter().take(20) {
            let query = format!("near={},{}&radius_m=100000&available=1", centre.lat, centre.lon);
            let near = world.backend.get(&format!("cabinets?{query}")).await.expect(200);
            found += near["items"].as_array().unwrap().len();
        }
        assert!(found >= 7, "{found}");
        eventually("the statistics show it", async || read().await.0 >= before.0 + 20).await;
        let after = read().await;
        (after.1, after.2) == (before.1, before.2)
    };
    // What was read at the start may be in the statistics late.
    eventually("no table is read through", search).await;
}

#[actix_web::test]
async fn what_is_no_place_is_refused() {
    let world = World::start().await;
    for query in [
        "near=91,0",
        "near=0,181",
        "near=NaN,0",
        "near=1",
        "near=",
        "near=1,1,1",
        "near=1,1&radius_m=0",
        "near=1,1&radius_m=-5",
        "near=1,1&radius_m=1e9",
        "near=1,1&radius_m=NaN",
        "near=1,1&radius_m=inf",
        "radius_m=100",
    ] {
        world.backend.get(&format!("cabinets?{query}")).await.problem(400, "invalid_query");
    }
}
