//! What a customer is, as clients see it (names: spec, "Field names that clients rely on").

use std::collections::BTreeMap;

use garde::Validate;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, schema::Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::platform::ids::{ParkId, PersonalId};
use crate::platform::patch::Patch;

/// Longest name of a person, in characters.
const MAX_NAME: usize = 200;
/// Longest free text (comment, address), in characters.
const MAX_TEXT: usize = 1000;
/// Longest address, in characters.
const MAX_ADDRESS: usize = 250;
/// Orders may come from a clock that goes before ours, but not by more than this: one from the far
/// future would be the latest for ever.
const FUTURE: SignedDuration = SignedDuration::from_hours(24);
/// Longest requirements of an order, serialised, in bytes.
const MAX_REQUIREMENTS: usize = 8192;

/// A passenger of a park.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerView {
    /// The park; only in answers that span parks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub park_id: Option<ParkId>,
    /// The passenger's id within the park.
    pub personal_phone_id: PersonalId,
    /// E.164; absent in answers to services, and when `degraded` names `personal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// As `phone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether text messages on an order's status are wanted.
    pub sms_enabled: bool,
    /// What the last order asked for.
    pub order_options: Option<OrderOptions>,
    /// Orders counted so far.
    pub orders_count: i32,
    /// The earliest order known.
    #[schema(value_type = String, format = DateTime)]
    pub first_order_at: Timestamp,
    /// The latest order known.
    #[schema(value_type = String, format = DateTime)]
    pub last_order_at: Timestamp,
    /// When this record was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// At most 50, oldest first.
    #[schema(value_type = Vec<FavouriteLocation>)]
    pub favourite_locations: Vec<Item<Location>>,
    /// At most 50, oldest first.
    #[schema(value_type = Vec<RecurringRoute>)]
    pub recurring_routes: Vec<Item<Route>>,
    /// Services that did not answer, so that fields are missing: `personal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
}

/// A service that did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// Names and phones are missing.
    Personal,
}

/// What fills in the next order. Stored as JSON with its version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderOptions {
    /// Tariff classes.
    #[serde(default)]
    #[garde(length(max = 20), inner(length(chars, min = 1, max = 64), custom(no_control)))]
    #[schema(max_items = 20, value_type = Vec<TariffClass>)]
    pub classes: Vec<String>,
    /// Requirements of the order by name; values are whatever the order takes.
    #[serde(default)]
    #[garde(custom(small_requirements))]
    #[schema(value_type = Object)]
    pub requirements: BTreeMap<String, serde_json::Value>,
    /// A comment for the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = MAX_TEXT), custom(no_nul))]
    #[schema(max_length = 1000, pattern = "^[^\\u0000]*$")]
    pub comment: Option<String>,
    /// How the passenger pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, min = 1, max = 64), custom(no_control))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub payment_type: Option<String>,
}

/// A tariff class, such as `econom`.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
#[allow(dead_code, reason = "only its schema is used")]
pub struct TariffClass(String);

/// One of a customer's favourite locations or recurring routes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item<T> {
    /// Made by the server.
    pub id: Uuid,
    /// The thing itself.
    #[serde(flatten)]
    pub body: T,
}

/// Names the schema of an [`Item`]: the body's, with the id in it. (A derived one would say "both of
/// these", and the body's allows no further member.)
macro_rules! item_schema {
    ($(#[$doc:meta])* $name:ident, $body:ty) => {
        $(#[$doc])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let mut schema = <$body>::schema();
                if let RefOr::T(Schema::Object(object)) = &mut schema {
                    object.properties.insert("id".to_owned(), String::schema());
                    object.required.push("id".to_owned());
                }
                schema
            }
        }

        impl ToSchema for $name {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                <$body>::schemas(schemas);
            }
        }
    };
}

item_schema! {
    /// Schema of a favourite location with its id.
    FavouriteLocation, Location
}
item_schema! {
    /// Schema of a recurring route with its id.
    RecurringRoute, Route
}

/// A place the passenger often goes to or from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// What the passenger calls it.
    #[garde(length(chars, min = 1, max = MAX_NAME), custom(no_nul))]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    pub label: String,
    /// As it is shown.
    #[garde(length(chars, min = 1, max = MAX_ADDRESS), custom(no_nul))]
    #[schema(min_length = 1, max_length = 250, pattern = "^[^\\u0000]*$")]
    pub address: String,
    /// Degrees north.
    #[garde(range(min = -90.0, max = 90.0))]
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees east.
    #[garde(range(min = -180.0, max = 180.0))]
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// Entrance or porch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = MAX_NAME), custom(no_nul))]
    #[schema(max_length = 200, pattern = "^[^\\u0000]*$")]
    pub entrance: Option<String>,
    /// A comment for the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = MAX_TEXT), custom(no_nul))]
    #[schema(max_length = 1000, pattern = "^[^\\u0000]*$")]
    pub comment: Option<String>,
}

/// A way the passenger goes again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What the passenger calls it.
    #[garde(length(chars, min = 1, max = MAX_NAME), custom(no_nul))]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    pub label: String,
    /// In the order of the way.
    #[garde(length(min = 2, max = 10), dive)]
    #[schema(min_items = 2, max_items = 10)]
    pub points: Vec<RoutePoint>,
    /// When it is gone, every week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub schedule: Option<Schedule>,
}

/// A point of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePoint {
    /// Degrees north.
    #[garde(range(min = -90.0, max = 90.0))]
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees east.
    #[garde(range(min = -180.0, max = 180.0))]
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// As it is shown.
    #[garde(length(chars, min = 1, max = MAX_ADDRESS), custom(no_nul))]
    #[schema(min_length = 1, max_length = 250, pattern = "^[^\\u0000]*$")]
    pub address: String,
}

/// A weekly schedule in the passenger's own time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Each at most once.
    #[garde(length(min = 1, max = 7), custom(distinct))]
    #[schema(min_items = 1, max_items = 7, value_type = std::collections::BTreeSet<Weekday>)]
    pub weekdays: Vec<Weekday>,
    /// `HH:MM`, 24 hours.
    #[garde(custom(is_local_time))]
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub local_time: String,
    /// An IANA name, such as `Europe/Moscow`.
    #[garde(length(chars, max = 64), custom(is_time_zone))]
    #[schema(example = "Europe/Moscow", value_type = TimeZoneName)]
    pub time_zone: String,
}

/// An IANA time zone; a few of them stand for all.
#[derive(ToSchema)]
#[schema(max_length = 64)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct TimeZoneName(String);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the days need no words")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// `find-by-phone`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindByPhone {
    /// As it is typed.
    #[garde(skip)]
    #[schema(example = "+7 999 000-00-01", max_length = 40)]
    pub phone: String,
}

/// A dispatcher's edit of the whole record: what is absent is removed.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerEdit {
    /// The passenger's name; stored only as an id of `personal`.
    #[serde(default)]
    #[garde(inner(custom(person_name)))]
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u001f\\u007f-\\u009f\\s][^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    pub name: Option<String>,
    /// Whether text messages on an order's status are wanted.
    #[garde(skip)]
    pub sms_enabled: bool,
    /// What fills in the next order; null removes it.
    #[serde(deserialize_with = "Option::deserialize")]
    #[garde(dive)]
    #[schema(required)]
    pub order_options: Option<OrderOptions>,
}

/// A dispatcher's edit of a part, as a JSON merge patch (RFC 7396): what is absent stays, null
/// removes.
#[derive(Debug, Clone, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerPatch {
    /// The passenger's name, or null to remove it.
    #[serde(default)]
    #[garde(custom(patched_name))]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u001f\\u007f-\\u009f\\s][^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub name: Patch<String>,
    /// Whether text messages on an order's status are wanted; null means no.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<bool>)]
    pub sms_enabled: Patch<bool>,
    /// Merged into the options member by member, or null to remove them.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<OrderOptionsPatch>)]
    pub order_options: Patch<serde_json::Value>,
}

/// A merge patch of order options; the result must be valid options.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct OrderOptionsPatch {
    #[schema(max_items = 20)]
    classes: Option<Vec<TariffClass>>,
    #[schema(value_type = Option<Object>)]
    requirements: Option<serde_json::Value>,
    #[schema(max_length = 1000, pattern = "^[^\\u0000]*$")]
    comment: Option<String>,
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    payment_type: Option<String>,
}

/// What is known of a passenger after an order was created. Only fields that are present change.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Upsert {
    /// The park that created the order.
    #[garde(skip)]
    pub park_id: ParkId,
    /// The passenger's number; this or `personal_phone_id`, not both.
    #[serde(default)]
    #[garde(custom(one_of_phone_and_id(self.personal_phone_id.is_some())))]
    #[schema(max_length = 40)]
    pub phone: Option<String>,
    /// The id that `personal` gave for the number.
    #[serde(default)]
    #[garde(skip)]
    pub personal_phone_id: Option<PersonalId>,
    /// The passenger's name; stored only as an id of `personal`.
    #[serde(default)]
    #[garde(inner(custom(person_name)))]
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u001f\\u007f-\\u009f\\s][^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    pub name: Option<String>,
    /// Whether text messages on an order's status are wanted.
    #[serde(default)]
    #[garde(skip)]
    pub sms_enabled: Option<bool>,
    /// What the order asked for.
    #[serde(default)]
    #[garde(dive)]
    pub order_options: Option<OrderOptions>,
    /// When the order was placed. Fields of an order older than the latest known change nothing.
    #[garde(custom(storable_time))]
    #[schema(value_type = String, format = DateTime)]
    pub ordered_at: Timestamp,
}

/// Who is to be read.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retrieve {
    /// Up to 500; those that do not exist are left out of the answer.
    #[garde(length(min = 1, max = 500))]
    #[schema(min_items = 1, max_items = 500)]
    pub customers: Vec<CustomerKey>,
}

/// What a customer is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerKey {
    /// The park.
    pub park_id: ParkId,
    /// The passenger's id within it.
    pub personal_phone_id: PersonalId,
}

fn ensure(holds: bool, message: &str) -> garde::Result {
    if holds { Ok(()) } else { Err(garde::Error::new(message)) }
}

/// PostgreSQL's text and jsonb cannot hold U+0000.
fn no_nul<C>(text: &impl AsText, _: &C) -> garde::Result {
    ensure(!text.as_text().contains('\0'), "must not contain the character U+0000")
}

fn no_control<C>(text: &impl AsText, _: &C) -> garde::Result {
    ensure(!text.as_text().chars().any(char::is_control), "must not contain control characters")
}

/// Lets one rule serve both a text and an optional one.
trait AsText {
    fn as_text(&self) -> &str;
}

impl AsText for String {
    fn as_text(&self) -> &str {
        self
    }
}

impl AsText for Option<String> {
    fn as_text(&self) -> &str {
        self.as_deref().unwrap_or_default()
    }
}

fn patched_name<C>(name: &Patch<String>, context: &C) -> garde::Result {
    name.as_set().map_or(Ok(()), |name| person_name(name, context))
}

fn person_name<C>(name: &str, _: &C) -> garde::Result {
    ensure(!name.trim().is_empty(), "must not be blank")?;
    ensure(name.chars().count() <= MAX_NAME, "must be at most 200 characters")?;
    ensure(!name.chars().any(char::is_control), "must not contain control characters")
}

fn small_requirements<C>(value: &BTreeMap<String, serde_json::Value>, _: &C) -> garde::Result {
    let text = serde_json::to_string(value).unwrap_or_default();
    ensure(text.len() <= MAX_REQUIREMENTS, "must be at most 8192 bytes of JSON")?;
    let has_nul = value.iter().any(|(key, value)| key.contains('\0') || contains_nul(value));
    ensure(!has_nul, "must not contain the character U+0000")
}

/// No deeper than the parser lets a document be.
fn contains_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(contains_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains('\0') || contains_nul(value))
        }
        _ => false,
    }
}

fn one_of_phone_and_id(has_id: bool) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |phone, ()| {
        let message = "exactly one of phone and personal_phone_id must be given";
        ensure(phone.is_some() != has_id, message)
    }
}

/// What PostgreSQL can hold and people mean.
fn is_storable(at: Timestamp) -> bool {
    (0..253_402_300_800 - 86_400).contains(&at.as_second())
}

fn storable_time<C>(at: &Timestamp, _: &C) -> garde::Result {
    let latest = Timestamp::now().saturating_add(FUTURE).unwrap_or(Timestamp::MAX);
    ensure(is_storable(*at) && *at <= latest, "must be between the year 1970 and tomorrow")
}

fn distinct<C>(days: &[Weekday], _: &C) -> garde::Result {
    let mut sorted = days.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    ensure(sorted.len() == days.len(), "must name each day at most once")
}

fn is_local_time<C>(text: &str, _: &C) -> garde::Result {
    // The parser takes other forms too, such as T0830.
    let form = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
    let time = text.parse::<jiff::civil::Time>();
    ensure(form && time.is_ok(), "must be a time of day as HH:MM")
}

fn is_time_zone<C>(name: &str, _: &C) -> garde::Result {
    // Not what a machine calls its own zone, and in the spelling that other systems know.
    const NO_PLACES: [&str; 3] = ["localtime", "posixrules", "Etc/Unknown"];
    let known = jiff::tz::TimeZone::get(name).is_ok_and(|zone| zone.iana_name() == Some(name));
    ensure(known && !NO_PLACES.contains(&name), "must be an IANA time zone, such as Europe/Moscow")
}
