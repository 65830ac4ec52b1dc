//! Which statuses and dead letters go.

use super::settings::IntakeSettings;
use crate::platform::database::Cleaning;

/// Statuses of one batch: each reads the table.
const STATUSES: i64 = 5_000;

/// Whoever the regulator believes on line stays ten times as long: his going off line must be told.
/// There is no index for it, which each event would have to change; a round reads the table once, and
/// once more for each batch. The conditions stand twice: a row may be upserted in between.
const FORGET_STATUSES: &str = "DELETE FROM deptrans.status_queue WHERE ctid = ANY(ARRAY(\
       SELECT ctid FROM deptrans.status_queue WHERE due_at IS NULL \
         AND occurred_at < now() - make_interval(hours => \
           CASE WHEN reported_on_line THEN 10 * $1 ELSE $1 END) LIMIT $2)) \
     AND due_at IS NULL AND occurred_at < now() - make_interval(hours => $1)";
const FORGET_LETTERS: &str = "DELETE FROM deptrans.dead_letters WHERE id IN (\
     SELECT id FROM deptrans.dead_letters WHERE received_at < now() - make_interval(days => $1) \
     ORDER BY received_at LIMIT $2)";

/// Statuses that rest for long, and old dead letters.
pub(super) fn cleanings(settings: &IntakeSettings) -> Vec<Cleaning> {
    let hours = i32::from(settings.status_hours);
    let days = i32::from(settings.dead_letter_days);
    vec![
        Cleaning::by_statement("deptrans.status_queue", FORGET_STATUSES, hours)
            .in_batches_of(STATUSES),
        Cleaning::by_statement("deptrans.dead_letters", FORGET_LETTERS, days),
    ]
}
