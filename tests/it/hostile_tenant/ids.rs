//! What a park has, by its ids; and ids of the same form that nobody has.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Caller;

/// What the texts of the park say.
pub const MARK: &str = "mark-of-the-park";

/// Everything that can be named in a call.
#[derive(Debug, Clone)]
pub struct Ids {
    pub park: String,
    pub phone: String,
    pub name: String,
    pub personal_phone_id: String,
    pub location: String,
    pub route: String,
    pub template: String,
    pub mailing: String,
    /// A driver's profile.
    pub contractor: String,
    pub message: String,
    pub order: String,
    /// The driver's id at the regulator.
    pub krt_id: String,
    pub license: String,
    /// When it all happened: calls that are repeated say the same.
    pub at: Timestamp,
}

impl Ids {
    /// Ids that nobody has.
    pub fn of_nobody(park: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let uuid = || Uuid::now_v7().to_string();
        let digits = || Uuid::new_v4().simple().to_string();
        Self {
            park: park.to_owned(),
            phone: format!("+7999{number:07}"),
            name: format!("Аврора {number:07}"),
            personal_phone_id: digits(),
            location: uuid(),
            route: uuid(),
            template: uuid(),
            mailing: uuid(),
            contractor: digits(),
            message: uuid(),
            order: uuid(),
            krt_id: format!("9{number:011}"),
            license: digits(),
            at: Timestamp::now() - SignedDuration::from_secs(1),
        }
    }

    /// Everything there can be, made by the calls of the park's own people. There are two of what is
    /// listed, so that a list has a second page. The driver must be known to the stand-ins.
    pub async fn make(root: &Caller, park: &str, contractor: &str) -> Self {
        let mut ids = Self { contractor: contractor.to_owned(), ..Self::of_nobody(park) };
        let people = People { root, park };
        people.customers(&mut ids).await;
        people.communications(&mut ids).await;
        let orders = people.dispatcher("fleet-orders-manager");
        let draft = orders.post("orders/draft", ids.draft()).await.expect(200);
        ids.order = text(&draft, "order_id");
        ids
    }

    /// The value of a path's parameter, in a path of this template.
    pub fn parameter<'a>(&'a self, template: &str, name: &str) -> Option<&'a str> {
        Some(match name {
            "personal_phone_id" => &self.personal_phone_id,
            "item_id" if template.contains("recurring-routes") => &self.route,
            "item_id" => &self.location,
            "template_id" => &self.template,
            "mailing_id" => &self.mailing,
            "contractor_id" => &self.contractor,
            "order_id" => &self.order,
            "driver_license_pd_id" => &self.license,
            // Of what belongs to no park.
            "request_id" | "cabinet_id" | "accumulator_id" | "scooter_id" => "nobodys",
            "booking_id" | "command_id" => "01890a5d-ac96-774b-bcce-b302099a8057",
            _ => return None,
        })
    }

    /// All of them, by what they are.
    pub fn all(&self) -> [(&'static str, &str); 13] {
        [
            ("park", &self.park),
            ("phone", &self.phone),
            ("name", &self.name),
            ("personal_phone_id", &self.personal_phone_id),
            ("location", &self.location),
            ("route", &self.route),
            ("template", &self.template),
            ("mailing", &self.mailing),
            ("contractor", &self.contractor),
            ("message", &self.message),
            ("order", &self.order),
            ("krt_id", &self.krt_id),
            ("license", &self.license),
        ]
    }

    pub fn upsert(&self, phone: &str) -> Value {
        json!({
            "park_id": self.park, "phone": phone, "name": self.name, "ordered_at": self.at,
            "order_options": {"comment": MARK},
        })
    }

    pub fn draft(&self) -> Value {
        json!({
            "phone": self.phone, "comment": MARK, "classes": ["econom"],
            "route": [{"lat": 55.75, "lon": 37.61, "address": MARK}],
        })
    }
}

pub fn location() -> Value {
    json!({"label": MARK, "address": MARK, "lat": 55.75, "lon": 37.5})
}

pub fn route() -> Value {
    let point = json!({"lat": 55.75, "lon": 37.5, "address": MARK});
    json!({"label": MARK, "points": [point.clone(), point]})
}

pub fn scheduled() -> Value {
    let later = Timestamp::now() + SignedDuration::from_hours(24);
    json!({"message": MARK, "filter": {}, "send_at": later})
}

/// The members of an answer that are texts.
pub fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// Who calls for a park.
struct People<'a> {
    root: &'a Caller,
    park: &'a str,
}

impl People<'_> {
    fn dispatcher(&self, domain: &str) -> Caller {
        self.root.dispatcher(domain, self.park)
    }

    async fn customers(&self, ids: &mut Ids) {
        let internal = self.root.internal("fleet-customers");
        let other = Ids::of_nobody(self.park).phone;
        internal.post("customers/upsert", ids.upsert(&other)).await.expect(200);
        let made = internal.post("customers/upsert", ids.upsert(&ids.phone)).await.expect(200);
        ids.personal_phone_id = text(&made, "personal_phone_id");
        let customers = self.dispatcher("fleet-customers");
        let items = format!("customers/{}", ids.personal_phone_id);
        let added = customers.post(&format!("{items}/favourite-locations"), location()).await;
        ids.location = text(&added.expect(201), "id");
        let added = customers.post(&format!("{items}/recurring-routes"), route()).await;
        ids.route = text(&added.expect(201), "id");
    }

    async fn communications(&self, ids: &mut Ids) {
        const DOMAIN: &str = "fleet-communications";
        let dispatcher = self.dispatcher(DOMAIN);
        let driver = |id: &str| self.root.driver(DOMAIN, self.park, id);
        for contractor in ["another-driver", &ids.contractor, &ids.contractor] {
            let text = json!({ "text": MARK });
            let driver = driver(contractor);
            driver.post("conversation/messages", text).await.expect(201);
        }
        let written = format!("conversations/{}/messages", ids.contractor);
        let written = dispatcher.post(&written, json!({ "text": MARK })).await;
        ids.message = text(&written.expect(201), "id");
        dispatcher.post("mailings", scheduled()).await.expect(202);
        let ordered = dispatcher.post("mailings", scheduled()).await.expect(202);
        ids.mailing = text(&ordered, "mailing_id");
        ids.template = text(&ordered, "template_id");
    }
}
