//! The cabinets of `fleet sandbox`: the same after every start.

use std::sync::Arc;

use super::cabinet::Cell;
use super::{Broker, CabinetOptions, Cabinets, Habit};

const CELLS: usize = 20;
/// How long technicians need at a cabinet.
const AT_THE_CABINET_MS: u64 = 3_000;
/// The middle of the town, and how far cabinets are apart, in degrees.
const MIDDLE: [f64; 2] = [55.7558, 37.6173];
const APART: f64 = 0.01;
/// Cabinets in a row of streets.
const ROW: usize = 5;

/// Adds the cabinets that are asked for, with technicians who act by themselves.
///
/// # Errors
/// The broker's URL is none.
pub(in super::super) fn add(
    cabinets: &Arc<Cabinets>,
    options: &CabinetOptions,
) -> Result<(), String> {
    let Some(url) = options.mqtt_url.clone() else { return Ok(()) };
    cabinets.use_broker(Broker { url, password: options.cabinet_password.clone() });
    cabinets.set_habit(Habit { acts: true, after_ms: AT_THE_CABINET_MS, ..Habit::default() });
    for number in 1..=options.cabinets {
        cabinets.add(&format!("cab-{number}"), cells(number))?;
    }
    Ok(())
}

/// Where a cabinet is, by its place in the list: latitude and longitude.
pub(in super::super) fn place_of(number: usize) -> [f64; 2] {
    let steps = |steps: usize| f64::from(u32::try_from(steps).unwrap_or_default()) * APART;
    let [lat, lon] = MIDDLE;
    [lat + steps(number / ROW), lon + steps(number % ROW)]
}

/// Of ten cells, three are empty, three charged, and four are charging; one cabinet in five has a
/// broken cell.
fn cells(cabinet: usize) -> Vec<Cell> {
    let cell = |n: usize| {
        let id = format!("acc-{cabinet}-{n}");
        match (cabinet * 7 + n * 3) % 10 {
            0..3 => Cell::empty(),
            3..6 => Cell::holding(id, 100.0),
            step => Cell::holding(id, f64::from(u8::try_from(step * 9).unwrap_or_default())),
        }
    };
    let mut cells: Vec<Cell> = (1..=CELLS).map(cell).collect();
    if cabinet.is_multiple_of(5)
        && let Some(last) = cells.last_mut()
    {
        *last = Cell { broken: true, ..Cell::empty() };
    }
    cells
}
