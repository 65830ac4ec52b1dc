//! How tests steer the stand-ins that deptrans-driver-status-integration calls.

use serde_json::Value;

use super::driver_trackstory::Place;
use super::krt::{KrtCounts, KrtReport};
use super::{Sandbox, world};

impl Sandbox {
    /// Serves the first so many drivers of [`SandboxDriver::of`](world::SandboxDriver::of), and no
    /// others; all cursors are refused.
    ///
    /// # Errors
    /// There are too many.
    pub fn set_drivers(&self, drivers: u64) -> Result<(), String> {
        self.state.set_drivers(drivers)
    }

    /// Changes or adds a profile, in the words of
    /// `PUT /__sandbox/driver-profiles/{park_id}/{driver_id}`.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn set_profile(&self, park: &str, driver: &str, change: &Value) -> Result<(), String> {
        self.state.set_profile(park, driver, change)
    }

    /// Changes or adds a driver of driver-categories-api, in the words of
    /// `PUT /__sandbox/driver-categories-api/{park_id}/{driver_id}`.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn set_categories(&self, park: &str, driver: &str, change: &Value) -> Result<(), String> {
        self.state.driver_categories.set(park, driver, change)
    }

    /// Lets driver-profiles and driver-categories-api refuse all cursors that they gave out.
    pub fn forget_cursors(&self) {
        self.state.driver_profiles.lock().forget_cursors();
        self.state.driver_categories.lock().forget_cursors();
    }

    /// Puts a driver where he is asked for next, in degrees north and east, or nowhere.
    ///
    /// # Errors
    /// Too many were placed.
    pub fn set_position(
        &self,
        park: &str,
        driver: &str,
        position: Option<(f64, f64)>,
    ) -> Result<(), String> {
        let place = position.map(|(lat, lon)| Place { lat, lon });
        self.state.driver_trackstory.place(park, driver, place)
    }

    /// Sets how KRT works, in the words of `PUT /__sandbox/krt`; what is left out is as usual.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_krt(&self, options: Value) -> Result<(), String> {
        self.state.krt.lock().configure(options)
    }

    /// Adds a driver to KRT, or pins his shift, in the words of
    /// `PUT /__sandbox/krt/drivers/{driver_id}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_krt_driver(&self, krt_id: &str, change: Value) -> Result<(), String> {
        self.state.krt.lock().set_driver(krt_id, change)
    }

    /// Lets KRT refuse all tokens that it gave.
    pub fn revoke_krt_tokens(&self) {
        self.state.krt.lock().revoke_tokens();
    }

    /// What KRT was told of a driver, in the order in which it came.
    #[must_use]
    pub fn reported(&self, krt_id: &str) -> Vec<KrtReport> {
        self.state.krt.lock().reports(Some(krt_id))
    }

    /// What KRT was told, in the order in which it came.
    #[must_use]
    pub fn all_reported(&self) -> Vec<KrtReport> {
        self.state.krt.lock().reports(None)
    }

    /// How much KRT was told, and how fast.
    #[must_use]
    pub fn krt_counts(&self) -> KrtCounts {
        self.state.krt.lock().counts()
    }

    /// The driver with this number.
    #[must_use]
    pub fn driver(&self, index: u64) -> world::SandboxDriver {
        world::SandboxDriver::of(index)
    }
}
