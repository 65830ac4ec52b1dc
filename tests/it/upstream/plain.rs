//! A plain client of one stand-in, with nothing between that retries or translates.

use std::net::TcpListener;
use std::sync::Arc;

use awc::http::Method;
use awc::http::header::{AUTHORIZATION, CONTENT_TYPE};
use fleet::sandbox::{Sandbox, SandboxOptions, start};
use serde_json::Value;

use super::PATIENCE;

/// A sandbox, and how one of its stand-ins is called.
#[derive(Clone)]
pub struct Plain {
    pub sandbox: Arc<Sandbox>,
    base: String,
    header: Option<(&'static str, String)>,
}

impl Plain {
    /// `prefix` comes before every operation that is posted.
    pub fn start(stand_in: &str, prefix: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sandbox = start(listener, &SandboxOptions::default()).unwrap();
        let base = format!("{}{prefix}", sandbox.base_url(stand_in));
        Self { sandbox: Arc::new(sandbox), base, header: None }
    }

    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        Self { header: Some((name, value.to_owned())), ..self.clone() }
    }

    pub async fn post(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.try_post(operation, body).await.unwrap()
    }

    pub async fn try_post(&self, operation: &str, body: &Value) -> Result<(u16, Value), String> {
        let (status, body) = self.try_send(operation, body.to_string()).await?;
        Ok((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    pub async fn send(&self, operation: &str, body: String) -> (u16, String) {
        self.try_send(operation, body).await.unwrap()
    }

    async fn try_send(&self, operation: &str, body: String) -> Result<(u16, String), String> {
        self.exchange(Method::POST, &format!("{}{operation}", self.base), body).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let (status, body) = self.exchange(Method::GET, &url, String::new()).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// A call of the sandbox's own routes.
    pub async fn control(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/__sandbox{path}", self.sandbox.addr());
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (status, body) = self.exchange(method.parse().unwrap(), &url, body).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: String,
    ) -> Result<(u16, String), String> {
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let mut request = client
            .request(method, url)
            .insert_header((AUTHORIZATION, "Bearer token"))
            .insert_header((CONTENT_TYPE, "application/json"));
        if let Some((name, value)) = &self.header {
            request = request.insert_header((*name, value.as_str()));
        }
        let mut response = request.send_body(body).await.map_err(|error| error.to_string())?;
        let body = response.body().limit(16 * 1024 * 1024).await.map_err(|error| error.to_string());
        Ok((response.status().as_u16(), String::from_utf8(body?.to_vec()).unwrap()))
    }
}

/// The code of a refusal.
pub fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}
