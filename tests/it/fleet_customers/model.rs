//! Any orders, in any order of arrival and at equal times, against a small model of what a
//! customer is then.

use std::cell::Cell;

use actix_web::rt::System;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One order's news.
#[derive(Debug, Clone)]
struct Order {
    /// Seconds after an epoch of the test's own; few, so that some are equal.
    at: i64,
    sms_enabled: Option<bool>,
    comment: Option<u8>,
    /// Sent under a key of its own, and then again.
    keyed: bool,
}

fn any_order() -> impl Strategy<Value = Order> {
    let keyed = proptest::bool::weighted(0.3);
    (0_i64..6, any::<Option<bool>>(), any::<Option<u8>>(), keyed)
        .prop_map(|(at, sms_enabled, comment, keyed)| Order { at, sms_enabled, comment, keyed })
}

/// What must be known after the orders so far.
#[derive(Debug, Default)]
struct Model {
    orders: i64,
    first: i64,
    last: i64,
    sms_enabled: bool,
    comment: Option<u8>,
}

impl Model {
    fn take(&mut self, order: &Order) {
        let newest = self.orders == 0 || order.at >= self.last;
        if newest {
            self.sms_enabled = order.sms_enabled.unwrap_or(self.sms_enabled);
            self.comment = order.comment.or(self.comment);
        }
        self.first = if self.orders == 0 { order.at } else { self.first.min(order.at) };
        self.last = if self.orders == 0 { order.at } else { self.last.max(order.at) };
        self.orders += 1;
    }

    fn assert_is(&self, customer: &Value) {
        let options = self.comment.map(options_of);
        let expected = json!({
            "orders_count": self.orders,
            "first_order_at": time(self.first),
            "last_order_at": time(self.last),
            "sms_enabled": self.sms_enabled,
            "order_options": options,
        });
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(customer[member], *value, "{member} of {customer} by {self:?}");
        }
    }
}

fn options_of(comment: u8) -> Value {
    json!({"classes": [], "requirements": {}, "comment": comment.to_string()})
}

fn time(at: i64) -> String {
    Timestamp::from_second(1_767_225_600 + at).unwrap().to_string()
}

#[test]
fn orders_in_any_order_leave_what_the_newest_said() {
    let system = System::new();
    let customers = system.block_on(Customers::start());
    let (case, keys) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    runner
        .run(&proptest::collection::vec(any_order(), 1..10), |orders| {
            case.set(case.get() + 1);
            let id = phone_id(case.get());
            system.block_on(async {
                let mut model = Model::default();
                for order in &orders {
                    let mut body = json!({
                        "park_id": PARK, "personal_phone_id": id, "ordered_at": time(order.at),
                    });
                    if let Some(sms_enabled) = order.sms_enabled {
                        body["sms_enabled"] = json!(sms_enabled);
                    }
                    if let Some(comment) = order.comment {
                        body["order_options"] = options_of(comment);
                    }
                    model.take(order);
                    if order.keyed {
                        keys.set(keys.get() + 1);
                        let keyed = format!("key-{}", keys.get());
                        let keyed = customers.internal.header("Idempotency-Key", &keyed);
                        let first = keyed.post("customers/upsert", body.clone()).await.expect(200);
                        model.assert_is(&first);
                        let again = keyed.post("customers/upsert", body).await.expect(200);
                        assert_eq!(again, first);
                    } else {
                        model.assert_is(&customers.upsert(body).await);
                    }
                }
                model.assert_is(&customers.profile(&id).await);
            });
            Ok(())
        })
        .unwrap();
    system.block_on(async { drop(customers) });
}
