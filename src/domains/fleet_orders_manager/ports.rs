//! What this domain needs from a neighbour: somebody who keeps the park's customers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;
use serde::Serialize;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::ids::{OrderId, ParkId, PersonalId};
use crate::upstreams::fleet_customers::FleetCustomers;

/// Who ordered, and what.
#[derive(Debug, Clone, Serialize)]
pub struct CustomerOrder {
    /// The order: a customer book counts it once.
    #[serde(skip)]
    pub order_id: OrderId,
    /// The park.
    pub park_id: ParkId,
    /// The passenger.
    pub personal_phone_id: PersonalId,
    /// What fills in the next order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_options: Option<LastOptions>,
    /// When the order was placed.
    pub ordered_at: Timestamp,
}

/// What fills in a customer's next order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LastOptions {
    /// Tariff classes.
    pub classes: Vec<String>,
    /// Requirements by name.
    pub requirements: BTreeMap<String, serde_json::Value>,
    /// A comment for the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How the passenger pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_type: Option<String>,
}

/// Keeps the park's customers.
pub trait CustomerBook: Send + Sync {
    /// Records who ordered; an order that was recorded before changes nothing.
    fn record<'a>(
        &'a self,
        context: &'a Context,
        order: &'a CustomerOrder,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
}

/// fleet-customers in another process.
impl CustomerBook for FleetCustomers {
    fn record<'a>(
        &'a self,
        context: &'a Context,
        order: &'a CustomerOrder,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(self.upsert(context, order.order_id.as_str(), order))
    }
}
