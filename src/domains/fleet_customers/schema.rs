//! The columns that the query builder knows; the whole of the tables stands in
//! `migrations/fleet_customers`.

diesel::table! {
    fleet_customers.customers (personal_phone_id, park_id) {
        personal_phone_id -> Binary,
        park_id -> Binary,
        updated_at -> Timestamptz,
        version -> Integer,
        sms_enabled -> Nullable<Bool>,
        personal_name_id -> Nullable<Binary>,
        order_options -> Nullable<Jsonb>,
    }
}
