//! Makes the domains of a process and fits neighbours to each other's ports.
//!
//! A domain names no other. What it needs from one is a port, a small trait in its own folder; here
//! the neighbour's service is fitted to it when both live in this process.

use crate::platform::domain::Domain;
use crate::platform::telemetry::metrics::Metrics;

/// Makes the named domains, in the order of the code's list; nothing is opened.
#[must_use]
#[allow(unused_mut, unused_variables, reason = "without domains there is nothing to make")]
pub fn make(names: &[&'static str], metrics: &Metrics) -> Vec<Box<dyn Domain>> {
    let mut domains: Vec<Box<dyn Domain>> = Vec::new();

    #[cfg(feature = "fleet-customers")]
    let customers = {
        use crate::domains::fleet_customers::{FleetCustomers, NAME};
        names.contains(&NAME).then(|| FleetCustomers::new(metrics))
    };

    #[cfg(feature = "fleet-orders-manager")]
    let orders = {
        use crate::domains::fleet_orders_manager::{FleetOrdersManager, NAME};
        #[cfg(feature = "fleet-customers")]
        let neighbour = customers.as_ref().map(customer_book::direct);
        #[cfg(not(feature = "fleet-customers"))]
        let neighbour = None;
        names.contains(&NAME).then(|| FleetOrdersManager::new(metrics, neighbour))
    };

    #[cfg(feature = "fleet-customers")]
    domains.extend(customers.map(|domain| Box::new(domain) as Box<dyn Domain>));
    #[cfg(feature = "fleet-orders-manager")]
    domains.extend(orders.map(|domain| Box::new(domain) as Box<dyn Domain>));
    #[cfg(feature = "fleet-communications")]
    {
        use crate::domains::fleet_communications::{FleetCommunications, NAME};
        if names.contains(&NAME) {
            domains.push(Box::new(FleetCommunications::new(metrics)));
        }
    }
    #[cfg(feature = "deptrans-driver-status-integration")]
    {
        use crate::domains::deptrans_driver_status_integration::{Deptrans, NAME};
        if names.contains(&NAME) {
            domains.push(Box::new(Deptrans::new(metrics)));
        }
    }
    #[cfg(feature = "scooter-accumulator")]
    {
        use crate::domains::scooter_accumulator::{NAME, ScooterAccumulator};
        if names.contains(&NAME) {
            domains.push(Box::new(ScooterAccumulator::new(metrics)));
        }
    }
    domains
}

/// fleet-customers as the customer book of fleet-orders-manager.
#[cfg(all(feature = "fleet-customers", feature = "fleet-orders-manager"))]
mod customer_book {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use crate::domains::fleet_customers::{CustomerUpserts, FleetCustomers, OrderOptions, Upsert};
    use crate::domains::fleet_orders_manager::{CustomerBook, CustomerOrder, NAME};
    use crate::platform::conditions::IdempotentCall;
    use crate::platform::context::Context;
    use crate::platform::error::Result;

    /// By a direct call.
    pub(super) fn direct(domain: &FleetCustomers) -> Arc<dyn CustomerBook> {
        Arc::new(Direct(domain.upserts()))
    }

    struct Direct(CustomerUpserts);

    impl CustomerBook for Direct {
        fn record<'a>(
            &'a self,
            context: &'a Context,
            order: &'a CustomerOrder,
        ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
            Box::pin(async move {
                let park = order.park_id.as_str();
                // The order is recorded once, whatever is known of it the second time.
                let call = IdempotentCall::new(NAME, park, "upsert", order.order_id.as_str(), &[]);
                self.0.upsert(context, upsert(order), call).await
            })
        }
    }

    fn upsert(order: &CustomerOrder) -> Upsert {
        Upsert {
            park_id: order.park_id.clone(),
            phone: None,
            personal_phone_id: Some(order.personal_phone_id.clone()),
            name: None,
            sms_enabled: None,
            order_options: order.order_options.as_ref().map(|options| OrderOptions {
                classes: options.classes.clone(),
                requirements: options.requirements.clone(),
                comment: options.comment.clone(),
                payment_type: options.payment_type.clone(),
            }),
            ordered_at: order.ordered_at,
        }
    }
}
