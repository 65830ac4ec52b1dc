//! Stands for `personal`: ids for phones, names and licence numbers. Those of the drivers of `world` it
//! knows without having been told.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{State, bearer, refuse, world};

const BULK: usize = 1_000;
const BODY_LIMIT: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Phones,
    Names,
    DriverLicenses,
}

impl Kind {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Phones, "phones"),
        (Self::Names, "names"),
        (Self::DriverLicenses, "driver_licenses"),
    ];

    fn accepts(self, value: &str) -> bool {
        let length = value.chars().count();
        match self {
            Self::Phones => is_e164(value),
            Self::Names => !value.trim().is_empty() && length <= 200,
            Self::DriverLicenses => !value.trim().is_empty() && length <= 64,
        }
    }

    /// The same after every restart. A real service would not derive ids from values: whoever
    /// knows the way can try all phone numbers.
    fn id(self, value: &str) -> String {
        if self == Self::DriverLicenses
            && let Some(person) = world::person_of_number(value)
        {
            return world::license_pd_id(person);
        }
        let digest = Sha256::digest(format!("{self:?}\0{value}"));
        digest.iter().take(16).fold(String::with_capacity(32), |id, byte| format!("{id}{byte:02x}"))
    }
}

fn is_e164(value: &str) -> bool {
    value.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The values that are kept.
pub(super) struct Store(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Without a value: one of `world`'s that was deleted.
    values: HashMap<(Kind, String), Option<String>>,
    /// Everything that happened, a JSON line each.
    journal: Option<File>,
}

/// A line of the journal; without a value the id was deleted.
#[derive(Serialize, Deserialize)]
struct Entry {
    kind: Kind,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Store {
    /// Reads the journal at `path`, if one is wanted, and appends to it from now on.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut kept = Kept::default();
        if let Some(path) = path {
            let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
            let mut last_line_is_whole = true;
            for line in BufReader::new(&file).split(b'\n') {
                // A line that is not whole was being written when the process was killed.
                let entry = serde_json::from_slice::<Entry>(&line?);
                last_line_is_whole = entry.is_ok();
                if let Ok(entry) = entry {
                    kept.apply(entry);
                }
            }
            if !last_line_is_whole {
                (&file).write_all(b"\n")?;
            }
            kept.journal = Some(file);
        }
        Ok(Self(Mutex::new(kept)))
    }

    /// The id of a licence's number, which is kept from now on.
    pub(super) fn store_license(&self, number: &str) -> Result<String, String> {
        let kind = Kind::DriverLicenses;
        if !kind.accepts(number) {
            return Err("it is no licence's number".into());
        }
        self.lock().store(kind, number.to_owned()).map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn record(&mut self, entry: Entry) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            journal.write_all(&line)?;
        }
        self.apply(entry);
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        let of_world = of_world(entry.kind, &entry.id).is_some();
        let key = (entry.kind, entry.id);
        match entry.value {
            None if !of_world => drop(self.values.remove(&key)),
            value => drop(self.values.insert(key, value)),
        }
    }

    fn store(&mut self, kind: Kind, value: String) -> io::Result<String> {
        let id = kind.id(&value);
        if self.get(kind, &id).is_none() {
            self.record(Entry { kind, id: id.clone(), value: Some(value) })?;
        }
        Ok(id)
    }

    fn delete(&mut self, kind: Kind, ids: Vec<String>) -> io::Result<()> {
        for id in ids {
            if self.get(kind, &id).is_some() {
                self.record(Entry { kind, id, value: None })?;
            }
        }
        Ok(())
    }

    fn get(&self, kind: Kind, id: &str) -> Option<String> {
        match self.values.get(&(kind, id.to_owned())) {
            Some(value) => value.clone(),
            None => of_world(kind, id),
        }
    }
}

/// The number of a licence of `world`.
fn of_world(kind: Kind, id: &str) -> Option<String> {
    let person = (kind == Kind::DriverLicenses).then(|| world::person_of_pd_id(id))??;
    Some(world::license_number(person))
}

#[derive(Deserialize)]
struct ByValue {
    value: String,
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

#[derive(Deserialize)]
struct ByIds {
    ids: Vec<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (kind, name) in Kind::ALL {
        config.service(
            web::scope(&format!("/v1/{name}"))
                .app_data(web::PayloadConfig::new(BODY_LIMIT))
                .route("/store", post(kind, store))
                .route("/find", post(kind, find))
                .route("/retrieve", post(kind, retrieve))
                .route("/bulk_retrieve", post(kind, bulk_retrieve))
                .route("/delete", post(kind, delete))
                .wrap(from_fn(bearer)),
        );
    }
}

/// A route whose body is a `T`; what is not one is a 400, like every bad request here.
fn post<T: DeserializeOwned + 'static>(
    kind: Kind,
    work: fn(Kind, &mut Kept, T) -> HttpResponse,
) -> actix_web::Route {
    web::post().to(move |state: web::Data<State>, body: web::Bytes| async move {
        match serde_json::from_slice(&body) {
            Err(error) => bad_request("bad_request", &error.to_string()),
            Ok(body) => work(kind, &mut state.personal.lock(), body),
        }
    })
}

fn store(kind: Kind, kept: &mut Kept, ByValue { value }: ByValue) -> HttpResponse {
    if !kind.accepts(&value) {
        return bad_request("bad_value", "the value is not valid for this type");
    }
    match kept.store(kind, value.clone()) {
        Ok(id) => HttpResponse::Ok().json(json!({ "id": id, "value": value })),
        Err(error) => journal_failed(&error),
    }
}

fn find(kind: Kind, kept: &mut Kept, ByValue { value }: ByValue) -> HttpResponse {
    if !kind.accepts(&value) {
        return bad_request("bad_value", "the value is not valid for this type");
    }
    one(kept, kind, &kind.id(&value))
}

fn retrieve(kind: Kind, kept: &mut Kept, ById { id }: ById) -> HttpResponse {
    one(kept, kind, &id)
}

fn bulk_retrieve(kind: Kind, kept: &mut Kept, ByIds { ids }: ByIds) -> HttpResponse {
    if ids.len() > BULK {
        return bad_request("too_many_ids", "at most 1000 ids");
    }
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match kept.get(kind, &id) {
            Some(value) => items.push(json!({ "id": id, "value": value })),
            None => missing.push(id),
        }
    }
    HttpResponse::Ok().json(json!({ "items": items, "missing": missing }))
}

fn delete(kind: Kind, kept: &mut Kept, ByIds { ids }: ByIds) -> HttpResponse {
    match kept.delete(kind, ids) {
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(error) => journal_failed(&error),
    }
}

fn journal_failed(error: &io::Error) -> HttpResponse {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "journal", &error.to_string())
}

fn one(kept: &Kept, kind: Kind, id: &str) -> HttpResponse {
    match kept.get(kind, id) {
        Some(value) => HttpResponse::Ok().json(json!({ "id": id, "value": value })),
        None => refuse(StatusCode::NOT_FOUND, "not_found", "there is no such value"),
    }
}

fn bad_request(code: &str, message: &str) -> HttpResponse {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_by_their_kind() {
        for (kind, value, accepted) in [
            (Kind::Phones, "+79990000001", true),
            (Kind::Phones, "79990000001", false),
            (Kind::Phones, "+7 999 000-00-01", false),
            (Kind::Phones, "+0123456789", false),
            (Kind::Names, "Анна", true),
            (Kind::Names, " ", false),
            (Kind::DriverLicenses, "7700 123456", true),
            (Kind::DriverLicenses, "", false),
        ] {
            assert_eq!(kind.accepts(value), accepted, "{kind:?} {value}");
        }
        assert!(Kind::Names.accepts(&"я".repeat(200)));
        assert!(!Kind::Names.accepts(&"я".repeat(201)));
    }

    #[test]
    fn an_id_depends_on_kind_and_value_only() {
        let id = Kind::Phones.id("+79990000001");
        assert_eq!(id, Kind::Phones.id("+79990000001"));
        assert_ne!(id, Kind::Names.id("+79990000001"));
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
    }

    #[test]
    fn the_journal_survives_a_restart_and_a_torn_line() {
        let path = std::env::temp_dir().join(format!("sandbox-{}.jsonl", uuid::Uuid::now_v7()));
        let kept_id = {
            let store = Store::open(Some(&path)).unwrap();
            let mut kept = store.lock();
            let deleted = kept.store(Kind::Names, "Пётр".into()).unwrap();
            kept.delete(Kind::Names, vec![deleted]).unwrap();
            kept.store(Kind::Names, "Анна".into()).unwrap()
        };
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"ki").unwrap();
        Store::open(Some(&path)).unwrap().lock().store(Kind::Names, "Ольга".into()).unwrap();

        let store = Store::open(Some(&path)).unwrap();
        let kept = store.lock();
        assert_eq!(kept.values.len(), 2);
        assert_eq!(kept.get(Kind::Names, &kept_id).as_deref(), Some("Анна"));
        std::fs::remove_file(&path).unwrap();
    }
}
