//! Every column that may hold something of a person, and what the erasure does about it. A test reads the
//! migrated schema and fails when a column is missing here, or stands here and is gone.

/// What becomes of a column in an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its row is deleted, and counted in the receipt.
    Erased,
    /// Its row is the erasure's own note, deleted when it is completed.
    Passing,
    /// It may look like it, but nothing in it leads to a person.
    Harmless,
}

use Fate::{Erased, Harmless, Passing};

/// The schemas in which this domain keeps something.
pub const SCHEMAS: [&str; 3] = ["fleet_customers", "fleet_platform", "task_queue"];

/// Schema and table, column, fate; in alphabetical order. Of each schema: columns named like something
/// personal, and columns of types that hold anything (`bytea`, `jsonb`); of `fleet_customers` texts too.
pub const COLUMNS: &[(&str, &str, Fate)] = &[
    ("fleet_customers.customers", "order_options", Erased),
    ("fleet_customers.customers", "personal_name_id", Erased),
    ("fleet_customers.customers", "personal_phone_id", Erased),
    ("fleet_customers.erasure_names", "personal_name_id", Passing),
    ("fleet_customers.erasure_subjects", "personal_phone_id", Passing),
    // The name of a service.
    ("fleet_customers.erasures", "caller", Harmless),
    // A digest that the request's own id is part of.
    ("fleet_customers.erasures", "request", Harmless),
    // The data-subject service's own, by contract nothing personal.
    ("fleet_customers.erasures", "request_id", Harmless),
    ("fleet_customers.favourite_locations", "body", Erased),
    ("fleet_customers.favourite_locations", "personal_phone_id", Erased),
    ("fleet_customers.parks", "park_id", Harmless),
    ("fleet_customers.recurring_routes", "body", Erased),
    ("fleet_customers.recurring_routes", "personal_phone_id", Erased),
    // A digest: see the migration.
    ("fleet_customers.tombstones", "person", Harmless),
    ("fleet_platform.idempotency_keys", "answer", Erased),
    ("fleet_platform.idempotency_keys", "park_id", Erased),
    // Digests.
    ("fleet_platform.idempotency_keys", "request", Harmless),
    ("fleet_platform.idempotency_keys", "scope", Harmless),
    ("fleet_platform.idempotency_keys", "subject", Erased),
    // Numbers of erasures.
    ("task_queue.tasks", "payload", Harmless),
];

/// Tables whose rows an erasure counts, as receipts name them.
#[must_use]
pub fn erased_tables() -> Vec<&'static str> {
    let mut tables: Vec<_> =
        COLUMNS.iter().filter(|(_, _, fate)| *fate == Erased).map(|(table, ..)| *table).collect();
    tables.dedup();
    tables
}
