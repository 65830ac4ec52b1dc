//! Which rows go when they are old.

use std::time::Duration;

use super::settings::ScooterSettings;
use crate::platform::database::Cleaning;

/// The last move of an accumulator stays.
const MOVES: &str = "DELETE FROM scooter_accumulator.accumulator_moves WHERE id IN \
     (SELECT m.id FROM scooter_accumulator.accumulator_moves m \
      WHERE m.at < now() - make_interval(days => $1) AND EXISTS \
        (SELECT 1 FROM scooter_accumulator.accumulator_moves l \
         WHERE l.accumulator_id = m.accumulator_id AND l.id > m.id) ORDER BY m.id LIMIT $2)";
/// Not one that is under way, or of a booking that is.
const COMMANDS: &str = "DELETE FROM scooter_accumulator.commands WHERE id IN \
     (SELECT c.id FROM scooter_accumulator.commands c LEFT JOIN scooter_accumulator.bookings b \
        ON b.id = c.booking_id WHERE c.issued_at < now() - make_interval(days => $1) \
      AND c.status NOT IN ('created', 'sent') AND (b.id IS NULL OR b.ended_at IS NOT NULL) \
      ORDER BY c.issued_at LIMIT $2)";
/// Behind its commands, which refer to it.
const BOOKINGS: &str = "DELETE FROM scooter_accumulator.bookings WHERE id IN \
     (SELECT b.id FROM scooter_accumulator.bookings b \
      WHERE b.ended_at < now() - make_interval(days => $1) AND NOT EXISTS \
        (SELECT 1 FROM scooter_accumulator.commands c WHERE c.booking_id = b.id) \
      ORDER BY b.ended_at LIMIT $2)";
const EVENTS: &str = "DELETE FROM scooter_accumulator.applied_events WHERE (cabinet_id, event_id) IN \
     (SELECT cabinet_id, event_id FROM scooter_accumulator.applied_events \
      WHERE applied_at < now() - make_interval(mins => $1) ORDER BY applied_at LIMIT $2)";

/// How often events are looked for that no repetition of can come any more: there are many.
const EVENTS_EVERY: Duration = Duration::from_mins(1);

/// What is kept for some days, and the memory of events.
pub(super) fn cleanings(settings: &ScooterSettings) -> Vec<Cleaning> {
    let days = settings.history_days;
    let minutes = settings.commands.event_memory_minutes;
    vec![
        Cleaning::by_statement("scooter_accumulator.accumulator_moves", MOVES, days),
        Cleaning::by_statement("scooter_accumulator.commands", COMMANDS, days),
        Cleaning::by_statement("scooter_accumulator.bookings", BOOKINGS, days),
        Cleaning::by_statement("scooter_accumulator.applied_events", EVENTS, minutes)
            .every(EVENTS_EVERY),
    ]
}
