//! The rules. Plain values in and out.

use secrecy::{ExposeSecret as _, SecretString};

use super::Bindings;
use super::model::IdPresence;
use super::store::{self, Standing};
use crate::domains::deptrans_driver_status_integration::directory::License;
use crate::platform::context::Context;
use crate::platform::database::PackedId;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{ParkId, PersonalId};
use crate::upstreams::krt::Match;
use crate::upstreams::personal::PersonalKind;

/// Codes of what stands against a binding.
pub const PROFILE_UNKNOWN: &str = "driver_profile_not_found";
pub const LICENSE_UNKNOWN: &str = "driver_license_unknown";
pub const BOUND_ELSEWHERE: &str = "id_bound_to_another_license";
pub const MISMATCH: &str = "id_does_not_match_license";

/// Kept back of the caller's patience for writing, when the regulator is asked.
const FOR_WRITING: f64 = 0.2;

impl Bindings {
    /// Whether the driver has an id. One of whom nothing is known has none.
    pub(super) async fn presence(
        &self,
        context: &Context,
        park: &ParkId,
        driver: &str,
    ) -> Result<IdPresence> {
        let Some(license) = self.directory.license_of(park.as_str(), driver) else {
            return Ok(IdPresence::of(None));
        };
        let license = PackedId::new(license.as_str());
        let read = async |connection: &_| store::id_of(connection, &license).await;
        let id = self.database.statement(context, read).await?;
        Ok(IdPresence::of(id.as_ref().map(|id| id.text()).as_deref()))
    }

    /// Binds an id to the driver's licence, once the regulator confirms that they belong together. In
    /// the place of another id of his, too. Repeating it changes nothing.
    ///
    /// # Errors
    /// The codes above; `krt_unavailable` or `personal_unavailable`, with nothing stored.
    pub(super) async fn bind(
        &self,
        context: &Context,
        park: &ParkId,
        driver: &str,
        id: &SecretString,
    ) -> Result<IdPresence> {
        let outcome = self.try_bind(context, park, driver, id).await;
        match &outcome {
            Ok(true) => self.metrics.count("bound"),
            Ok(false) => self.metrics.count("unchanged"),
            Err(error) => self.metrics.count_failure(error),
        }
        outcome.map(|_| IdPresence::of(Some(id.expose_secret())))
    }

    /// Whether that changed anything.
    async fn try_bind(
        &self,
        context: &Context,
        park: &ParkId,
        driver: &str,
        id: &SecretString,
    ) -> Result<bool> {
        let license_id = match self.directory.license(park.as_str(), driver) {
            License::Known(license) => license,
            License::UnknownProfile => return Err(profile_unknown()),
            License::Without => return Err(license_unknown()),
        };
        let (license, packed) =
            (PackedId::new(license_id.as_str()), PackedId::new(id.expose_secret()));
        let ask = async |connection: &_| store::standing(connection, &license, &packed).await;
        match self.database.statement(context, ask).await? {
            Standing::OfThisLicense => return Ok(false),
            Standing::OfAnother => return Err(bound_elsewhere()),
            Standing::Free => {}
        }

        let asking = context.keeping_back(FOR_WRITING);
        let kind = PersonalKind::DriverLicenses;
        let number = self.personal.retrieve(&asking, kind, license_id.as_str()).await?;
        let number = number.ok_or_else(license_unknown)?;
        match self.krt.check(&asking, id, &number).await? {
            Match::Yes => {}
            Match::No | Match::UnknownId => return Err(mismatch()),
        }

        let (parks, drivers) = self.profiles_of(&license_id);
        let bind = async |connection: &mut _| {
            store::bind(connection, &license, &packed, &parks, &drivers).await
        };
        self.database.transaction(context, bind).await
    }

    /// The parks and the drivers of a licence's profiles.
    fn profiles_of(&self, license: &PersonalId) -> (Vec<PackedId>, Vec<PackedId>) {
        let (mut parks, mut drivers) = (Vec::new(), Vec::new());
        self.directory.each_profile(license.as_str(), |park, driver| {
            parks.push(PackedId::new(park));
            drivers.push(PackedId::new(driver));
        });
        (parks, drivers)
    }

    /// Removes what is bound to a licence, with the state of its shift. Whoever is on line under the id
    /// is reported off line under it afterwards. Repeating it changes nothing.
    pub(super) async fn remove(&self, context: &Context, license: &PersonalId) -> Result<()> {
        let (parks, drivers) = self.profiles_of(license);
        let license = PackedId::new(license.as_str());
        let unbind =
            async |connection: &mut _| store::unbind(connection, &license, &parks, &drivers).await;
        let removed = self.database.transaction(context, unbind).await;
        match &removed {
            Ok(true) => self.metrics.count("removed"),
            Ok(false) => {}
            Err(error) => self.metrics.count_failure(error),
        }
        removed.map(|_| ())
    }
}

fn profile_unknown() -> Error {
    Error::not_found(PROFILE_UNKNOWN, "This driver's profile is not known yet.")
}

fn license_unknown() -> Error {
    let detail = "Nothing is known of this driver's licence yet.";
    Error::new(Kind::Conflict, LICENSE_UNKNOWN, detail)
}

/// What is refused when an id is another licence's. It has no cause: that would name the id.
pub(super) fn bound_elsewhere() -> Error {
    let detail = "This id is bound to another driving licence.";
    Error::new(Kind::Conflict, BOUND_ELSEWHERE, detail)
}

fn mismatch() -> Error {
    let detail = "The regulator does not know this id as that of the driver's licence.";
    Error::new(Kind::Unprocessable, MISMATCH, detail)
}
