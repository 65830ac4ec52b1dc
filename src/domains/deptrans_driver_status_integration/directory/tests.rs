//! The directory against a simple model, whatever happens in whatever order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::dump::{self, DumpError, Head, Mark};
use super::id::{IdRef, TEXT};
use super::refresh::Source;
use super::store::Feed;
use super::{Directory, DirectoryMetrics, DriverKey, License};
use crate::platform::telemetry::metrics::Metrics;
use crate::upstreams::driver_categories::DriverCategory;
use crate::upstreams::driver_profiles::Profile;

const ORIGIN: &str = "http://here";
const CATEGORIES: [&str; 4] = ["econom", "comfort", "vip", "cargo"];

/// Park, driver.
type Key = (String, String);
type PdId = Option<String>;

#[derive(Debug, Clone)]
enum Step {
    Profile(Key, Option<String>),
    NoProfile(Key),
    Categories(Key, Vec<&'static str>),
    NoCategories(Key),
    /// A full load names exactly these.
    AllProfiles(BTreeMap<Key, Option<String>>),
    AllCategories(BTreeMap<Key, Vec<&'static str>>),
    /// The process ends and another one comes up from the dump.
    Restart,
}

#[derive(Debug, Default)]
struct Model {
    profiles: BTreeMap<Key, Option<String>>,
    categories: BTreeMap<Key, Vec<&'static str>>,
    /// Licences that were touched.
    touched: BTreeSet<String>,
}

fn keys() -> impl Strategy<Value = Key> {
    let parks = prop_oneof![Just("park-1"), Just("00000000000000000000000000000abc")];
    let drivers = prop_oneof![
        (0..8u32).prop_map(|n| format!("driver-{n}")),
        (0..8u32).prop_map(|n| format!("{n:032x}")),
        (0..4u32).prop_map(|n| format!("{n:08x}-0000-4000-8000-000000000000")),
        (0..4u32).prop_map(|n| format!("{n}-{}", "x".repeat(40))),
    ];
    (parks.prop_map(str::to_owned), drivers)
}

fn licenses() -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(
        0.8,
        prop_oneof![
            (0..6u32).prop_map(|n| format!("{n:032x}")),
            (0..3u32).prop_map(|n| format!("license-{n}")),
        ],
    )
}

fn category_lists() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(CATEGORIES.to_vec(), 0..=CATEGORIES.len())
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (keys(), licenses()).prop_map(|(key, license)| Step::Profile(key, license)),
        3 => keys().prop_map(Step::NoProfile),
        4 => (keys(), category_lists()).prop_map(|(key, list)| Step::Categories(key, list)),
        2 => keys().prop_map(Step::NoCategories),
        1 => vec((keys(), licenses()), 0..12)
            .prop_map(|all| Step::AllProfiles(all.into_iter().collect())),
        1 => vec((keys(), category_lists()), 0..12)
            .prop_map(|all| Step::AllCategories(all.into_iter().collect())),
        1 => Just(Step::Restart),
    ]
}

struct Rig {
    directory: Directory,
    file: PathBuf,
    load: u16,
}

impl Rig {
    fn new() -> Self {
        let file = std::env::temp_dir().join(format!("directory-{}", uuid::Uuid::now_v7()));
        Self { directory: empty(), file, load: 1 }
    }

    fn profile(&self, (park, driver): &Key, license: Option<&String>, is_deleted: bool) {
        let (park_id, driver_id) = (park.clone(), driver.clone());
        let item = Profile { park_id, driver_id, license_pd_id: license.cloned(), is_deleted };
        assert!(item.apply(&self.directory, self.load, true));
    }

    fn categories(&self, (park, driver): &Key, list: &[&str], is_deleted: bool) {
        let (park_id, driver_id) = (park.clone(), driver.clone());
        let categories = list.iter().map(|name| (*name).to_owned()).collect();
        let item = DriverCategory { park_id, driver_id, categories, is_deleted };
        assert!(item.apply(&self.directory, self.load, true));
    }

    fn sweep<S: Source>(&self) {
        for shard in 0..self.directory.store().shards() {
            for (park, driver) in self.directory.store().left_from_before(shard, S::FEED, self.load)
            {
                S::remove(&self.directory, park, driver.to_ref(), true);
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Profile(key, license) => self.profile(key, license.as_ref(), false),
            Step::NoProfile(key) => self.profile(key, None, true),
            Step::Categories(key, list) => self.categories(key, list, false),
            Step::NoCategories(key) => self.categories(key, &[], true),
            Step::AllProfiles(all) => {
                self.load += 1;
                for (key, license) in all {
                    self.profile(key, license.as_ref(), false);
                }
                self.sweep::<Profile>();
            }
            Step::AllCategories(all) => {
                self.load += 1;
                for (key, list) in all {
                    self.categories(key, list, false);
                }
                self.sweep::<DriverCategory>();
            }
            Step::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        let written = head();
        dump::write(&self.file, &written, &self.directory.0).unwrap();
        let fresh = empty();
        // Bits are given out in another order.
        let _ = fresh.category_set(["cargo", "something-else"]);
        assert_eq!(dump::read(&self.file, ORIGIN, &fresh.0).unwrap(), written);
        self.directory = fresh;
    }

    fn touched(&self) -> BTreeSet<String> {
        let unfinished = self.directory.changes().unfinished();
        unfinished.iter().map(|kept| kept.text(&mut [0; TEXT]).to_owned()).collect()
    }

    fn check(&self, model: &Model) {
        let asked: BTreeSet<&Key> = model.profiles.keys().chain(model.categories.keys()).collect();
        for (park, driver) in asked {
            let license = self.directory.license(park, driver);
            let key = &(park.clone(), driver.clone());
            match model.profiles.get(key) {
                None => assert_eq!(license, License::UnknownProfile, "{key:?}"),
                Some(None) => assert_eq!(license, License::Without, "{key:?}"),
                Some(Some(expected)) => {
                    let License::Known(found) = license else { panic!("{key:?}: {license:?}") };
                    assert_eq!(found.as_str(), expected);
                }
            }
            for name in CATEGORIES {
                let wanted = self.directory.category_set([name]);
                let expected = model.categories.get(key).map(|list| list.contains(&name));
                assert_eq!(self.directory.works_in_any(park, driver, wanted), expected, "{key:?}");
            }
        }
        let mut by_license: BTreeMap<&str, BTreeSet<DriverKey>> = BTreeMap::new();
        for ((park, driver), license) in &model.profiles {
            if let Some(license) = license {
                let key = DriverKey { park_id: park.clone(), driver_id: driver.clone() };
                by_license.entry(license).or_default().insert(key);
            }
        }
        for license in &model.touched {
            let found = self.directory.profiles_of(license);
            let unique: BTreeSet<_> = found.iter().cloned().collect();
            assert_eq!(unique.len(), found.len(), "each once");
            assert_eq!(unique, by_license.get(license.as_str()).cloned().unwrap_or_default());
        }
        let sizes = self.directory.sizes();
        let counted = (sizes.profiles, sizes.categories, sizes.licenses);
        let expected = (model.profiles.len(), model.categories.len(), by_license.len());
        assert_eq!(counted, expected);
        assert_eq!(self.touched(), model.touched);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn empty() -> Directory {
    Directory::empty(&DirectoryMetrics::register(&Metrics::default()))
}

fn head() -> Head {
    let read_at = Timestamp::from_millisecond(1_764_000_000_123).unwrap();
    let mark = |cursor: &str| Mark { cursor: cursor.to_owned(), read_at };
    let (profiles, categories) = (mark("cursor-1"), mark("курсор-2"));
    Head { origin: ORIGIN.to_owned(), profiles, categories }
}

impl Model {
    fn set(&mut self, key: &Key, license: Option<PdId>) {
        let before = self.profiles.get(key).cloned().flatten();
        let after = license.clone().flatten();
        match license {
            Some(license) => drop(self.profiles.insert(key.clone(), license)),
            None => drop(self.profiles.remove(key)),
        }
        if before != after {
            self.touched.extend(before.into_iter().chain(after));
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Profile(key, license) => self.set(key, Some(license.clone())),
            Step::NoProfile(key) => self.set(key, None),
            Step::Categories(key, list) => drop(self.categories.insert(key.clone(), list.clone())),
            Step::NoCategories(key) => drop(self.categories.remove(key)),
            Step::AllProfiles(all) => {
                let keys: BTreeSet<Key> = self.profiles.keys().chain(all.keys()).cloned().collect();
                for key in keys {
                    self.set(&key, all.get(&key).cloned());
                }
            }
            Step::AllCategories(all) => self.categories.clone_from(all),
            Step::Restart => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn it_is_what_a_simple_model_says(steps in vec(steps(), 1..120)) {
        let (mut rig, mut model) = (Rig::new(), Model::default());
        for step in steps {
            rig.apply(&step);
            model.apply(&step);
            rig.check(&model);
        }
    }
}

/// A small directory's dump.
fn dumped() -> (Rig, Vec<u8>) {
    let mut rig = Rig::new();
    for n in 0..40 {
        let key = ("park-1".to_owned(), format!("{n:032x}"));
        rig.apply(&Step::Profile(key.clone(), Some(format!("{:032x}", n / 2))));
        rig.apply(&Step::Categories(key, vec!["econom", "vip"]));
    }
    dump::write(&rig.file, &head(), &rig.directory.0).unwrap();
    let bytes = std::fs::read(&rig.file).unwrap();
    (rig, bytes)
}

#[test]
fn a_dump_that_is_damaged_anywhere_is_not_used() {
    let (rig, bytes) = dumped();
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&rig.file, &damaged).unwrap();
        assert!(dump::read(&rig.file, ORIGIN, &empty().0).is_err(), "a bit at {at}");
        std::fs::write(&rig.file, &bytes[..at]).unwrap();
        assert!(dump::read(&rig.file, ORIGIN, &empty().0).is_err(), "cut at {at}");
    }
    std::fs::write(&rig.file, [bytes.as_slice(), b"x"].concat()).unwrap();
    assert!(matches!(dump::read(&rig.file, ORIGIN, &empty().0), Err(DumpError::Damaged)));
    std::fs::write(&rig.file, &bytes).unwrap();
    assert!(dump::read(&rig.file, ORIGIN, &empty().0).is_ok());
}

#[test]
fn a_dump_of_other_services_or_another_version_is_not_used() {
    let (rig, mut bytes) = dumped();
    let foreign = dump::read(&rig.file, "http://elsewhere", &empty().0);
    assert!(matches!(foreign, Err(DumpError::Foreign)));
    bytes[8] += 1;
    std::fs::write(&rig.file, &bytes).unwrap();
    let other = dump::read(&rig.file, ORIGIN, &empty().0);
    assert!(matches!(other, Err(DumpError::Version)));
}

#[test]
fn a_dump_without_room_for_a_category_is_not_used_where_that_one_is_asked_for() {
    let rig = Rig::new();
    let many: Vec<String> = (0..100).map(|n| format!("category-{n}")).collect();
    let _ = rig.directory.category_set(many.iter().map(String::as_str));
    dump::write(&rig.file, &head(), &rig.directory.0).unwrap();
    let asks = |name: &str| {
        let fresh = empty();
        let _ = fresh.category_set([name]);
        dump::read(&rig.file, ORIGIN, &fresh.0)
    };
    assert!(asks("category-5").is_ok());
    assert!(matches!(asks("category-70"), Err(DumpError::Categories)));
}

#[test]
fn the_dump_can_be_read_by_its_owner_only_and_is_replaced_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let (rig, bytes) = dumped();
    dump::write(&rig.file, &head(), &rig.directory.0).unwrap();
    assert_eq!(std::fs::read(&rig.file).unwrap(), bytes);
    assert_eq!(std::fs::metadata(&rig.file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!rig.file.with_extension("new").exists());
}

#[test]
fn items_whose_ids_are_none_are_passed_over() {
    let directory = empty();
    let item = |park: &str, driver: &str, license: &str| Profile {
        park_id: park.to_owned(),
        driver_id: driver.to_owned(),
        license_pd_id: Some(license.to_owned()),
        is_deleted: false,
    };
    for (park, driver) in [("", "d"), ("p", ""), ("p", "with space"), ("p", &"x".repeat(65))] {
        assert!(!item(park, driver, "l").apply(&directory, 1, true));
    }
    assert!(item("p", "d", "no id").apply(&directory, 1, true));
    assert_eq!(directory.license("p", "d"), License::Without);
    assert_eq!(directory.sizes().profiles, 1);
}

#[test]
fn a_licence_of_many_profiles_loses_them_one_by_one() {
    let mut rig = Rig::new();
    let key = |n: u32| ("park-1".to_owned(), format!("driver-{n}"));
    for n in 0..50 {
        rig.apply(&Step::Profile(key(n), Some("shared".to_owned())));
    }
    for n in 0..50 {
        assert_eq!(rig.directory.profiles_of("shared").len(), 50 - n as usize);
        rig.apply(&Step::NoProfile(key(n)));
    }
    assert_eq!(rig.directory.sizes().licenses, 0);
    assert_eq!(rig.directory.store().categories_of("park-1", "driver-1"), None);
    assert!(rig.directory.store().left_from_before(0, Feed::Profiles, 1).is_empty());
    assert_eq!(IdRef::new("shared"), IdRef::new("shared").to_kept().to_ref());
}
