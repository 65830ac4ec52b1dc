//! The client of `personal` against its stand-in.

use fleet::platform::error::{Error, Kind};
use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{UpstreamError, UpstreamMetrics};
use fleet::upstreams::personal::{Personal, PersonalError, PersonalKind};
use secrecy::{ExposeSecret as _, SecretString};

use super::{PHONE, TOKEN, ctx, rig, settings, store};

#[actix_web::test]
async fn personal_keeps_its_contract() {
    let rig = rig(|_| {});
    let (client, ctx, kind) = (&rig.personal, ctx(), PersonalKind::Phones);
    let phone = SecretString::from(PHONE);
    assert_eq!(client.find(&ctx, kind, &phone).await.unwrap(), None);
    let id = client.store(&ctx, kind, &phone).await.unwrap();
    assert_eq!(client.store(&ctx, kind, &phone).await.unwrap(), id);
    assert_eq!(client.find(&ctx, kind, &phone).await.unwrap().as_ref(), Some(&id));
    let value = client.retrieve(&ctx, kind, &id).await.unwrap().unwrap();
    assert_eq!(value.expose_secret(), PHONE);
    assert!(client.retrieve(&ctx, PersonalKind::Names, &id).await.unwrap().is_none());

    let mut ids: Vec<String> = (0..2_500).map(|n| format!("{n:032x}")).collect();
    ids.push(id.clone());
    let values = client.bulk_retrieve(&ctx, kind, &ids).await.unwrap();
    assert_eq!(values.len(), 1);
    assert_eq!(values.get(&id).unwrap().expose_secret(), PHONE);
    assert_eq!(rig.sandbox.calls("personal", "POST /v1/phones/bulk_retrieve"), 3);

    client.delete(&ctx, kind, &ids).await.unwrap();
    client.delete(&ctx, kind, &ids).await.unwrap();
    assert_eq!(client.find(&ctx, kind, &phone).await.unwrap(), None);
}

#[actix_web::test]
async fn personal_refuses_bad_values_and_strangers() {
    let rig = rig(|_| {});
    let bad = SecretString::from("not-a-phone");
    let error = rig.personal.store(&ctx(), PersonalKind::Phones, &bad).await.unwrap_err();
    assert!(matches!(error, PersonalError::BadValue));
    assert_eq!(Error::from(error).kind(), Kind::InvalidInput);

    let mut stranger = settings(rig.sandbox.base_url("personal"));
    stranger.token = SecretString::default();
    let registered = UpstreamMetrics::register(&Metrics::default());
    let stranger = Personal::new(&stranger, &registered).unwrap();
    let phone = SecretString::from(PHONE);
    let error = stranger.find(&ctx(), PersonalKind::Phones, &phone).await.unwrap_err();
    let error = Error::from(error);
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "personal_unavailable"));
    assert_eq!(error.chain(), "answered 401 Unauthorized");
}

#[actix_web::test]
async fn nothing_personal_can_be_printed() {
    let rig = rig(|_| {});
    let id = rig.personal.store(&ctx(), PersonalKind::Phones, &PHONE.into()).await.unwrap();
    let value = rig.personal.retrieve(&ctx(), PersonalKind::Phones, &id).await.unwrap();
    let reply = rig.upstream.call(&ctx(), store()).await.unwrap();
    let wrong_type = reply.json::<u32>().unwrap_err();
    let error = UpstreamError::clone(&wrong_type).into_error("personal_unavailable");
    let printed = format!(
        "{value:?} {reply:?} {:?} {wrong_type:?} {error:?} {} {:?} {}",
        store(),
        error.chain(),
        settings("http://host".into()),
        rig.metrics.render(),
    );
    for secret in [PHONE, TOKEN, id.as_str()] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[actix_web::test]
async fn the_licences_of_the_drivers_are_known_beforehand() {
    let rig = rig(|_| {});
    let (client, ctx, kind) = (&rig.personal, ctx(), PersonalKind::DriverLicenses);
    let license = fleet::sandbox::SandboxDriver::of(12_345).license.unwrap();
    let (id, number) = (license.pd_id.clone(), SecretString::from(license.number.clone()));
    let retrieve = async || {
        let value = client.retrieve(&ctx, kind, &id).await.unwrap();
        value.map(|value| value.expose_secret().to_owned())
    };
    assert_eq!(retrieve().await, Some(license.number.clone()));
    assert_eq!(client.find(&ctx, kind, &number).await.unwrap(), Some(id.clone()));
    let ids = [id.clone(), "0".repeat(32)];
    assert_eq!(client.bulk_retrieve(&ctx, kind, &ids).await.unwrap().len(), 1);
    client.delete(&ctx, kind, &ids).await.unwrap();
    assert_eq!(retrieve().await, None);
    assert_eq!(client.store(&ctx, kind, &number).await.unwrap(), id);
    assert_eq!(retrieve().await, Some(license.number));
    assert!(client.retrieve(&ctx, PersonalKind::Phones, &id).await.unwrap().is_none());
}
