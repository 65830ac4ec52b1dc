//! The rules of the intake; knows neither HTTP nor Kafka.

use futures_util::try_join;

use super::event::StatusEvent;
use super::store::{DeadLetter, keep_letters, keep_newest};
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database};
use crate::platform::error::Result;

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Those that are now the newest of their driver.
    pub accepted: usize,
    /// Those than which a newer one was known, or came with them.
    pub superseded: usize,
}

/// Keeps the newest status of each driver, and `letters` of `topic`: both or nothing. Doing it again
/// changes nothing.
///
/// # Errors
/// Those of [`Database::transaction`].
pub async fn record(
    database: &Database,
    context: &Context,
    events: &[StatusEvent],
    topic: &str,
    letters: &[DeadLetter],
) -> Result<Recorded> {
    let (newest, merged) = newest_of_each(events);
    let events_of = async |connection: &Connection| {
        Ok(keep_newest(connection, &newest, merged).await?.accepted)
    };
    let letters_of = async |connection: &Connection| keep_letters(connection, topic, letters).await;
    // One statement is a transaction by itself; begun and committed by others it takes two round trips more.
    let accepted = match (newest.is_empty(), letters.is_empty()) {
        (true, true) => 0,
        (false, true) => database.statement(context, events_of).await?,
        (true, false) => {
            database.statement(context, letters_of).await?;
            0
        }
        (false, false) => {
            let both = async |connection: &mut Connection| {
                let connection = &*connection;
                try_join!(events_of(connection), letters_of(connection))
            };
            database.transaction(context, both).await?.0
        }
    };
    let accepted = usize::try_from(accepted).unwrap_or(0);
    Ok(Recorded { accepted, superseded: events.len().saturating_sub(accepted) })
}

/// The newest event of each driver, in the order of their keys, and how many older ones there are
/// beside them. The same event twice is one.
fn newest_of_each(events: &[StatusEvent]) -> (Vec<&StatusEvent>, usize) {
    let mut ordered: Vec<&StatusEvent> = events.iter().collect();
    ordered.sort_unstable_by(|a, b| {
        let rank = |event: &'_ StatusEvent| event.occurred_at;
        a.key()
            .cmp(&b.key())
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| b.tiebreak.cmp(&a.tiebreak))
    });
    ordered.dedup_by(|next, kept| next.key() == kept.key() && !kept.newer_than(next));
    let distinct = ordered.len();
    ordered.dedup_by(|next, kept| next.key() == kept.key());
    let merged = distinct - ordered.len();
    (ordered, merged)
}

#[cfg(test)]
mod tests {
    use super::super::event::DriverStatus;
    use super::*;
    use crate::platform::database::PackedId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn event(driver: u8, at: i64, tiebreak: u8) -> StatusEvent {
        StatusEvent {
            park_id: PackedId::new("park"),
            driver_id: PackedId::new(&format!("driver-{driver}")),
            occurred_at: jiff::Timestamp::from_microsecond(at).unwrap(),
            tiebreak: tiebreak.to_string(),
            status: DriverStatus::Online,
        }
    }

    proptest! {
        #[test]
        fn the_greatest_of_each_driver_is_left_in_the_order_of_drivers(
            given in prop::collection::vec((0..5_u8, 0..4_i64, 0..3_u8), 0..60),
        ) {
            let events: Vec<StatusEvent> =
                given.iter().map(|&(driver, at, tiebreak)| event(driver, at, tiebreak)).collect();
            let (newest, merged) = newest_of_each(&events);
            let mut model = BTreeMap::new();
            let mut distinct = std::collections::BTreeSet::new();
            for &(driver, at, tiebreak) in &given {
                let greatest = model.entry(driver).or_insert((at, tiebreak));
                *greatest = (at, tiebreak).max(*greatest);
                distinct.insert((driver, at, tiebreak));
            }
            let expected: Vec<StatusEvent> =
                model.iter().map(|(&driver, &(at, tiebreak))| event(driver, at, tiebreak)).collect();
            prop_assert_eq!(newest.into_iter().cloned().collect::<Vec<_>>(), expected);
            prop_assert_eq!(merged, distinct.len() - model.len());
        }
    }
}
