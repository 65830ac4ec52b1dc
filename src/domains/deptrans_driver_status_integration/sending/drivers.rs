//! What the senders ask of the directory.

use super::store::Entry;
use crate::domains::deptrans_driver_status_integration::directory::{CategorySet, Directory};
use crate::platform::database::PackedId;

/// The directory, and the categories that count.
pub(in super::super) struct Drivers {
    directory: Directory,
    wanted: CategorySet,
}

impl Drivers {
    /// A driver counts who works in one of `categories`.
    pub fn new(directory: Directory, categories: &[String]) -> Self {
        let wanted = directory.category_set(categories.iter().map(String::as_str));
        Self { directory, wanted }
    }

    /// Whether the driver counts; `None` when he is not known yet.
    pub(super) fn works(&self, entry: &Entry) -> Option<bool> {
        let (park, driver) = (entry.park_id.text(), entry.driver_id.text());
        self.directory.works_in_any(&park, &driver, self.wanted)
    }

    /// His licence.
    pub(super) fn license_of(&self, entry: &Entry) -> Option<PackedId> {
        let (park, driver) = (entry.park_id.text(), entry.driver_id.text());
        self.directory.with_license(&park, &driver, PackedId::new)
    }
}
