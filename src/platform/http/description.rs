//! The API's description, put together when somebody first asks for it.

use std::sync::OnceLock;

use actix_web::App;
use actix_web::web::Bytes;
use utoipa::OpenApi;
use utoipa::openapi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::allow::AllowTable;
use super::problem::Problem;
use super::routes::Routes;
use super::server::mount_all;
use super::state::Mount;
use crate::platform::error::{Error, Result};

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Components;

/// The OpenAPI 3.1 document of the service routes and of whatever `mount` mounts.
pub fn document(mount: &Mount) -> openapi::OpenApi {
    let mut base = Components::openapi();
    base.info = openapi::InfoBuilder::new()
        .title("fleet")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .build();
    base.servers = Some(vec![openapi::Server::new("/")]);
    base.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    if let Some(components) = base.components.as_mut() {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", scheme);
    }
    // Nothing serves this app: an app alone gives the means to mount.
    drop(
        App::new().configure(|config| mount_all(&mut Routes::described(config, &mut base), mount)),
    );
    base
}

/// What clients are told of the routes. It takes megabytes to put together and most processes are never
/// asked, so nothing of it is made before.
#[derive(Default)]
pub(super) struct Description {
    text: OnceLock<Bytes>,
    allow: OnceLock<AllowTable>,
}

impl Description {
    /// The OpenAPI document as JSON.
    ///
    /// # Errors
    /// `internal_error`: it cannot be written.
    pub fn text(&self, mount: &Mount) -> Result<Bytes> {
        if let Some(text) = self.text.get() {
            return Ok(text.clone());
        }
        let text = document(mount).to_json().map_err(Error::internal)?;
        Ok(self.text.get_or_init(|| text.into()).clone())
    }

    /// Which methods each route answers.
    pub fn allow(&self, mount: &Mount) -> &AllowTable {
        self.allow.get_or_init(|| AllowTable::new(&document(mount)))
    }
}
