//! The orders that are kept, and how they change.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::body::{Body, Fields, Refusal};

/// How many orders are kept; the oldest are forgotten.
const MOST: usize = 200_000;
/// Fields that int-api gives; a request does not change them.
const OWN: [&str; 6] = ["order_id", "park_id", "status", "revision", "created_at", "class"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Draft,
    Committed,
    Driving,
    Waiting,
    Transporting,
    Completed,
    Cancelled,
}

impl Status {
    fn is_active(self) -> bool {
        matches!(self, Self::Committed | Self::Driving | Self::Waiting | Self::Transporting)
    }

    fn is_cancellable(self) -> bool {
        matches!(self, Self::Draft | Self::Committed | Self::Driving | Self::Waiting)
    }

    /// What follows by itself, and after how long.
    fn next(self) -> Option<(Self, SignedDuration)> {
        let (next, minutes) = match self {
            Self::Committed => (Self::Driving, 1),
            Self::Driving => (Self::Waiting, 4),
            Self::Waiting => (Self::Transporting, 2),
            Self::Transporting => (Self::Completed, 15),
            Self::Draft | Self::Completed | Self::Cancelled => return None,
        };
        Some((next, SignedDuration::from_mins(minutes)))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) park_id: String,
    pub(super) status: Status,
    /// 1 for a draft, and one more for each change.
    pub(super) revision: u64,
    created_at: Timestamp,
    changed_at: Timestamp,
    token: String,
    phone: Option<String>,
    class: String,
    pub(super) fields: Fields,
}

impl Order {
    /// All there is: the fields of the draft as they came in, and int-api's own.
    pub(super) fn info(&self) -> serde_json::Result<Fields> {
        let mut info = self.fields.clone();
        let own: [Box<RawValue>; 6] = [
            to_raw_value(&self.id)?,
            to_raw_value(&self.park_id)?,
            to_raw_value(&self.status)?,
            to_raw_value(&self.revision)?,
            to_raw_value(&self.created_at)?,
            to_raw_value(&self.class)?,
        ];
        info.extend(OWN.into_iter().map(String::from).zip(own));
        Ok(info)
    }

    pub(super) fn found(&self) -> Found<'_> {
        Found {
            order_id: &self.id,
            status: self.status,
            created_at: self.created_at,
            route: self.fields.get("route").map(|route| &**route),
            class: &self.class,
        }
    }

    fn set_status(&mut self, status: Status, at: Timestamp) {
        if self.status != status {
            self.status = status;
            self.revision += 1;
            self.changed_at = at;
        }
    }

    fn live_until(&mut self, now: Timestamp) {
        while let Some((status, after)) = self.status.next() {
            match self.changed_at.checked_add(after) {
                Ok(due) if due <= now => self.set_status(status, due),
                _ => return,
            }
        }
    }
}

/// An order in a search's answer.
#[derive(Serialize)]
pub(super) struct Found<'a> {
    order_id: &'a str,
    status: Status,
    created_at: Timestamp,
    route: Option<&'a RawValue>,
    class: &'a str,
}

#[derive(Default)]
pub(super) struct Orders {
    by_id: HashMap<String, Order>,
    /// From the oldest to the newest.
    ids: VecDeque<String>,
    by_token: HashMap<(String, String), String>,
    by_phone: HashMap<(String, String), Vec<String>>,
    /// Committed orders move on only when they are told to.
    frozen: bool,
}

impl Orders {
    pub(super) fn new(frozen: bool) -> Self {
        Self { frozen, ..Self::default() }
    }

    /// The id of the park's order with that token, which is made if there is none.
    pub(super) fn draft(&mut self, body: &Body, token: String) -> Result<String, Refusal> {
        body.check_draft()?;
        let key = (body.park_id.clone(), token);
        if let Some(id) = self.by_token.get(&key) {
            return Ok(id.clone());
        }
        let (order_id, now) = (uuid::Uuid::now_v7().to_string(), Timestamp::now());
        let order = Order {
            id: order_id.clone(),
            status: Status::Draft,
            revision: 1,
            created_at: now,
            changed_at: now,
            token: key.1.clone(),
            phone: body.optional("personal_phone_id")?,
            class: body.classes()?.into_iter().next().unwrap_or_default(),
            park_id: body.park_id.clone(),
            fields: body.fields.clone(),
        };
        self.index(&order);
        self.by_token.insert(key, order_id.clone());
        self.by_id.insert(order_id.clone(), order);
        self.ids.push_back(order_id.clone());
        self.forget_oldest();
        Ok(order_id)
    }

    /// Again: the same answer, wherever the order is by then.
    pub(super) fn commit(&mut self, body: &Body) -> Result<(String, Status), Refusal> {
        let order = self.named(body)?;
        match order.status {
            Status::Cancelled => {
                return Err(Refusal::conflict("order_cancelled", "the order is cancelled"));
            }
            Status::Draft => order.set_status(Status::Committed, Timestamp::now()),
            _ => {}
        }
        Ok((order.id.clone(), Status::Committed))
    }

    /// Committed orders that are neither finished nor cancelled, the oldest first.
    pub(super) fn search(&mut self, body: &Body) -> Result<Vec<&Order>, Refusal> {
        let key = (body.park_id.clone(), body.text("personal_phone_id")?);
        let states: Vec<String> = body.required("states")?;
        if states != ["active"] {
            return Err(Refusal::bad_request("bad_request", "`states` must be [\"active\"]"));
        }
        let ids = self.by_phone.get(&key).cloned().unwrap_or_default();
        for id in &ids {
            self.live(id);
        }
        let orders = ids.iter().filter_map(|id| self.by_id.get(id));
        Ok(orders.filter(|order| order.status.is_active()).collect())
    }

    /// The order that a body names, if it is its park's.
    pub(super) fn named(&mut self, body: &Body) -> Result<&mut Order, Refusal> {
        let order_id = body.text("order_id")?;
        self.live(&order_id);
        let order = self.by_id.get_mut(&order_id);
        order.filter(|order| order.park_id == body.park_id).ok_or_else(Refusal::not_found)
    }

    /// Lays the fields of the body over the order's.
    pub(super) fn edit(&mut self, body: &Body) -> Result<&Order, Refusal> {
        if body.fields.contains_key("route") {
            body.route()?;
        }
        let classes =
            if body.fields.contains_key("classes") { Some(body.classes()?) } else { None };
        let phone = body.optional::<String>("personal_phone_id")?;
        let order = self.unchanged(body)?;
        match order.status {
            Status::Cancelled => {
                return Err(Refusal::conflict("order_cancelled", "the order is cancelled"));
            }
            Status::Completed => {
                return Err(Refusal::conflict("not_editable", "the order is completed"));
            }
            _ => {}
        }
        let changes = body.fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        order.fields.extend(changes.map(|(name, value)| (name.clone(), value.clone())));
        order.revision += 1;
        if let Some(class) = classes.and_then(|classes| classes.into_iter().next()) {
            order.class = class;
        }
        let mut edited = order.clone();
        if body.fields.contains_key("personal_phone_id") && phone != edited.phone {
            self.unindex(&edited);
            edited.phone = phone;
            self.index(&edited);
        }
        let place = self.by_id.entry(edited.id.clone());
        Ok(place.insert_entry(edited).into_mut())
    }

    pub(super) fn cancel(&mut self, body: &Body) -> Result<&Order, Refusal> {
        body.optional::<String>("reason")?;
        let order = self.unchanged(body)?;
        if !order.status.is_cancellable() {
            let message = "the order is under way or over";
            return Err(Refusal::conflict("not_cancellable", message));
        }
        order.set_status(Status::Cancelled, Timestamp::now());
        if let Some(reason) = body.fields.get("reason") {
            order.fields.insert("reason".into(), reason.clone());
        }
        Ok(order)
    }

    /// Whether there is such an order.
    pub(super) fn set_status(&mut self, order_id: &str, status: Status) -> bool {
        let order = self.by_id.get_mut(order_id);
        order.map(|order| order.set_status(status, Timestamp::now())).is_some()
    }

    /// The park's orders, the oldest first.
    pub(super) fn of_park(&self, park_id: &str) -> impl Iterator<Item = &Order> {
        let orders = self.ids.iter().filter_map(|id| self.by_id.get(id));
        orders.filter(move |order| order.park_id == park_id)
    }

    /// The named order, if its revision is the one that the body has seen.
    fn unchanged(&mut self, body: &Body) -> Result<&mut Order, Refusal> {
        let seen: u64 = body.required("revision")?;
        let order = self.named(body)?;
        if order.revision != seen {
            return Err(Refusal::conflict("revision_conflict", "the order has changed since"));
        }
        Ok(order)
    }

    fn live(&mut self, order_id: &str) {
        if !self.frozen
            && let Some(order) = self.by_id.get_mut(order_id)
        {
            order.live_until(Timestamp::now());
        }
    }

    fn index(&mut self, order: &Order) {
        if let Some(phone) = &order.phone {
            let key = (order.park_id.clone(), phone.clone());
            self.by_phone.entry(key).or_default().push(order.id.clone());
        }
    }

    fn unindex(&mut self, order: &Order) {
        let Some(phone) = &order.phone else { return };
        let key = (order.park_id.clone(), phone.clone());
        if let Some(ids) = self.by_phone.get_mut(&key) {
            ids.retain(|id| *id != order.id);
            if ids.is_empty() {
                self.by_phone.remove(&key);
            }
        }
    }

    fn forget_oldest(&mut self) {
        while self.ids.len() > MOST {
            let oldest = self.ids.pop_front().and_then(|id| self.by_id.remove(&id));
            if let Some(order) = oldest {
                self.unindex(&order);
                self.by_token.remove(&(order.park_id, order.token));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(fields: &Value) -> Body {
        let mut body = json!({"park_id": "park-1"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Body::parse(body.to_string().as_bytes()).unwrap()
    }

    fn draft(orders: &mut Orders, token: &str) -> String {
        let draft = body(&json!({
            "personal_phone_id": "0a", "dispatcher_id": 7, "dispatch_mode": "saas",
            "source": "dispatcher", "route": [{"lat": 55.7, "lon": 37.6}], "classes": ["econom"],
        }));
        orders.draft(&draft, token.into()).unwrap()
    }

    #[test]
    fn orders_live_on_unless_they_are_frozen() {
        let mut orders = Orders::new(false);
        let id = draft(&mut orders, "a");
        orders.commit(&body(&json!({"order_id": id}))).unwrap();
        let order = orders.by_id.get_mut(&id).unwrap();
        let committed_at = order.changed_at;
        let after = |minutes| committed_at + SignedDuration::from_mins(minutes);
        order.live_until(after(6));
        assert_eq!((order.status, order.revision), (Status::Waiting, 4));
        order.changed_at = Timestamp::UNIX_EPOCH;

        orders.frozen = true;
        let info = body(&json!({"order_id": id}));
        assert_eq!(orders.named(&info).unwrap().status, Status::Waiting);
        orders.frozen = false;
        assert_eq!(orders.named(&info).unwrap().status, Status::Completed);
        let search = body(&json!({"personal_phone_id": "0a", "states": ["active"]}));
        assert!(orders.search(&search).unwrap().is_empty());
    }

    #[test]
    fn the_oldest_orders_are_forgotten_with_all_that_leads_to_them() {
        let mut orders = Orders::new(true);
        let first = draft(&mut orders, "first");
        for number in 0..MOST {
            draft(&mut orders, &number.to_string());
        }
        assert_eq!(orders.by_id.len(), MOST);
        assert_eq!(orders.by_token.len(), MOST);
        assert_eq!(orders.by_phone.values().map(Vec::len).sum::<usize>(), MOST);
        assert!(orders.named(&body(&json!({"order_id": first}))).is_err());
    }

    #[test]
    fn an_edited_phone_is_found_by_the_new_one_only() {
        let mut orders = Orders::new(true);
        let id = draft(&mut orders, "a");
        orders.commit(&body(&json!({"order_id": id}))).unwrap();
        let edit = json!({"order_id": id, "revision": 2, "personal_phone_id": "0b", "status": "x"});
        let edited = orders.edit(&body(&edit)).unwrap();
        assert_eq!((edited.status, edited.revision), (Status::Committed, 3));
        for (phone, found) in [("0a", 0), ("0b", 1)] {
            let search = body(&json!({"personal_phone_id": phone, "states": ["active"]}));
            assert_eq!(orders.search(&search).unwrap().len(), found, "{phone}");
        }
    }
}
