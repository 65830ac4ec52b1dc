//! Conversations of a park with its drivers.

use std::sync::Arc;

use utoipa_actix_web::service_config::ServiceConfig;

use super::Tools;
use crate::platform::domain::Platform;

/// Conversations.
pub(super) struct Conversations {
    _tools: Arc<Tools>,
}

impl Conversations {
    pub(super) fn start(tools: Arc<Tools>, _: &Platform) -> Self {
        Self { _tools: tools }
    }
}

pub(super) fn mount(_: &mut ServiceConfig<'_>) {}
