//! The caches of drivers (docs/decisions/deptrans-directory.md): memory for each, look-ups, what
//! reading everything takes, and a restart from the dump. `make bench PART=directory` runs it; it needs no
//! database. `QUICK=1`: 100 000 drivers in place of a million; `DRIVERS=…`: so many.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fleet::domains::deptrans_driver_status_integration::directory::{
    Directory, DirectoryMetrics, DirectorySettings, Sources,
};
use fleet::platform::background::Background;
use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{UpstreamMetrics, UpstreamSettings};
use fleet::sandbox::{Sandbox, SandboxDriver, SandboxOptions, start};
use fleet::upstreams::driver_categories::DriverCategories;
use fleet::upstreams::driver_profiles::DriverProfiles;
use serde_json::json;

use crate::report::Row;

const LOOKUPS: usize = 2_000_000;
const ROUNDS: usize = 3;
const CHANGES: u64 = 20_000;

pub fn run() {
    actix_web::rt::System::new().block_on(measure());
}

fn drivers() -> u64 {
    let usual = if std::env::var_os("QUICK").is_some() { 100_000 } else { 1_000_000 };
    std::env::var("DRIVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

async fn measure() {
    let drivers = drivers();
    let options = SandboxOptions { drivers, ..SandboxOptions::default() };
    let sandbox = start(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), &options).unwrap();
    let folder = std::env::temp_dir().join(format!("fleet-bench-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let before = resident();
    let caches = Caches::start(&sandbox, Path::new("")).await;
    let sizes = caches.directory.sizes();
    let each = |bytes: f64| bytes / drivers as f64;
    Row {
        figure: &format!("{drivers} drivers read into the cache, stand-ins in the same process"),
        server: format!("{:.2} s", caches.took.as_secs_f64()),
        memory: format!(
            "{:.0} B a driver, {:.0} by the process",
            each(sizes.bytes as f64),
            each(resident() - before)
        ),
        ..Row::default()
    }
    .print();
    println!("{sizes:?}");
    lookups(&caches.directory, drivers);
    while_it_changes(&sandbox, &caches.directory, drivers).await;
    caches.stop().await;

    Caches::start(&sandbox, &folder).await.stop().await;
    let file = folder.join("directory.dump");
    let size = std::fs::metadata(&file).unwrap().len();
    let caches = Caches::start(&sandbox, &folder).await;
    Row {
        figure: "start from the dump, with what changed since",
        server: format!("{:.2} s", caches.took.as_secs_f64()),
        memory: format!("file {:.1} MB, {:.0} B a driver", size as f64 / 1e6, each(size as f64)),
        ..Row::default()
    }
    .print();
    // The first dump is written at the start; the one that is timed is the last one.
    let stopping = Instant::now();
    caches.stop().await;
    Row {
        figure: "stop, dump included",
        server: format!("{:.2} s", stopping.elapsed().as_secs_f64()),
        ..Row::default()
    }
    .print();
    std::fs::remove_dir_all(&folder).unwrap();
}

struct Caches {
    directory: Directory,
    background: Background,
    took: Duration,
}

impl Caches {
    async fn start(sandbox: &Sandbox, dump_dir: &Path) -> Self {
        let metrics = Metrics::default();
        let registered = UpstreamMetrics::register(&metrics);
        let settings = |stand_in| UpstreamSettings {
            base_url: sandbox.base_url(stand_in),
            token: "bench".into(),
            timeout_ms: 10_000,
            ..UpstreamSettings::default()
        };
        let (profiles, categories) =
            (settings("driver-profiles"), settings("driver-categories-api"));
        let sources = Sources {
            profiles: DriverProfiles::new(&profiles, &registered).unwrap(),
            categories: DriverCategories::new(&categories, &registered).unwrap(),
            origin: "bench".to_owned(),
        };
        let settings = DirectorySettings {
            refresh_ms: 100,
            page: 5_000,
            dump_dir: PathBuf::from(dump_dir),
            dump_ms: 3_600_000,
            least_share: 0.5,
            shrunken_ms: 600_000,
        };
        let background = Background::default();
        let watched = DirectoryMetrics::register(&metrics);
        let started = Instant::now();
        let asked_for = ["econom".to_owned()];
        let directory =
            Directory::start(sources, settings, &asked_for, &watched, &background).await.unwrap();
        Self { directory, background, took: started.elapsed() }
    }

    async fn stop(self) {
        self.background.finish(Duration::from_mins(1)).await;
    }
}

/// Drivers in no order.
fn sample(drivers: u64) -> Vec<SandboxDriver> {
    let mut at = 12_345;
    let mut next = || {
        at = (at + 618_033_988_749_894_849 % drivers) % drivers;
        SandboxDriver::of(at)
    };
    (0..100_000).map(|_| next()).collect()
}

fn lookups(directory: &Directory, drivers: u64) {
    let sample = sample(drivers);
    let wanted = directory.category_set(["econom", "comfort"]);
    let license = |driver: &SandboxDriver| {
        directory.with_license(&driver.park_id, &driver.driver_id, |id| black_box(id.len()));
    };
    let owned = |driver: &SandboxDriver| {
        black_box(directory.license_of(&driver.park_id, &driver.driver_id));
    };
    let works = |driver: &SandboxDriver| {
        black_box(directory.works_in_any(&driver.park_id, &driver.driver_id, wanted));
    };
    let profiles = |driver: &SandboxDriver| {
        if let Some(license) = &driver.license {
            directory.each_profile(&license.pd_id, |park, driver| {
                black_box((park, driver));
            });
        }
    };
    for (name, look) in [
        ("licence of a profile, in place", &license as &dyn Fn(&SandboxDriver)),
        ("licence of a profile, as a string", &owned),
        ("works in one of two categories", &works),
        ("profiles of a licence", &profiles),
    ] {
        let round = || {
            let started = Instant::now();
            sample.iter().cycle().take(LOOKUPS).for_each(look);
            started.elapsed().as_nanos() as f64 / LOOKUPS as f64
        };
        let best = (0..ROUNDS).map(|_| round()).fold(f64::MAX, f64::min);
        Row {
            figure: &format!("look-up: {name}; best of {ROUNDS} rounds of {LOOKUPS}"),
            server: format!("{best:.0} ns, {:.1} M/s", 1_000.0 / best),
            ..Row::default()
        }
        .print();
    }
}

/// How long look-ups take at most while the feeds bring changes.
async fn while_it_changes(sandbox: &Sandbox, directory: &Directory, drivers: u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let (looking, stopped) = (directory.clone(), Arc::clone(&stop));
    let reader = thread::spawn(move || {
        let sample = sample(drivers);
        let mut times = Vec::with_capacity(50_000_000);
        for driver in sample.iter().cycle() {
            if stopped.load(Ordering::Relaxed) || times.len() == times.capacity() {
                break;
            }
            let started = Instant::now();
            black_box(looking.license_of(&driver.park_id, &driver.driver_id));
            times.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        times.sort_unstable();
        times
    });
    let started = Instant::now();
    for number in 0..CHANGES {
        let driver = SandboxDriver::of(number * 7 % drivers);
        let change = json!({ "license_pd_id": format!("{number:032x}") });
        sandbox.set_profile(&driver.park_id, &driver.driver_id, &change).unwrap();
    }
    let last = SandboxDriver::of((CHANGES - 1) * 7 % drivers);
    let is_there = || {
        let license = directory.license_of(&last.park_id, &last.driver_id);
        license.is_some_and(|id| id.as_str() == format!("{:032x}", CHANGES - 1))
    };
    while !is_there() {
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    let times = reader.join().unwrap();
    // Of ten thousand.
    let at = |share: usize| f64::from(times[times.len() * share / 10_000]) / 1_000.0;
    Row {
        figure: &format!("{CHANGES} changes seen, look-ups meanwhile"),
        server: format!("{:.2} s", took.as_secs_f64()),
        latency: format!(
            "median {:.2} µs, p99.9 {:.1}, p99.99 {:.0}, most {:.0} (of {})",
            at(5_000),
            at(9_990),
            at(9_999),
            f64::from(*times.last().unwrap()) / 1_000.0,
            times.len()
        ),
        ..Row::default()
    }
    .print();
}

/// Memory of this process, in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096.0
}
