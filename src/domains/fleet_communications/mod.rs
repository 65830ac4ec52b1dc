//! A park's dispatchers write to its drivers: mailings to many, conversations with one. (Seed:
//! `fleet-communications`.)
//!
//! `mailings` (templates, mailings, their sending and recall) and `conversations` (messages both
//! ways, server-sent events) share the database, `parks` (who the drivers are) and `feeds` (which
//! shows them messages). What goes out goes out by background tasks.

mod conversations;
mod mailings;
mod metrics;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use self::conversations::Conversations;
use self::mailings::Mailings;
use self::metrics::CommunicationsMetrics;
use self::settings::CommunicationsSettings;
use crate::platform::config::{Config, Fault};
use crate::platform::database::Database;
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::Result;
use crate::platform::http::routes::Routes;
use crate::platform::readiness::ReadinessRow;
use crate::platform::tasks::Tasks;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::upstream::UpstreamSettings;
use crate::upstreams::feeds::Feeds;
use crate::upstreams::parks::Parks;

/// Feature, route prefix and metric label.
pub const NAME: &str = "fleet-communications";

const SECTION: &str = "fleet_communications";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/fleet_communications");

/// The domain.
pub struct FleetCommunications {
    metrics: CommunicationsMetrics,
    upstreams: Slot<(Parks, Feeds)>,
    mailings: Slot<Mailings>,
    conversations: Slot<Conversations>,
}

/// What both rooms work with.
struct Tools {
    database: Database,
    tasks: Tasks,
    parks: Parks,
    feeds: Feeds,
    settings: CommunicationsSettings,
    metrics: CommunicationsMetrics,
}

impl FleetCommunications {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: CommunicationsMetrics::register(metrics),
            upstreams: Slot::default(),
            mailings: Slot::default(),
            conversations: Slot::default(),
        }
    }
}

impl Domain for FleetCommunications {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(web::Data::new(self.mailings.clone()));
        routes.app_data(web::Data::new(self.conversations.clone()));
        mailings::mount(routes);
        conversations::mount(routes);
    }

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "fleet_communications", embedded: &EMBEDDED })
    }

    fn uses_tasks(&self) -> bool {
        true
    }

    fn upstreams(&self, _: &Config) -> Vec<&'static str> {
        vec!["parks", "feeds"]
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        config.section::<CommunicationsSettings>(SECTION).err().unwrap_or_default()
    }

    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            let upstream = |name: &str| -> Result<UpstreamSettings> {
                platform.section(&format!("upstreams.{name}"))
            };
            let parks = Parks::new(&upstream("parks")?, platform.upstream_metrics())?;
            let feeds = Feeds::new(&upstream("feeds")?, platform.upstream_metrics())?;
            let tools = Arc::new(Tools {
                database: platform.database()?,
                tasks: platform.tasks()?,
                parks: parks.clone(),
                feeds: feeds.clone(),
                settings: platform.section(SECTION)?,
                metrics: self.metrics.clone(),
            });
            let mut cleanings = conversations::cleanings(&tools.settings.conversations);
            cleanings.extend(mailings::cleanings(&tools.settings));
            self.mailings.fill(Mailings::start(Arc::clone(&tools)));
            self.conversations.fill(Conversations::start(tools, platform));
            self.upstreams.fill((parks, feeds));
            platform.clean(cleanings)
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        let Some(upstreams) = self.upstreams.get() else { return Vec::new() };
        let (parks, feeds) = upstreams.as_ref();
        vec![ReadinessRow::of("parks", parks.trouble()), ReadinessRow::of("feeds", feeds.trouble())]
    }
}
