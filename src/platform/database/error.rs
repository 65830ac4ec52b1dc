//! What a database failure means to a caller.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::platform::error::{Error, Kind};

/// The code of a failure that lies in what others do to the same rows.
pub(super) const CONTENDED: &str = "database_contended";

/// The database cannot be reached, or refuses sessions.
pub(super) fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("database_unavailable", "The database cannot be reached.")
        .with_retry_after(Duration::from_secs(1))
        .with_source(source)
}

/// Stores use `?`; whoever expects a certain conflict looks for it before that.
impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return Self::internal(error);
        };
        match kind {
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                unavailable(error)
            }
            DatabaseErrorKind::ReadOnlyTransaction => unavailable(error),
            DatabaseErrorKind::SerializationFailure => contended(error),
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::ExclusionViolation => {
                Self::new(Kind::Conflict, "conflict", "It was changed by somebody else meanwhile.")
                    .with_source(error)
            }
            _ => match class_of(info.message()) {
                Class::Timeout => Self::deadline_exceeded().with_source(error),
                Class::Contended => contended(error),
                Class::Unavailable => unavailable(error),
                Class::Other => Self::internal(error),
            },
        }
    }
}

fn contended(source: DieselError) -> Error {
    Error::unavailable(CONTENDED, "Others are changing the same rows; try again.")
        .with_retry_after(Duration::from_secs(1))
        .with_source(source)
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Timeout,
    Contended,
    Unavailable,
    Other,
}

/// Diesel hands on no SQLSTATE for these, only PostgreSQL's message (in English unless the
/// server's `lc_messages` says otherwise; then they count as internal).
fn class_of(message: &str) -> Class {
    const TIMEOUT: [&str; 2] = ["due to statement timeout", "due to user request"];
    // What was sent together with a statement that failed is told of the transaction only; of all that
    // fails in mid-transaction, locks are the most likely.
    const CONTENDED: [&str; 3] =
        ["due to lock timeout", "deadlock detected", "current transaction is aborted"];
    const UNAVAILABLE: [&str; 8] = [
        "terminating connection",
        "the database system is",
        "too many clients",
        "too many connections",
        "remaining connection slots",
        "No space left on device",
        "out of memory",
        "out of shared memory",
    ];
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&TIMEOUT) {
        Class::Timeout
    } else if has(&CONTENDED) {
        Class::Contended
    } else if has(&UNAVAILABLE) {
        Class::Unavailable
    } else {
        Class::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_messages_are_told_apart() {
        for (message, class) in [
            ("canceling statement due to statement timeout", Class::Timeout),
            ("canceling statement due to lock timeout", Class::Contended),
            ("deadlock detected", Class::Contended),
            ("terminating connection due to administrator command", Class::Unavailable),
            ("the database system is starting up", Class::Unavailable),
            ("sorry, too many clients already", Class::Unavailable),
            ("could not extend file \"base/5/1\": No space left on device", Class::Unavailable),
            ("syntax error at or near \"FORM\"", Class::Other),
        ] {
            assert_eq!(class_of(message), class, "{message}");
        }
    }
}
