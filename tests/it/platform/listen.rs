//! Notifications: one listening connection for all subscribers, which comes back by itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::platform::config::ConfigSource;
use fleet::platform::database::{Database, Follower, Signal, Subscription};
use fleet::platform::error::{Error, Result};
use fleet::platform::shutdown;
use fleet::platform::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::database::TestDatabase;
use crate::support::proxy::{Mode, Proxy, host_and_port};

fn open(url: &str, runtime: &Runtime) -> Database {
    let text = format!("[database]\nurl = '{url}'\nconnect_timeout_ms = 10000\n");
    let config = ConfigSource::texts(vec![text]).load().unwrap();
    let settings = config.section("database").unwrap();
    Database::new(settings, &Metrics::default(), runtime.handle().clone()).unwrap()
}

async fn next(subscription: &mut Subscription) -> Option<Signal> {
    timeout(PATIENCE, subscription.next()).await.expect("a signal")
}

fn notified(payload: &str) -> Signal {
    Signal::Notified(payload.into())
}

const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'fleet listen'";
const END: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fleet listen'";

#[actix_web::test]
async fn subscribers_share_a_connection_and_get_what_is_theirs() {
    let test = TestDatabase::create();
    let runtime = Runtime::new().unwrap();
    let database = open(&test.url(), &runtime);
    let mut first = database.subscribe("one");
    assert_eq!(next(&mut first).await, Some(Signal::MayHaveMissed));
    let mut other = database.subscribe("two");
    let mut second = database.subscribe("one");
    assert_eq!(next(&mut other).await, Some(Signal::MayHaveMissed));
    test.execute("NOTIFY one, 'a'; NOTIFY two, 'b'; NOTIFY three, 'c'; NOTIFY one, 'd'").await;
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription).await, Some(notified("a")));
        assert_eq!(next(subscription).await, Some(notified("d")));
    }
    assert_eq!(next(&mut other).await, Some(notified("b")));
    assert_eq!(test.count(LISTENING).await, 1);

    // What is rolled back is told to nobody.
    test.execute("BEGIN; NOTIFY one, 'never'; ROLLBACK; NOTIFY one, 'e'").await;
    assert_eq!(next(&mut first).await, Some(notified("e")));

    database.close();
    assert_eq!(next(&mut other).await, None);
    assert_eq!(next(&mut database.subscribe("one")).await, None);
    runtime.shutdown_background();
}

#[actix_web::test]
async fn a_subscriber_is_told_when_it_may_have_missed_something() {
    let test = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&test.url()).1);
    let runtime = Runtime::new().unwrap();
    let database = open(&proxy.in_front_of(&test.url()), &runtime);
    let mut subscription = database.subscribe("one");
    assert_eq!(next(&mut subscription).await, Some(Signal::MayHaveMissed));
    for _ in 0..3 {
        assert!(test.count(END).await >= 1);
        assert_eq!(next(&mut subscription).await, Some(Signal::MayHaveMissed));
        test.execute("NOTIFY one, 'again'").await;
        assert_eq!(next(&mut subscription).await, Some(notified("again")));
    }
    proxy.set(Mode::Close);
    test.execute("NOTIFY one, 'missed'").await;
    assert!(timeout(Duration::from_millis(300), subscription.next()).await.is_err());
    proxy.set(Mode::Pass);
    assert_eq!(next(&mut subscription).await, Some(Signal::MayHaveMissed));
    // A slow one is told so too, and goes on.
    let many: String = (0..1000).map(|n| format!("NOTIFY one, '{n}';")).collect();
    let mut quick = database.subscribe("one");
    test.execute(&many).await;
    test.execute("NOTIFY one, 'last'").await;
    while next(&mut quick).await != Some(notified("last")) {}
    assert_eq!(next(&mut subscription).await, Some(Signal::MayHaveMissed));
    while next(&mut subscription).await != Some(notified("last")) {}
    runtime.shutdown_background();
}

/// Counts what it is told; its looks fail as often as it was made to.
#[derive(Default)]
struct Counting {
    notified: Mutex<Vec<String>>,
    looks: watch::Sender<usize>,
    failing: AtomicUsize,
}

impl Follower for Counting {
    const CHANNEL: &'static str = "one";
    const WHAT: &'static str = "a test";

    fn notified(&self, payload: &str) {
        self.notified.lock().unwrap().push(payload.to_owned());
        self.looks.send_modify(|_| ());
    }

    async fn look(&self, _: &Database) -> Result<()> {
        self.looks.send_modify(|looks| *looks += 1);
        let fails = |left: usize| left.checked_sub(1);
        match self.failing.fetch_update(Ordering::AcqRel, Ordering::Acquire, fails) {
            Ok(_) => Err(Error::unavailable("a_test", "This look fails.")),
            Err(_) => Ok(()),
        }
    }
}

#[actix_web::test]
async fn a_follower_looks_when_it_may_have_missed_something_and_after_a_look_that_failed() {
    let test = TestDatabase::create();
    let runtime = Runtime::new().unwrap();
    let database = open(&test.url(), &runtime);
    let follower = Arc::new(Counting::default());
    follower.failing.store(2, Ordering::Release);
    let mut looks = follower.looks.subscribe();
    let (trigger, stop) = shutdown::channel();
    let (followed, by) = (database.clone(), Arc::clone(&follower));
    // It would be a day until the next look.
    let day = Duration::from_hours(24);
    let following = runtime.spawn(async move { followed.follow(&*by, day, &stop).await });

    // At once, when the channel is listened to, and after each of the two that failed, in any order.
    timeout(PATIENCE, looks.wait_for(|looks| *looks >= 3)).await.expect("looks").unwrap();
    test.execute("NOTIFY one, 'a'; NOTIFY one, 'b'").await;
    let both = |_: &usize| *follower.notified.lock().unwrap() == ["a", "b"];
    timeout(PATIENCE, looks.wait_for(both)).await.expect("notifications").unwrap();

    let before = *looks.borrow();
    assert!(test.count(END).await >= 1);
    timeout(PATIENCE, looks.wait_for(|looks| *looks > before)).await.expect("a look").unwrap();
    trigger.fire();
    timeout(PATIENCE, following).await.expect("it stops").unwrap();
    runtime.shutdown_background();
}
