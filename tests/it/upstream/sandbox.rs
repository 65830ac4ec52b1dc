//! The sandbox's own routes.

use actix_web::http::{Method, StatusCode};
use fleet::platform::upstream::Call;
use serde_json::{Value, json};

use super::{ctx, rig, store, upstream_of};

#[actix_web::test]
async fn the_sandbox_is_steered_over_http_too() {
    let rig = rig(|_| {});
    let control = upstream_of(format!("http://{}/__sandbox", rig.sandbox.addr()), |_| {});
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let mut call = Call::new(method, "sandbox", path);
        if let Some(body) = body {
            call = call.body(body.to_string());
        }
        let reply = control.call(&ctx(), call).await.unwrap();
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply.status.as_u16(), body)
    };
    let fault = json!({"kind": "status", "status": 404, "times": 3});
    assert_eq!(send(Method::PUT, "/faults/personal", Some(fault.clone())).await.0, 204);
    assert_eq!(send(Method::GET, "/faults", None).await, (200, json!({"personal": fault})));
    assert_eq!(rig.send(store()).await, Ok(StatusCode::NOT_FOUND));
    assert_eq!(send(Method::DELETE, "/faults/personal", None).await.0, 204);
    assert_eq!(rig.send(store()).await, Ok(StatusCode::OK));
    let calls = json!({"personal": {"POST /v1/phones/store": 2}});
    assert_eq!(send(Method::GET, "/calls", None).await, (200, calls));
    assert_eq!(send(Method::DELETE, "/calls", None).await.0, 204);
    assert_eq!(rig.stores(), 0);
    for (path, body) in [
        ("/faults/personal", json!({"kind": "no such"})),
        ("/faults/nobody", json!({"kind": "close"})),
    ] {
        assert_eq!(send(Method::PUT, path, Some(body)).await.0, 400, "{path}");
    }
    assert_eq!(send(Method::GET, "/health", None).await.0, 200);
    assert_eq!(send(Method::GET, "/nothing", None).await.0, 404);
}
