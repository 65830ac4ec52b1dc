//! Where domains mount their routes, and how these come into the API document.

use actix_web::dev::HttpServiceFactory;
use actix_web::web;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathsMap;
use utoipa_actix_web::OpenApiFactory;

/// Takes the routes of one server. They are mounted for each worker, and described once a process:
/// a description takes megabytes to put together, and a worker needs none.
pub struct Routes<'a> {
    config: &'a mut web::ServiceConfig,
    document: Option<&'a mut OpenApi>,
    prefix: String,
}

impl<'a> Routes<'a> {
    /// Mounts in `config`.
    pub fn new(config: &'a mut web::ServiceConfig) -> Self {
        Self { config, document: None, prefix: String::new() }
    }

    /// The same, and describes each route in `document`.
    pub fn described(config: &'a mut web::ServiceConfig, document: &'a mut OpenApi) -> Self {
        Self { config, document: Some(document), prefix: String::new() }
    }

    /// Mounts a handler.
    pub fn service<H>(&mut self, handler: H) -> &mut Self
    where
        H: HttpServiceFactory + OpenApiFactory + 'static,
    {
        if let Some(document) = &mut self.document {
            describe(&handler, &self.prefix, document);
        }
        self.config.service(handler);
        self
    }

    /// Mounts what `mount` mounts below `path`.
    pub fn scope(&mut self, path: &str, mount: impl FnOnce(&mut Routes<'_>)) -> &mut Self {
        let prefix = format!("{}{path}", self.prefix);
        let document = self.document.as_deref_mut();
        let scope =
            web::scope(path).configure(|config| mount(&mut Routes { config, document, prefix }));
        self.config.service(scope);
        self
    }

    /// Hands `data` to the handlers.
    pub fn app_data<T: 'static>(&mut self, data: T) -> &mut Self {
        self.config.app_data(data);
        self
    }
}

fn describe(handler: &impl OpenApiFactory, prefix: &str, document: &mut OpenApi) {
    let mut paths = handler.paths();
    let items = std::mem::take(&mut paths.paths).into_iter();
    paths.paths =
        items.map(|(path, item)| (format!("{prefix}{path}"), item)).collect::<PathsMap<_, _>>();
    document.paths.merge(paths);
    let mut schemas = Vec::new();
    handler.schemas(&mut schemas);
    document.components.get_or_insert_default().schemas.extend(schemas);
}
