//! Name and phone, as `personal` has them at the moment of reading.

use std::collections::HashMap;

use futures_util::future::join;
use secrecy::{ExposeSecret, SecretString};

use super::super::model::{CustomerView, Degraded};
use super::super::store::CustomerRow;
use super::{Answer, Customers};
use crate::platform::context::Context;
use crate::platform::error::{Error, Result};
use crate::upstreams::personal::{PersonalError, PersonalKind};

/// Of the caller's patience, what is kept back from `personal` when an answer is possible without.
const KEPT_BACK: f64 = 0.2;

impl Customers {
    /// Adds the name to a customer whose phone is known, or says that it is missing.
    pub(super) async fn with_name(
        &self,
        context: &Context,
        row: CustomerRow,
        phone: &SecretString,
    ) -> Result<Answer> {
        let version = row.version;
        let ids: Vec<String> = row.name_id().into_iter().collect();
        let context = context.keeping_back(KEPT_BACK);
        let names = self.resolve(&context, PersonalKind::Names, &ids).await;
        let mut view = row.view()?;
        view.phone = exposed(Some(phone));
        if let Ok(names) = names {
            view.name = exposed(names.values().next());
        } else {
            self.metrics.degraded.inc();
            view.degraded.push(Degraded::Personal);
        }
        Ok(Answer { view, version })
    }

    /// Adds name and phone, or says that they are missing.
    pub(super) async fn with_personal(
        &self,
        context: &Context,
        row: CustomerRow,
    ) -> Result<Answer> {
        let version = row.version;
        let mut views = self.with_personal_many(context, vec![row]).await?;
        let view = views.pop().ok_or_else(|| Error::internal("no view"))?;
        Ok(Answer { view, version })
    }

    /// Adds names and phones to all rows with one call for each kind, or says that they are
    /// missing. `personal` is not given all of the caller's patience: without it there is an
    /// answer too.
    pub(super) async fn with_personal_many(
        &self,
        context: &Context,
        rows: Vec<CustomerRow>,
    ) -> Result<Vec<CustomerView>> {
        let phone_ids: Vec<String> =
            rows.iter().map(|row| row.phone_id().map(String::from)).collect::<Result<_>>()?;
        let name_ids: Vec<Option<String>> = rows.iter().map(CustomerRow::name_id).collect();
        let wanted_names: Vec<String> = name_ids.iter().flatten().cloned().collect();
        let context = context.keeping_back(KEPT_BACK);
        let phones = self.resolve(&context, PersonalKind::Phones, &phone_ids);
        let names = self.resolve(&context, PersonalKind::Names, &wanted_names);
        let (phones, names) = join(phones, names).await;
        if phones.is_err() || names.is_err() {
            self.metrics.degraded.inc();
        }
        rows.into_iter()
            .zip(phone_ids.iter().zip(&name_ids))
            .map(|(row, (phone_id, name_id))| {
                let mut view = row.view()?;
                match (&phones, &names) {
                    (Ok(phones), Ok(names)) => {
                        view.phone = exposed(phones.get(phone_id));
                        view.name = exposed(name_id.as_ref().and_then(|id| names.get(id)));
                    }
                    _ => view.degraded.push(Degraded::Personal),
                }
                Ok(view)
            })
            .collect()
    }

    async fn resolve(
        &self,
        context: &Context,
        kind: PersonalKind,
        ids: &[String],
    ) -> std::result::Result<HashMap<String, SecretString>, PersonalError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.personal.bulk_retrieve(context, kind, ids).await
    }
}

fn exposed(value: Option<&SecretString>) -> Option<String> {
    value.map(|value| value.expose_secret().to_owned())
}
