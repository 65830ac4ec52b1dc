//! The columns that the query builder knows; the whole of the tables stands in
//! `migrations/fleet_customers`.

diesel::table! {
    fleet_customers.customers (personal_phone_id, park_no) {
        personal_phone_id -> Binary,
        park_no -> Integer,
        updated_at -> Timestamptz,
        version -> Integer,
        sms_enabled -> Nullable<Bool>,
        personal_name_id -> Nullable<Binary>,
        order_options -> Nullable<Jsonb>,
    }
}

diesel::table! {
    fleet_customers.parks (park_no) {
        park_no -> Integer,
        park_id -> Binary,
    }
}

diesel::allow_tables_to_appear_in_same_query!(customers, parks);
