//! Who a request is from. Taking one of these as a handler's first argument is what authorises the
//! route, and the only way to a [`Context`]: without it no service can be called.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::headers;
use super::span::{RequestDeadline, RequestMeta};
use super::state::HttpState;
use crate::platform::config::auth::Audience;
use crate::platform::context::{Context, Deadline};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ParkId;

/// A dispatcher of a park, through the auth proxy.
pub struct Dispatcher {
    /// Deadline, caller, trace.
    pub context: Context,
    /// The park whose dispatcher it is: everything is read and written within it.
    pub park: ParkId,
    /// The person, for audit rows.
    pub dispatcher_id: i64,
}

/// A driver of a park, through the driver app's auth proxy.
pub struct Driver {
    /// Deadline, caller, trace.
    pub context: Context,
    /// The park the driver works for.
    pub park: ParkId,
    /// The driver's profile in that park.
    pub driver_profile_id: String,
}

/// Another back-end service.
pub struct Internal {
    /// Deadline, caller, trace.
    pub context: Context,
}

/// The data-subject service.
pub struct Takeout {
    /// Deadline, caller, trace.
    pub context: Context,
}

fn authorise(request: &HttpRequest, audience: Audience) -> Result<Context> {
    let state = request
        .app_data::<web::Data<HttpState>>()
        .ok_or_else(|| Error::internal("no server state"))?;
    let extensions = request.extensions();
    let meta =
        extensions.get::<Rc<RequestMeta>>().ok_or_else(|| Error::internal("no request meta"))?;
    let header = headers::single(request.headers(), "authorization")?;
    let header = header.and_then(|value| value.to_str().ok());
    let caller = state.callers.authorise(header, state.domain_of(&meta.route), audience)?;
    let deadline = extensions
        .get::<RequestDeadline>()
        .map_or_else(|| Deadline::after(Duration::ZERO), |deadline| deadline.0);
    tracing::Span::current().record("caller", &*caller);
    Ok(Context { deadline, caller, trace: meta.trace })
}

/// A header that identifies, parsed; missing or malformed is the caller's fault.
fn identity<T>(
    request: &HttpRequest,
    name: &'static str,
    must: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T> {
    let value = headers::single(request.headers(), name)?.and_then(|value| value.to_str().ok());
    value.and_then(|text| parse(text.trim())).ok_or_else(|| {
        Error::new(Kind::InvalidInput, "invalid_identity", format!("The header {name} {must}."))
    })
}

fn park(request: &HttpRequest) -> Result<ParkId> {
    let must = "must be 1 to 64 printable ASCII characters without spaces";
    identity(request, "X-Park-Id", must, |text| ParkId::parse(text).ok())
}

macro_rules! extractor {
    ($name:ident, |$request:ident, $context:ident| $build:expr) => {
        impl FromRequest for $name {
            type Error = Error;
            type Future = Ready<Result<Self>>;

            fn from_request($request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let made = authorise($request, Audience::$name).and_then(|$context| $build);
                ready(made)
            }
        }
    };
}

extractor!(Dispatcher, |request, context| {
    let must = "must be a 64-bit integer";
    let dispatcher_id = identity(request, "X-Dispatcher-Id", must, |text| text.parse().ok());
    park(request).and_then(|park| Ok(Self { context, park, dispatcher_id: dispatcher_id? }))
});
extractor!(Driver, |request, context| {
    let must = "must be 1 to 64 printable ASCII characters without spaces";
    let profile = identity(request, "X-Driver-Profile-Id", must, |text| {
        ParkId::parse(text).ok().map(|id| id.as_str().to_owned())
    });
    park(request).and_then(|park| Ok(Self { context, park, driver_profile_id: profile? }))
});
extractor!(Internal, |request, context| Ok(Self { context }));
extractor!(Takeout, |request, context| Ok(Self { context }));

/// The headers of a dispatcher's request, for the API documentation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its description is used")]
pub struct DispatcherHeaders {
    /// The park whose dispatcher this is.
    #[param(rename = "X-Park-Id", min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    park_id: String,
    /// The dispatcher, a 64-bit integer.
    #[param(rename = "X-Dispatcher-Id")]
    dispatcher_id: i64,
}

/// The headers of a driver's request, for the API documentation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its description is used")]
pub struct DriverHeaders {
    /// The park the driver works for.
    #[param(rename = "X-Park-Id", min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    park_id: String,
    /// The driver's profile in that park.
    #[param(rename = "X-Driver-Profile-Id", min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    driver_profile_id: String,
}
