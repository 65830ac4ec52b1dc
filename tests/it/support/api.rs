//! The operations of the API, as the server's own document has them.

use std::fmt;

use actix_web::http::Method;
use fleet::domains::COMPILED;
use serde_json::Value;

use super::client::Caller;

/// An operation as the document has it.
#[derive(Clone)]
pub struct Operation {
    pub method: Method,
    /// The path, with its parameters in braces.
    pub template: String,
    pub description: Value,
}

impl Operation {
    /// All of them; `root` is a caller with paths from the root.
    pub async fn all(root: &Caller) -> Vec<Self> {
        let document = root.get("openapi.json").await.expect(200);
        let mut found = Vec::new();
        for (template, item) in document["paths"].as_object().expect("paths") {
            for (method, description) in item.as_object().expect("operations") {
                found.push(Self {
                    method: method.to_uppercase().parse().expect("a method"),
                    template: template.clone(),
                    description: description.clone(),
                });
            }
        }
        found
    }

    /// Its `operationId`.
    pub fn id(&self) -> &str {
        self.description["operationId"].as_str().unwrap_or_else(|| panic!("{self} has no id"))
    }

    /// `None` for service routes.
    pub fn audience(&self) -> Option<&str> {
        let mut segments = self.template.split('/').skip(1);
        let domain = segments.next().filter(|domain| COMPILED.contains(domain));
        domain.map(|_| segments.next().expect("an audience"))
    }

    /// Whether it has a parameter (header or query) of this name.
    pub fn takes(&self, name: &str) -> bool {
        let parameters = self.description["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|one| one["name"] == name))
    }

    /// Whether it has a body.
    pub fn takes_body(&self) -> bool {
        self.description["requestBody"].is_object()
    }

    /// The path with its parameters filled in; `value` gives each by its name.
    pub fn path<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let mut path = self.template.trim_start_matches('/').to_owned();
        while let Some((before, rest)) = path.split_once('{') {
            let (name, after) = rest.split_once('}').expect("a parameter");
            let value = value(name);
            let value = value.unwrap_or_else(|| panic!("{self}: {name} is not known to the test"));
            path = format!("{before}{value}{after}");
        }
        path
    }

    /// Asserts that the document says this may be answered.
    #[track_caller]
    pub fn assert_documents(&self, status: u16) {
        let documented = self.description["responses"][status.to_string()].is_object();
        assert!(documented, "{self}: {status} is not documented");
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}
