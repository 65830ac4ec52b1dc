//! Mailings.

use std::sync::Arc;

use utoipa_actix_web::service_config::ServiceConfig;

use super::Tools;

/// Mailings and their templates.
pub(super) struct Mailings {
    _tools: Arc<Tools>,
}

impl Mailings {
    pub(super) fn start(tools: Arc<Tools>) -> Self {
        Self { _tools: tools }
    }
}

pub(super) fn mount(_: &mut ServiceConfig<'_>) {}
