//! Random operations over two instances, beside a model of what must come out of each and of how
//! everything must be after it.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

const STEPS: usize = 400;
const CONFIG: &str = "[scooter_accumulator]\nsweep_ms = 50\n";
/// Where the cabinets stand on a line, in hundredths of a degree: no two are equally far from a third.
const POSITIONS: [i32; 4] = [0, 1, 3, 7];

#[derive(Debug, Clone, PartialEq)]
enum Op {
    MakeCabinet(usize, i32),
    CutCabinet(usize, i32),
    DropCabinet(usize),
    Make(String, i32, Value),
    Put(String, i32, Value),
    Drop(String),
    Book { cabinet: usize, kind: &'static str, count: i32, min_charge: Option<i32> },
    Cancel(usize),
    Expire(usize),
    Swap { scooter: String, technician: String, full: String, flat: Option<String> },
}

#[derive(Debug, Clone)]
struct Kept {
    id: String,
    cabinet: usize,
    /// Cells, and what is to be taken out of each.
    cells: BTreeMap<i32, Option<String>>,
    status: &'static str,
    gone: bool,
}

/// How everything is.
#[derive(Debug, Default)]
struct Model {
    /// Cells of each cabinet.
    cabinets: BTreeMap<usize, i32>,
    /// Charge and place.
    accumulators: BTreeMap<String, (i32, Value)>,
    bookings: Vec<Kept>,
}

/// What must be answered: a status, and a code if it is a refusal.
type Expected = (u16, Option<&'static str>);

fn cabinet_id(number: usize) -> String {
    format!("c{number}")
}

impl Model {
    fn is_kept(&self, cabinet: usize, n: i32) -> bool {
        let mut live = self.bookings.iter().filter(|kept| kept.status == "active" && !kept.gone);
        live.any(|kept| kept.cabinet == cabinet && kept.cells.contains_key(&n))
    }

    fn is_booked(&self, id: &str) -> bool {
        let mut live = self.bookings.iter().filter(|kept| kept.status == "active" && !kept.gone);
        live.any(|kept| kept.cells.values().flatten().any(|kept| kept == id))
    }

    fn inside(&self, cabinet: usize, n: i32) -> Option<(&String, i32)> {
        let place = cell(&cabinet_id(cabinet), n);
        let found = self.accumulators.iter().find(|(_, (_, at))| *at == place);
        found.map(|(id, (charge, _))| (id, *charge))
    }

    /// Free cells with something to take out: the most charged first.
    fn available(&self, cabinet: usize, min_charge: Option<i32>) -> Vec<(i32, String)> {
        let cells = 1..=self.cabinets.get(&cabinet).copied().unwrap_or(0);
        let mut found: Vec<(i32, i32, String)> = cells
            .filter(|n| !self.is_kept(cabinet, *n))
            .filter_map(|n| self.inside(cabinet, n).map(|(id, charge)| (n, charge, id.clone())))
            // From 80 % on it counts as charged.
            .filter(|(_, charge, _)| *charge >= min_charge.unwrap_or(80))
            .collect();
        found.sort_by_key(|(n, charge, _)| (-charge, *n));
        found.into_iter().map(|(n, _, id)| (n, id)).collect()
    }

    fn empty(&self, cabinet: usize) -> Vec<i32> {
        let cells = 1..=self.cabinets.get(&cabinet).copied().unwrap_or(0);
        cells.filter(|n| !self.is_kept(cabinet, *n) && self.inside(cabinet, *n).is_none()).collect()
    }

    fn counts(&self, cabinet: usize) -> Value {
        let cells = self.cabinets[&cabinet];
        let booked =
            i32::try_from((1..=cells).filter(|n| self.is_kept(cabinet, *n)).count()).unwrap();
        let available = i32::try_from(self.available(cabinet, None).len()).unwrap();
        let empty = i32::try_from(self.empty(cabinet).len()).unwrap();
        counts(available, cells - booked - available - empty, empty, booked, 0)
    }

    /// A cell behind `from` has something in it or is booked.
    fn in_use(&self, cabinet: usize, from: i32) -> bool {
        (from + 1..=self.cabinets[&cabinet])
            .any(|n| self.is_kept(cabinet, n) || self.inside(cabinet, n).is_some())
    }

    /// What stands against a place, before it is looked at what is in it.
    fn no_place(&self, place: &Value) -> Option<Expected> {
        let cabinet = place["cabinet_id"].as_str()?;
        let number: usize = cabinet[1..].parse().unwrap();
        match self.cabinets.get(&number) {
            None => Some((404, Some("cabinet_not_found"))),
            Some(cells) if place["cell"].as_i64().unwrap() > i64::from(*cells) => {
                Some((400, Some("invalid_request")))
            }
            Some(_) => None,
        }
    }

    fn not_free(&self, place: &Value) -> Option<Expected> {
        let cabinet: usize = place["cabinet_id"].as_str()?[1..].parse().unwrap();
        let n = i32::try_from(place["cell"].as_i64().unwrap()).unwrap();
        if self.inside(cabinet, n).is_some() {
            return Some((409, Some("cell_occupied")));
        }
        self.is_kept(cabinet, n).then_some((409, Some("cell_booked")))
    }

    /// Applies an operation that is no booking; returns what must be answered.
    fn apply(&mut self, op: &Op) -> Expected {
        match op {
            Op::MakeCabinet(number, cells) => {
                if self.cabinets.contains_key(number) {
                    return (409, Some("cabinet_exists"));
                }
                self.cabinets.insert(*number, *cells);
                (201, None)
            }
            Op::CutCabinet(number, cells) => {
                let Some(known) = self.cabinets.get(number).copied() else {
                    return (404, Some("cabinet_not_found"));
                };
                if *cells < known && self.in_use(*number, *cells) {
                    return (409, Some("cells_in_use"));
                }
                self.cabinets.insert(*number, *cells);
                (200, None)
            }
            Op::DropCabinet(number) => {
                if self.cabinets.contains_key(number) && self.in_use(*number, 0) {
                    return (409, Some("cabinet_in_use"));
                }
                self.cabinets.remove(number);
                for kept in self.bookings.iter_mut().filter(|kept| kept.cabinet == *number) {
                    kept.gone = true;
                }
                (204, None)
            }
            Op::Make(id, charge, place) => {
                if let Some(refused) = self.no_place(place) {
                    return refused;
                }
                if self.accumulators.contains_key(id) {
                    return (409, Some("accumulator_exists"));
                }
                if let Some(refused) = self.not_free(place) {
                    return refused;
                }
                self.accumulators.insert(id.clone(), (*charge, place.clone()));
                (201, None)
            }
            Op::Put(id, charge, place) => {
                if let Some(refused) = self.no_place(place) {
                    return refused;
                }
                let Some((_, known)) = self.accumulators.get(id) else {
                    return (404, Some("accumulator_not_found"));
                };
                if known != place {
                    if self.is_booked(id) {
                        return (409, Some("accumulator_booked"));
                    }
                    if let Some(refused) = self.not_free(place) {
                        return refused;
                    }
                }
                self.accumulators.insert(id.clone(), (*charge, place.clone()));
                (200, None)
            }
            Op::Drop(id) => {
                if self.is_booked(id) {
                    return (409, Some("accumulator_booked"));
                }
                self.accumulators.remove(id);
                for kept in self.bookings.iter_mut().flat_map(|kept| kept.cells.values_mut()) {
                    if kept.as_ref() == Some(id) {
                        *kept = None;
                    }
                }
                (204, None)
            }
            Op::Cancel(number) => {
                let Some(kept) = self.bookings.get_mut(*number).filter(|kept| !kept.gone) else {
                    return (404, Some("booking_not_found"));
                };
                if kept.status == "expired" {
                    return (409, Some("booking_not_active"));
                }
                kept.status = "cancelled";
                (204, None)
            }
            Op::Swap { scooter: at, technician, full, flat } => {
                self.swap(at, technician, full, flat.as_deref())
            }
            Op::Book { .. } | Op::Expire(_) => unreachable!("done apart"),
        }
    }

    fn swap(&mut self, at: &str, technician: &str, full: &str, flat: Option<&str>) -> Expected {
        let place = |model: &Self, id: &str| model.accumulators.get(id).map(|(_, at)| at.clone());
        if flat == Some(full) {
            return (400, Some("invalid_request"));
        }
        match place(self, full) {
            None => return (404, Some("accumulator_not_found")),
            Some(at) if at != contractor(technician) => {
                return (409, Some("charged_accumulator_elsewhere"));
            }
            Some(_) => {}
        }
        match flat.map(|flat| place(self, flat)) {
            Some(None) => return (404, Some("accumulator_not_found")),
            Some(Some(is)) if is != scooter(at) => {
                return (409, Some("discharged_accumulator_elsewhere"));
            }
            None if self.accumulators.values().any(|(_, is)| *is == scooter(at)) => {
                return (409, Some("scooter_occupied"));
            }
            _ => {}
        }
        self.accumulators.get_mut(full).unwrap().1 = scooter(at);
        if let Some(flat) = flat {
            self.accumulators.get_mut(flat).unwrap().1 = contractor(technician);
        }
        (200, None)
    }

    /// The other cabinets that could be booked, the nearest first.
    fn alternatives(&self, at: usize, could: impl Fn(usize) -> bool) -> Vec<String> {
        let mut found: Vec<usize> =
            self.cabinets.keys().copied().filter(|other| *other != at && could(*other)).collect();
        found.sort_by_key(|other| (POSITIONS[*other] - POSITIONS[at]).abs());
        found.into_iter().map(cabinet_id).collect()
    }
}

fn random_place(random: &mut StdRng) -> Value {
    match random.random_range(0..10) {
        0 => Value::Null,
        1 | 2 => contractor(["t", "u"].choose(random).unwrap()),
        3 => scooter(["s0", "s1"].choose(random).unwrap()),
        _ => cell(&cabinet_id(random.random_range(0..4)), random.random_range(1..=6)),
    }
}

fn random_op(random: &mut StdRng, bookings: usize) -> Op {
    let cabinet = random.random_range(0..4);
    let id = |random: &mut StdRng| format!("a{}", random.random_range(0..10));
    let charge = random.random_range(0..=100);
    // Of any booking, or of none; the latest more often.
    let booking = bookings.saturating_sub(random.random_range(0..6));
    match random.random_range(0..100) {
        0..13 => Op::MakeCabinet(cabinet, random.random_range(2..=6)),
        13..16 => Op::CutCabinet(cabinet, random.random_range(1..=6)),
        16..17 => Op::DropCabinet(cabinet),
        17..34 => Op::Make(id(random), charge, random_place(random)),
        34..50 => Op::Put(id(random), charge, random_place(random)),
        50..54 => Op::Drop(id(random)),
        54..74 => {
            let kind = ["pickup", "return"].choose(random).copied().unwrap();
            let least = kind == "pickup" && random.random_bool(0.5);
            let min_charge = least.then(|| random.random_range(0..=100));
            Op::Book { cabinet, kind, count: random.random_range(1..=3), min_charge }
        }
        74..82 => Op::Cancel(booking),
        82..88 => Op::Expire(booking),
        _ => Op::Swap {
            scooter: (*["s0", "s1"].choose(random).unwrap()).to_owned(),
            technician: (*["t", "u"].choose(random).unwrap()).to_owned(),
            full: id(random),
            flat: random.random_bool(0.5).then(|| id(random)),
        },
    }
}

fn position(cabinet: usize) -> f64 {
    55.0 + f64::from(POSITIONS[cabinet]) / 100.0
}

/// Sends an operation that is no booking.
async fn send(backend: &Caller, model: &Model, op: &Op) -> Reply {
    let said = |number: usize, cells: i32| json!({ "id": cabinet_id(number), "lat": position(number), "lon": 37, "cell_count": cells });
    match op {
        Op::MakeCabinet(number, cells) => backend.post("cabinets", said(*number, *cells)).await,
        Op::CutCabinet(number, cells) => {
            backend.put(&format!("cabinets/{}", cabinet_id(*number)), said(*number, *cells)).await
        }
        Op::DropCabinet(number) => {
            backend.delete(&format!("cabinets/{}", cabinet_id(*number))).await
        }
        Op::Make(id, charge, place) => {
            let body = json!({ "id": id, "charge": charge, "place": place });
            backend.post("accumulators", body).await
        }
        Op::Put(id, charge, place) => {
            let body = json!({ "charge": charge, "place": place });
            backend.put(&format!("accumulators/{id}"), body).await
        }
        Op::Drop(id) => backend.delete(&format!("accumulators/{id}")).await,
        Op::Cancel(number) => {
            let nobody = "01a1fc16-07a1-709c-957b-cafc67055379";
            let id = model.bookings.get(*number).map_or(nobody, |kept| kept.id.as_str());
            backend.delete(&format!("bookings/{id}")).await
        }
        Op::Swap { scooter, technician, full, flat } => {
            let mut body = json!({ "contractor_id": technician, "charged_accumulator_id": full });
            if let Some(flat) = flat {
                body["discharged_accumulator_id"] = json!(flat);
            }
            backend.post(&format!("scooters/{scooter}/swap"), body).await
        }
        Op::Book { .. } | Op::Expire(_) => unreachable!("done apart"),
    }
}

/// Books, beside the model; what was chosen must be what the model would choose.
async fn book(backend: &Caller, model: &mut Model, op: &Op) {
    let Op::Book { cabinet, kind, count, min_charge } = op else { unreachable!() };
    let mut body = booking(&cabinet_id(*cabinet), kind, *count);
    if let Some(least) = min_charge {
        body["min_charge"] = json!(least);
    }
    let reply = backend.post("bookings", body).await;
    if !model.cabinets.contains_key(cabinet) {
        reply.problem(404, "cabinet_not_found");
        return;
    }
    let wanted = usize::try_from(*count).unwrap();
    let free = |number: usize| -> Vec<(i32, Option<String>)> {
        if *kind == "pickup" {
            let found = model.available(number, *min_charge);
            found.into_iter().map(|(n, id)| (n, Some(id))).collect()
        } else {
            model.empty(number).into_iter().map(|n| (n, None)).collect()
        }
    };
    let mut cells = free(*cabinet);
    if cells.len() < wanted {
        let code = if *kind == "pickup" { "not_enough_accumulators" } else { "not_enough_cells" };
        let refused = reply.problem(409, code);
        let could = model.alternatives(*cabinet, |other| free(other).len() >= wanted);
        let named = refused["alternatives"].as_array().unwrap();
        let named: Vec<&str> = named.iter().map(|other| other["id"].as_str().unwrap()).collect();
        assert_eq!(named, could, "{op:?}");
        return;
    }
    cells.truncate(wanted);
    let cells: BTreeMap<i32, Option<String>> = cells.into_iter().collect();
    let made = reply.expect(201);
    assert_eq!(cells_of(&made), cells, "{op:?}");
    let id = id_of(&made);
    model.bookings.push(Kept { id, cabinet: *cabinet, cells, status: "active", gone: false });
}

fn cells_of(booking: &Value) -> BTreeMap<i32, Option<String>> {
    let cells = booking["cells"].as_array().unwrap().iter();
    let of = |cell: &Value| {
        let n = i32::try_from(cell["n"].as_i64().unwrap()).unwrap();
        (n, cell["accumulator_id"].as_str().map(str::to_owned))
    };
    cells.map(of).collect()
}

/// Cabinets with their counts, and accumulators with their places, are as the model has them.
async fn compare(backend: &Caller, model: &Model, op: &Op) {
    let list = backend.get("cabinets?near=55,37").await.expect(200);
    let found: BTreeMap<String, Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (id_of(item), json!([item["cell_count"], item["counts"]])))
        .collect();
    let expected: BTreeMap<String, Value> = model
        .cabinets
        .iter()
        .map(|(number, cells)| (cabinet_id(*number), json!([cells, model.counts(*number)])))
        .collect();
    assert_eq!(found, expected, "after {op:?}\n{model:#?}");
    let list = backend.get("accumulators").await.expect(200);
    let found: BTreeMap<String, (i32, Value)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let charge = i32::try_from(item["charge"].as_i64().unwrap()).unwrap();
            (id_of(item), (charge, item["place"].clone()))
        })
        .collect();
    assert_eq!(found, model.accumulators, "after {op:?}");
}

async fn compare_bookings(backend: &Caller, model: &Model) {
    for kept in &model.bookings {
        let reply = backend.get(&format!("bookings/{}", kept.id)).await;
        if kept.gone {
            reply.problem(404, "booking_not_found");
            continue;
        }
        let booking = reply.expect(200);
        assert_eq!(booking["status"], kept.status, "{kept:?}");
        // Cells of a cabinet that was cut are gone from what has ended.
        let cells = cells_of(&booking);
        assert!(cells.iter().all(|(n, id)| kept.cells.get(n) == Some(id)), "{kept:?}: {booking}");
        assert!(kept.status != "active" || cells.len() == kept.cells.len(), "{kept:?}");
    }
}

async fn run(seed: u64) {
    let world = World::with(CONFIG).await;
    let other = world.another(CONFIG).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    for step in 0..STEPS {
        let op = random_op(&mut random, model.bookings.len());
        let backend = if random.random_bool(0.5) { &world.backend } else { &other.backend };
        match &op {
            Op::Book { .. } => book(backend, &mut model, &op).await,
            Op::Expire(number) => {
                let kept = model.bookings.get_mut(*number);
                if let Some(kept) = kept.filter(|kept| kept.status == "active" && !kept.gone) {
                    world.let_expire(&kept.id).await;
                    kept.status = "expired";
                }
            }
            op => {
                let reply = send(backend, &model, op).await;
                let (status, code) = model.apply(op);
                let body = if reply.body.is_empty() { Value::Null } else { reply.json() };
                let answered = (reply.status, body["code"].as_str());
                assert_eq!(answered, (status, code), "seed {seed}, step {step}: {op:?}: {body}");
            }
        }
        compare(&other.backend, &model, &op).await;
        if step % 25 == 0 {
            compare_bookings(&world.backend, &model).await;
        }
    }
    compare_bookings(&world.backend, &model).await;
    world.assert_sound().await;
    assert!(model.bookings.len() > 10, "the operations are too poor: {}", model.bookings.len());
}

#[actix_web::test]
async fn random_operations_come_out_as_the_model_says_1() {
    run(1).await;
}

#[actix_web::test]
async fn random_operations_come_out_as_the_model_says_2() {
    run(2).await;
}

#[actix_web::test]
async fn random_operations_come_out_as_the_model_says_3() {
    run(3).await;
}
