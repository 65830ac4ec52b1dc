//! Which methods each route answers.

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use utoipa::openapi;

/// Which methods each path template answers, read from the OpenAPI document.
pub(super) struct AllowTable(Vec<(ResourceDef, String)>);

impl AllowTable {
    pub fn new(document: &openapi::OpenApi) -> Self {
        let row = |(path, item): (&String, &openapi::PathItem)| {
            let methods = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::PUT, item.put.is_some()),
                (Method::PATCH, item.patch.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            let allowed: Vec<String> = methods
                .iter()
                .filter(|(_, has)| *has)
                .map(|(method, _)| method.to_string())
                .collect();
            (ResourceDef::new(path.as_str()), allowed.join(", "))
        };
        Self(document.paths.paths.iter().map(row).collect())
    }

    /// The methods of the route that `path` is of.
    pub fn allowed(&self, path: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(pattern, _)| pattern.is_match(path))
            .map(|(_, methods)| methods.as_str())
    }
}
