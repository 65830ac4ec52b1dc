//! Bodies of mailings and templates.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::text::Message;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{ContractorId, OpaqueId};
use crate::platform::object::{object, optional_object};

/// Most drivers that a filter names one by one.
const MAX_IDS: usize = 10_000;

/// What a driver must do to be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DriverStatus {
    /// He works for the park.
    Working,
    /// He is on the line and free.
    Online,
}

impl DriverStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Online => "online",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Working, Self::Online].into_iter().find(|status| status.as_str() == text)
    }
}

/// Which of the park's drivers are meant: those whom no part leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Those on this work rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(opaque)))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    pub work_rule: Option<String>,
    /// Those of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub status: Option<DriverStatus>,
    /// All but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = MAX_IDS), inner(inner(custom(opaque))))]
    #[schema(value_type = Option<Vec<ContractorId>>, max_items = 10000)]
    pub excl_contractor_ids: Option<Vec<String>>,
    /// None but these. An empty list is refused: it could mean nobody or everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(min = 1, max = MAX_IDS), inner(inner(custom(opaque))))]
    #[schema(value_type = Option<Vec<ContractorId>>, min_items = 1, max_items = 10000)]
    pub incl_contractor_ids: Option<Vec<String>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "garde wants it so")]
fn opaque(id: &str, (): &()) -> garde::Result {
    if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(garde::Error::new("must be 1 to 64 printable ASCII characters without spaces"))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "garde wants it so")]
fn sendable(message: &str, (): &()) -> garde::Result {
    Message::parse(message).map(drop).map_err(|error| garde::Error::new(error.to_string()))
}

/// A template, as it is saved.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateEdit {
    /// The text; `{first_name}` is the driver's name.
    #[garde(custom(sendable))]
    #[schema(min_length = 1, max_length = 4096, example = "Good morning, {first_name}!")]
    pub message: String,
    /// Whom it is for.
    #[serde(deserialize_with = "object")]
    #[garde(dive)]
    pub filter: Filter,
}

/// A mailing, as it is ordered: of a template, or of a message and filter, which become one.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MailingOrder {
    /// A saved template; this, or `message` and `filter`.
    #[serde(default)]
    #[garde(inner(custom(opaque)), custom(either(self.message.is_some() || self.filter.is_some())))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    pub template_id: Option<String>,
    /// The text; `{first_name}` is the driver's name.
    #[serde(default)]
    #[garde(inner(custom(sendable)), custom(with(self.filter.is_some())))]
    #[schema(min_length = 1, max_length = 4096)]
    pub message: Option<String>,
    /// Whom it is for.
    #[serde(default, deserialize_with = "optional_object")]
    #[garde(dive)]
    pub filter: Option<Filter>,
    /// When it is to go out; left out: at once.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
}

fn either(has_message: bool) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |template, ()| match (template.is_some(), has_message) {
        (true, false) | (false, true) => Ok(()),
        _ => Err(garde::Error::new("give either template_id, or message and filter")),
    }
}

fn with(has_filter: bool) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |message, ()| match (message.is_some(), has_filter) {
        (true, true) | (false, false) => Ok(()),
        _ => Err(garde::Error::new("message and filter go together")),
    }
}

/// Whom a filter would select now.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewRequest {
    /// The filter.
    #[serde(deserialize_with = "object")]
    #[garde(dive)]
    pub filter: Filter,
}

/// A mailing that was ordered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Ordered {
    pub mailing_id: String,
    pub template_id: String,
    pub status: MailingStatus,
}

/// How far a mailing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MailingStatus {
    /// Ordered; its work begins soon.
    Created,
    /// Waits for its time.
    Scheduled,
    /// Recipients are selected, then messages go out.
    Sending,
    /// Everything went out.
    Sent,
    /// Given up after many attempts; `retry` goes on where it stopped.
    Failed,
    /// Stopped by a dispatcher.
    Cancelled,
}

impl MailingStatus {
    const ALL: [Self; 6] =
        [Self::Created, Self::Scheduled, Self::Sending, Self::Sent, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A mailing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MailingView {
    pub id: String,
    pub template_id: String,
    /// The text as it was ordered.
    pub message: String,
    pub status: MailingStatus,
    /// The dispatcher who ordered it.
    pub created_by: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    pub recipients: Recipients,
    /// Why it failed or, while it is open, waits: the code of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Drivers of a mailing, counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recipients {
    pub selected: i64,
    /// It was handed to their app.
    pub sent: i64,
    /// Their app does not take it.
    pub failed: i64,
    /// Cancelled before it went out.
    pub skipped: i64,
    /// Cancelled after it went out, and taken back unread.
    pub recalled: i64,
}

/// What a cancellation stopped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cancelled {
    pub status: MailingStatus,
    pub outcome: CancelOutcome,
}

/// Drivers of a cancelled mailing, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct CancelOutcome {
    /// It had not gone out to them.
    pub stopped: i64,
    /// It had, and was taken back.
    pub recalled: i64,
    /// It had, and stays.
    pub too_late: i64,
    /// Of these it is not known yet; ask again by repeating the cancellation.
    pub pending: i64,
    /// Of these it cannot be known: an answer on what was taken back was lost.
    pub unknown: i64,
}

/// Whom a filter selects now.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Preview {
    pub total: u64,
    /// The first 20.
    pub sample: Vec<SampleDriver>,
    pub left_out: LeftOut,
}

/// A driver whom a filter selects.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SampleDriver {
    pub contractor_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_status: Option<String>,
}

/// How many drivers each part of a filter leaves out, of those whom the parts before it let pass.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct LeftOut {
    pub work_rule: u64,
    pub status: u64,
    pub excluded: u64,
}

/// A saved template.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct TemplateView {
    pub id: String,
    pub message: String,
    pub filter: Filter,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub created_by: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sent_at: Option<Timestamp>,
}

/// Which mailings of the history are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Ordered at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Ordered before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Of this template.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    pub template_id: Option<OpaqueId>,
    /// Of this status.
    pub status: Option<MailingStatus>,
    /// Items in the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 1024)]
    pub cursor: Option<String>,
}

impl HistoryQuery {
    /// # Errors
    /// `invalid_query` for a time that no mailing can have.
    pub fn check(&self) -> Result<()> {
        // PostgreSQL's times begin later than ours.
        if self.from.iter().chain(&self.to).all(|at| *at >= Timestamp::UNIX_EPOCH) {
            return Ok(());
        }
        let detail = "from and to must not be before the year 1970.";
        Err(Error::new(Kind::InvalidInput, "invalid_query", detail))
    }
}
