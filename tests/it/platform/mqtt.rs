//! The connection to the broker, against a real Mosquitto.

use std::time::{Duration, Instant};

use fleet::platform::mqtt::PublishError;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::mosquitto::{Mosquitto, SERVER_PASSWORD, section};
use crate::support::mqtt::{Client, next};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{PATIENCE, eventually};

const COMMANDS: &str = "cabinets/cab-1/commands";
const EVENTS: &str = "cabinets/cab-1/events";
const ALL_EVENTS: &str = "cabinets/+/events";

/// A cabinet's own side of the broker, by the same client.
fn cabinet(broker: &Mosquitto) -> Client {
    Client::of(&as_cabinet(&broker.section()))
}

fn as_cabinet(section: &str) -> String {
    section.replace("'fleet'", "'cab-1'").replace(SERVER_PASSWORD, "cab-1-secret")
}

#[actix_web::test]
async fn what_is_published_is_heard_by_who_subscribed() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    let mut commands = cabinet.mqtt.subscribe(COMMANDS).unwrap();
    server.up().await;
    cabinet.up().await;
    server.publish(COMMANDS, "open").await;
    assert_eq!(next(&mut commands).await, (COMMANDS.to_owned(), "open".to_owned()));
    cabinet.publish(EVENTS, "opened").await;
    assert_eq!(next(&mut events).await, (EVENTS.to_owned(), "opened".to_owned()));
    assert_eq!(server.count("mqtt_published_total{outcome=\"acknowledged\"}"), 1);
    assert_eq!(server.count("mqtt_acknowledge_seconds_count"), 1);
    assert_eq!((server.count("mqtt_connected"), server.count("mqtt_received_total")), (1, 1));
    assert_eq!(server.mqtt.trouble(), None);
}

#[actix_web::test]
async fn it_waits_for_a_broker_that_is_not_there_yet() {
    let mut broker = Mosquitto::start(&[]).await;
    broker.kill();
    let server = Client::of(&broker.section());
    server.trouble("unreachable").await;
    assert!(!server.mqtt.is_up());
    broker.start_again().await;
    server.up().await;
    assert_eq!(server.mqtt.link().borrow().round, 1);
    assert!(server.count("mqtt_connections_total{outcome=\"unreachable\"}") >= 1);
}

#[actix_web::test]
async fn after_the_broker_was_killed_it_connects_and_subscribes_anew() {
    let mut broker = Mosquitto::start(&["cab-1"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    for round in 1..=3 {
        server.up().await;
        cabinet.up().await;
        assert_eq!(server.mqtt.link().borrow().round, round);
        cabinet.publish(EVENTS, format!("round {round}")).await;
        assert_eq!(next(&mut events).await.1, format!("round {round}"));
        broker.kill();
        for client in [&server, &cabinet] {
            eventually("the link is down", async || !client.mqtt.is_up()).await;
        }
        broker.start_again().await;
    }
}

#[actix_web::test]
async fn what_is_published_while_the_broker_is_down_fails_at_once_and_is_never_sent() {
    let mut broker = Mosquitto::start(&["cab-1"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    let mut commands = cabinet.mqtt.subscribe(COMMANDS).unwrap();
    server.up().await;
    cabinet.up().await;
    broker.kill();
    eventually("both are down", async || !server.mqtt.is_up() && !cabinet.mqtt.is_up()).await;
    let started = Instant::now();
    for _ in 0..50 {
        let sent = server.try_publish(COMMANDS, PATIENCE).await;
        let Err(PublishError::NotSent(error)) = sent else { panic!("{sent:?}") };
        assert_eq!(error.code(), "broker_unavailable");
    }
    assert!(started.elapsed() < PATIENCE / 2, "it does not wait for anything");
    broker.start_again().await;
    server.up().await;
    cabinet.up().await;
    server.publish(COMMANDS, "the first since").await;
    assert_eq!(next(&mut commands).await.1, "the first since");
    assert!(commands.try_next().is_none());
    assert_eq!(server.count("mqtt_published_total{outcome=\"not_sent\"}"), 50);
}

#[actix_web::test]
async fn publishing_all_the_while_a_broker_is_killed_tells_the_truth() {
    let mut broker = Mosquitto::start(&["cab-1"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    server.up().await;
    let mut surely_not = Vec::new();
    let mut heard: Vec<String> = Vec::new();
    for round in 0..4 {
        let mut commands = cabinet.mqtt.subscribe(COMMANDS).unwrap();
        server.up().await;
        cabinet.up().await;
        let publish = async |number: usize| {
            let text = format!("{round}-{number}");
            let deadline = fleet::platform::context::Deadline::after(Duration::from_secs(5));
            let sent = server.mqtt.publish(COMMANDS, text.clone().into_bytes(), deadline).await;
            matches!(sent, Err(PublishError::NotSent(_))).then_some(text)
        };
        let all = join_all((0..200).map(publish));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(2 * round)).await;
            broker.kill();
        };
        let (not_sent, ()) = futures_util::future::join(all, kill).await;
        surely_not.extend(not_sent.into_iter().flatten());
        eventually("both are down", async || !server.mqtt.is_up() && !cabinet.mqtt.is_up()).await;
        broker.start_again().await;
        server.up().await;
        cabinet.up().await;
        server.publish(COMMANDS, format!("end {round}")).await;
        loop {
            let (_, text) = next(&mut commands).await;
            if text == format!("end {round}") {
                break;
            }
            heard.push(text);
        }
    }
    assert!(surely_not.iter().all(|text| !heard.contains(text)), "{surely_not:?}\n{heard:?}");
}

#[actix_web::test]
async fn a_broker_that_says_nothing_is_given_up_and_nothing_waits_for_it() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let proxy = Proxy::start(broker.addr());
    let server = Client::of(&section(&proxy.in_front_of(&broker.url())));
    server.up().await;
    proxy.set(Mode::BlackHole);
    let sent = server.try_publish(COMMANDS, Duration::from_millis(100)).await;
    assert!(matches!(sent, Err(PublishError::Unknown(_))), "{sent:?}");
    server.trouble("timeout").await;
    let sent = server.try_publish(COMMANDS, PATIENCE).await;
    assert!(matches!(sent, Err(PublishError::NotSent(_))), "{sent:?}");
    assert_eq!(server.count("mqtt_published_total{outcome=\"unknown\"}"), 1);
    proxy.set(Mode::Pass);
    server.up().await;
    assert_eq!(server.mqtt.link().borrow().round, 2);
}

#[actix_web::test]
async fn a_frozen_broker_is_noticed_without_a_word_from_us() {
    let broker = Mosquitto::start(&[]).await;
    let server = Client::of(&broker.section());
    server.up().await;
    broker.freeze();
    eventually("the link is down", async || !server.mqtt.is_up()).await;
    broker.thaw();
    server.up().await;
}

#[actix_web::test]
async fn a_slow_broker_is_waited_for() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let proxy = Proxy::start(broker.addr());
    let server = Client::of(&section(&proxy.in_front_of(&broker.url())));
    server.up().await;
    proxy.set(Mode::Delay(Duration::from_millis(400)));
    let sent = server.try_publish(COMMANDS, PATIENCE).await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(server.count("mqtt_acknowledge_seconds_bucket{le=\"0.1\"}"), 0);
    let impatient = server.try_publish(COMMANDS, Duration::from_millis(300)).await;
    assert!(matches!(impatient, Err(PublishError::Unknown(_))), "{impatient:?}");
    assert!(server.mqtt.is_up(), "that was the caller's deadline, not the broker's");
}

#[actix_web::test]
async fn a_dropped_publication_leaves_room_for_others() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let proxy = Proxy::start(broker.addr());
    let section = section(&proxy.in_front_of(&broker.url())) + "max_in_flight = 2\n";
    let server = Client::of(&section);
    server.up().await;
    proxy.set(Mode::BlackHole);
    for _ in 0..2 {
        let publish = server.try_publish(COMMANDS, PATIENCE);
        let _ = tokio::time::timeout(Duration::from_millis(500), publish).await;
    }
    let sent = server.try_publish(COMMANDS, Duration::from_millis(20)).await;
    assert!(matches!(sent, Err(PublishError::NotSent(_))), "two are on their way: {sent:?}");
    proxy.set(Mode::Pass);
    eventually("there is room", async || {
        server.try_publish(COMMANDS, Duration::from_secs(1)).await.is_ok()
    })
    .await;
}

#[actix_web::test]
async fn a_wrong_password_is_told_apart() {
    let broker = Mosquitto::start(&[]).await;
    let server = Client::of(&broker.section().replace(SERVER_PASSWORD, "wrong"));
    server.trouble("refused").await;
    assert!(matches!(server.try_publish(COMMANDS, PATIENCE).await, Err(PublishError::NotSent(_))));
}

/// A broker that gives each connection these answers, one after each thing it hears.
async fn scripted(answers: &'static [&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            actix_web::rt::spawn(async move {
                let mut heard = [0; 4096];
                for answer in answers {
                    if client.read(&mut heard).await.is_err() {
                        return;
                    }
                    let _ = client.write_all(answer).await;
                }
                while client.read(&mut heard).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    format!("mqtt://{address}")
}

const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const LET_IN: &[u8] = &[0x20, 2, 0, 0];

#[actix_web::test]
async fn a_subscription_that_is_not_granted_is_no_link() {
    // Mosquitto grants every subscription, and delivers what is allowed; others refuse.
    let url = scripted(&[LET_IN, &[0x90, 3, 0, 1, 0x80]]).await;
    let server = Client::of(&section(&url));
    let forbidden = server.mqtt.subscribe("secrets/#").unwrap();
    server.trouble("subscription_refused").await;
    assert!(!server.mqtt.is_up());
    let sent = server.try_publish(COMMANDS, PATIENCE).await;
    assert!(matches!(sent, Err(PublishError::NotSent(_))), "{sent:?}");
    drop(forbidden);
    server.up().await;
    assert!(server.mqtt.subscribe("cabinets/#/events").is_err(), "that is no filter");
}

#[actix_web::test]
async fn a_broker_that_speaks_something_else_is_told_apart() {
    for (answers, trouble) in [
        (&[HTTP][..], "garbled"),
        (&[&[0x20, 2, 0, 5]], "refused"),
        (&[&[0x20, 2, 0, 3]], "unreachable"),
        (&[], "timeout"),
        (&[LET_IN, LET_IN], "garbled"),
    ] {
        let server = Client::of(&section(&scripted(answers).await));
        let _events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
        server.trouble(trouble).await;
        assert!(!server.mqtt.is_up());
    }
}

#[actix_web::test]
async fn a_cabinet_can_neither_speak_for_another_nor_listen_to_it() {
    let broker = Mosquitto::start(&["cab-1", "cab-2"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    let mut spy = cabinet.mqtt.subscribe("cabinets/#").unwrap();
    server.up().await;
    cabinet.up().await;
    // MQTT 3.1.1 has no word for it: the broker acknowledges and drops.
    cabinet.publish("cabinets/cab-2/events", "as another").await;
    cabinet.publish(EVENTS, "as itself").await;
    assert_eq!(next(&mut events).await.1, "as itself");
    server.publish("cabinets/cab-2/commands", "for another").await;
    server.publish(COMMANDS, "for it").await;
    assert_eq!(next(&mut spy).await.1, "for it");
}

#[actix_web::test]
async fn over_tls_only_a_broker_of_the_right_ca_will_do() {
    let broker = Mosquitto::start_with_tls(&[]).await;
    let ca = format!("ca_file = '{}'\n", broker.ca_file().display());
    let server = Client::of(&(broker.section() + &ca));
    server.up().await;
    server.publish(COMMANDS, "hidden").await;

    let other = Mosquitto::start_with_tls(&[]).await;
    let ca_of_another = format!("ca_file = '{}'\n", other.ca_file().display());
    for section in [broker.section() + &ca_of_another, broker.section()] {
        let stranger = Client::of(&section);
        stranger.trouble("tls").await;
        assert!(!stranger.mqtt.is_up());
    }
    let by_another_name = broker.section().replace("127.0.0.1", "localhost") + &ca;
    let server = Client::of(&by_another_name);
    server.trouble("tls").await;
    let plain = Client::of(&broker.section().replace("mqtts://", "mqtt://"));
    eventually("it is not let in", async || {
        matches!(plain.mqtt.trouble(), Some("connection_lost" | "garbled"))
    })
    .await;
}

/// The section of a server that shows a certificate, or none, and gives neither name nor password.
fn by_certificate(broker: &Mosquitto, certificate: &str) -> String {
    let ca = broker.ca_file().display().to_string();
    let section = broker.section().replace("'fleet'", "''").replace(SERVER_PASSWORD, "");
    format!("{section}ca_file = '{ca}'\n{certificate}")
}

#[actix_web::test]
async fn where_the_broker_wants_a_certificate_it_says_who_we_are() {
    let broker = Mosquitto::start_with_certificates().await;
    let server = Client::of(&by_certificate(&broker, &broker.certificate("fleet")));
    let cabinet = Client::of(&by_certificate(&broker, &broker.certificate("cab-1")));
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    server.up().await;
    cabinet.up().await;
    cabinet.publish("cabinets/cab-2/events", "as another").await;
    cabinet.publish(EVENTS, "as itself").await;
    assert_eq!(next(&mut events).await.1, "as itself", "the name is that of the certificate");
}

#[actix_web::test]
async fn a_certificate_that_the_broker_does_not_take_is_told() {
    let broker = Mosquitto::start_with_certificates().await;
    let another = Mosquitto::start_with_certificates().await;
    let of_another_ca = another.certificate("fleet");
    for certificate in ["", &of_another_ca] {
        let server = Client::of(&by_certificate(&broker, certificate));
        server.trouble("tls").await;
        assert!(!server.mqtt.is_up());
        assert_eq!(server.mqtt.row().reason.as_deref(), Some("tls"));
        let sent = server.try_publish(COMMANDS, PATIENCE).await;
        assert!(matches!(sent, Err(PublishError::NotSent(_))), "{sent:?}");
        assert!(server.count("mqtt_connections_total{outcome=\"tls\"}") > 0);
    }
    // With the right one it comes up at the same broker.
    let server = Client::of(&by_certificate(&broker, &broker.certificate("fleet")));
    server.up().await;
}

#[actix_web::test]
async fn duplicates_come_twice_and_oversized_ones_not_at_all() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let server = Client::of(&(broker.section() + "max_payload_bytes = 2000\n"));
    let cabinet = cabinet(&broker);
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    server.up().await;
    cabinet.up().await;
    for text in ["same", "same"] {
        cabinet.publish(EVENTS, text).await;
    }
    cabinet.publish(EVENTS, vec![b'x'; 2001]).await;
    cabinet.publish(EVENTS, vec![b'y'; 2000]).await;
    assert_eq!(next(&mut events).await.1, "same");
    assert_eq!(next(&mut events).await.1, "same");
    assert!(next(&mut events).await.1.starts_with('y'));
    assert_eq!(server.count("mqtt_dropped_total{reason=\"oversized\"}"), 1);
    let own = server.mqtt.publish(
        COMMANDS,
        vec![0; 2001],
        fleet::platform::context::Deadline::after(PATIENCE),
    );
    assert!(matches!(own.await, Err(PublishError::NotSent(error)) if error.code() == "internal"));
    let no_topic = server.try_publish("cabinets/+/commands", PATIENCE).await;
    assert!(matches!(no_topic, Err(PublishError::NotSent(error)) if error.code() == "internal"));
}

#[actix_web::test]
async fn thousands_wait_for_a_slow_reader_and_too_many_are_dropped() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let server =
        Client::of(&(broker.section() + "max_waiting = 3000\nmax_waiting_per_topic = 5000\n"));
    let cabinet = cabinet(&broker);
    let mut slow = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    let mut quick = server.mqtt.subscribe("cabinets/cab-1/#").unwrap();
    server.up().await;
    cabinet.up().await;
    let send = async {
        for start in (0..5000).step_by(100) {
            let publish = async |number: i32| cabinet.publish(EVENTS, number.to_string()).await;
            join_all((start..start + 100).map(publish)).await;
        }
    };
    let read = async {
        let mut seen = Vec::new();
        while seen.len() < 5000 {
            seen.push(next(&mut quick).await.1);
        }
        seen
    };
    let ((), seen) = futures_util::future::join(send, read).await;
    assert_eq!(server.count("mqtt_waiting"), 3000);
    assert_eq!(server.count("mqtt_dropped_total{reason=\"full\"}"), 2000);
    for text in &seen[..3000] {
        assert_eq!(next(&mut slow).await.1, *text, "in order, the oldest kept");
    }
    assert_eq!(server.count("mqtt_waiting"), 0);
}

#[actix_web::test]
async fn a_reader_that_has_gone_is_not_served() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let (server, cabinet) = (Client::of(&broker.section()), cabinet(&broker));
    let gone = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    server.up().await;
    cabinet.up().await;
    drop(gone);
    eventually("it is unsubscribed", async || broker.log().contains("Received UNSUBSCRIBE")).await;
    cabinet.publish(EVENTS, "to nobody").await;
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    eventually("it is granted anew", async || broker.log().matches("Sending SUBACK").count() == 2)
        .await;
    server.up().await;
    cabinet.publish(EVENTS, "to somebody").await;
    assert_eq!(next(&mut events).await.1, "to somebody");
}

#[actix_web::test]
async fn it_takes_leave_when_it_is_closed() {
    let broker = Mosquitto::start(&[]).await;
    let server = Client::of(&broker.section());
    let mut events = server.mqtt.subscribe(ALL_EVENTS).unwrap();
    server.up().await;
    server.mqtt.close(PATIENCE).await;
    assert!(events.next().await.is_none());
    eventually("the broker knows", async || broker.log().contains("Received DISCONNECT")).await;
    assert!(!server.mqtt.is_up());
    let sent = server.try_publish(COMMANDS, PATIENCE).await;
    assert!(matches!(sent, Err(PublishError::NotSent(_))), "{sent:?}");
    assert!(server.mqtt.subscribe(ALL_EVENTS).unwrap().next().await.is_none());
}

#[actix_web::test]
async fn dropping_the_last_handle_closes_it() {
    let broker = Mosquitto::start(&[]).await;
    let server = Client::of(&broker.section());
    server.up().await;
    let mut link = server.mqtt.link();
    drop(server);
    let down = tokio::time::timeout(PATIENCE, link.wait_for(|link| !link.up)).await;
    assert!(down.is_ok());
    eventually("the broker knows", async || broker.log().contains("Received DISCONNECT")).await;
}
