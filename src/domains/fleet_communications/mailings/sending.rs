//! The task that sends a mailing.
//!
//! A run works in steps. Each step ends in one transaction that holds the mailing's lock and the
//! task's fence, writes the step's outcome and decides the next step. So a worker that dies between
//! steps leaves a chunk that is handed over without an outcome; it is handed over again, under the
//! same request id, and nobody gets it twice.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::try_join;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::audience::{Audience, MOST_PAGES, Position};
use super::chunks::{self, Chunk, Key, Rejection, Rises};
use super::model::{Filter, MailingStatus};
use super::recall::RecallMailing;
use super::store::{self, MailingRow};
use super::text::Message;
use super::{request_id, templates};
use crate::domains::fleet_communications::Tools;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::tasks::{Failure, NewTask, Outcome, Running, Task, TaskResult};
use crate::platform::upstream::UpstreamError;
use crate::upstreams::feeds::{CHANNELS, Payload, Recipient, channel};
use crate::upstreams::parks::{DriverFilter, PAGE};

// A chunk is a page of the audience, and is handed over in one request.
const _: () = assert!(PAGE <= CHANNELS);

/// A run that got somewhere before it failed goes on after this, and does not count as an attempt.
const AFTER_PROGRESS: Duration = Duration::from_secs(2);

/// A cancelled mailing whose attempts are used up goes on after this.
const AFTER_LAST: Duration = Duration::from_mins(1);

/// Sends a mailing of the task's park, from wherever it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SendMailing {
    mailing_id: String,
}

impl Task for SendMailing {
    const KIND: &'static str = "communications.send_mailing";
    const QUEUE: &'static str = "mailings";
    /// With pauses that double up to an hour: about two hours without any progress.
    const MAX_ATTEMPTS: i16 = 13;
    const TIME_LIMIT: Duration = Duration::from_mins(2);
}

impl SendMailing {
    /// At most one of a mailing is there at a time.
    pub fn task(park: &ParkId, mailing: &str) -> NewTask<Self> {
        NewTask::new(Self { mailing_id: mailing.to_owned() }).of_park(park).unique(mailing)
    }
}

pub(super) fn register(tools: &Arc<Tools>) {
    let tools = Arc::clone(tools);
    tools.clone().tasks.handle(move |running: Running<SendMailing>| {
        let tools = Arc::clone(&tools);
        async move {
            let filter = OnceCell::new();
            Sender { tools: &tools, running: &running, filter }.run().await
        }
    });
}

/// What is to be done next.
enum Plan {
    /// Ask for a page of recipients.
    Select { filter: Rc<Filter>, page: Position, chunk: i32 },
    /// Hand a chunk over.
    Send { message: String, chunk: Chunk, is_cancelled: bool },
    /// Give up the selection: `parks` tells of more and more pages.
    Endless,
    /// Nothing more.
    Nothing,
}

/// What comes behind a step.
enum Next {
    Step(Step),
    /// Others have their turn.
    Yield,
    Nothing,
}

/// What a step brought.
enum Step {
    Begun,
    Selected { chunk: i32, contractors: Vec<String>, next: Option<Position> },
    Sent { chunk: i32, rejections: Vec<Rejection> },
}

struct Sender<'a> {
    tools: &'a Tools,
    running: &'a Running<SendMailing>,
    /// Whom it is for, once it was needed. It may name thousands of drivers, and never changes.
    filter: OnceCell<Rc<Filter>>,
}

impl Sender<'_> {
    async fn run(&self) -> TaskResult {
        let Some(park) = self.running.park.clone() else {
            return Err(Failure::Dead(Error::internal("a task of no park")));
        };
        let until = Instant::now() + self.tools.settings.mailing_slice();
        let mut progressed = false;
        let mut step = Step::Begun;
        loop {
            match self.advance(&park, &step, until, &mut progressed).await {
                Ok(Next::Nothing) => return Ok(Outcome::Done),
                Ok(Next::Yield) => return Ok(Outcome::Continue),
                Ok(Next::Step(next)) => step = next,
                Err(error) if progressed => {
                    self.note_trouble(&park, &error).await;
                    tracing::warn!(code = error.code(), cause = error.chain(), "mailing held up");
                    return Ok(Outcome::Snooze(error.retry_after().unwrap_or(AFTER_PROGRESS)));
                }
                Err(error) => return self.failed(&park, error).await,
            }
        }
    }

    /// Writes what a step brought and takes the next one, unless it is `until` already. What was
    /// written counts as progress; what could not be written does not, however often it is brought.
    async fn advance(
        &self,
        park: &ParkId,
        step: &Step,
        until: Instant,
        progressed: &mut bool,
    ) -> Result<Next> {
        let (plan, wrote) = self.write(park, step).await?;
        *progressed |= wrote;
        let is_over = !matches!(step, Step::Begun) && until <= Instant::now();
        if is_over && !matches!(plan, Plan::Nothing) {
            return Ok(Next::Yield);
        }
        Ok(self.carry_out(park, plan).await?.map_or(Next::Nothing, Next::Step))
    }

    /// The last attempt gives the mailing up, and the task with it: whoever resumes the mailing
    /// enqueues another.
    async fn failed(&self, park: &ParkId, error: Error) -> TaskResult {
        if self.running.attempt < self.running.max_attempts {
            self.note_trouble(park, &error).await;
            return Err(error.into());
        }
        let id = &self.running.task.mailing_id;
        let end = async |connection: &mut Connection| {
            self.running.fence(connection).await?;
            let is_news = give_up(connection, park, id, error.code()).await?;
            if is_news {
                self.running.complete_in(connection).await?;
            }
            Ok(is_news)
        };
        if !self.tools.database.transaction(&self.running.context, end).await? {
            // It was cancelled: what may have gone out is taken back, however long that takes.
            tracing::warn!(code = error.code(), cause = error.chain(), "a recall is held up");
            return Ok(Outcome::Snooze(AFTER_LAST));
        }
        self.tools.metrics.mailing("failed");
        tracing::error!(code = error.code(), cause = error.chain(), "a mailing is given up");
        Ok(Outcome::Done)
    }

    /// Lets the mailing say why it waits.
    async fn note_trouble(&self, park: &ParkId, error: &Error) {
        let id = &self.running.task.mailing_id;
        let note = async |connection: &mut Connection| {
            self.running.fence(connection).await?;
            store::note_trouble(connection, park, id, error.code()).await
        };
        let noted = self.tools.database.transaction(&self.running.context, note).await;
        if let Err(error) = noted {
            tracing::debug!(code = error.code(), "a mailing's trouble could not be noted");
        }
    }

    /// Writes what a step brought and decides the next one, in one transaction; whether what was
    /// written is progress.
    async fn write(&self, park: &ParkId, step: &Step) -> Result<(Plan, bool)> {
        let id = &self.running.task.mailing_id;
        let mut finished = None;
        let (mut progressed, mut rises) = (false, Rises::default());
        let work = async |connection: &mut Connection| {
            let key = Key { park, id };
            // Sent together: an outcome is written whatever the lock shows, once it is held.
            let (found, settled) = try_join!(
                store::lock_fenced(self.running, connection, park, id),
                settle(connection, key, step),
            )?;
            rises = settled;
            let Some(found) = found else {
                self.running.complete_in(connection).await?;
                return Ok(Plan::Nothing);
            };
            let (row, is_progress) = note(connection, key, found, step).await?;
            progressed = is_progress;
            let plan = self.plan(connection, key, &row).await?;
            if let Plan::Nothing = plan {
                finished = self.finish(connection, key, &row).await?.then(|| row.due_at());
                self.running.complete_in(connection).await?;
            }
            Ok(plan)
        };
        let plan = self.tools.database.transaction(&self.running.context, work).await?;
        self.tools.metrics.rises(&rises);
        if let Some(due_at) = finished {
            self.tools.metrics.mailing("sent");
            let took = Timestamp::now().duration_since(due_at).as_secs_f64();
            self.tools.metrics.delivery.observe(took.max(0.0));
        }
        Ok((plan, progressed))
    }

    async fn plan(&self, connection: &Connection, key: Key<'_>, row: &MailingRow) -> Result<Plan> {
        match row.status()? {
            MailingStatus::Cancelled => {
                if let Some(chunk) = chunks::in_flight(connection, key).await? {
                    return send(row, chunk);
                }
                if chunks::is_to_recall(connection, key).await? {
                    let task = RecallMailing::task(key.park, key.id);
                    let context = &self.running.context;
                    self.tools.tasks.enqueue(connection, context, task).await?;
                }
                return Ok(Plan::Nothing);
            }
            MailingStatus::Sent | MailingStatus::Failed => return Ok(Plan::Nothing),
            MailingStatus::Created | MailingStatus::Scheduled => {
                let status = MailingStatus::Sending;
                store::set_status(connection, key.park, key.id, status, None).await?;
            }
            MailingStatus::Sending => {}
        }
        if let Some(page) = row.next_page()? {
            if usize::try_from(row.next_chunk).is_ok_and(|chunk| chunk >= MOST_PAGES) {
                return Ok(Plan::Endless);
            }
            let read = async || store::filter(connection, key.park, key.id).await.map(Rc::new);
            let filter = Rc::clone(self.filter.get_or_try_init(read).await?);
            return Ok(Plan::Select { filter, page, chunk: row.next_chunk });
        }
        match chunks::begin_next(connection, key).await? {
            Some(chunk) => send(row, chunk),
            None => Ok(Plan::Nothing),
        }
    }

    /// Ends a mailing whose chunks all have their outcome; whether it was sent now.
    async fn finish(
        &self,
        connection: &Connection,
        key: Key<'_>,
        row: &MailingRow,
    ) -> Result<bool> {
        let is_open = matches!(
            row.status()?,
            MailingStatus::Created | MailingStatus::Scheduled | MailingStatus::Sending
        );
        if is_open {
            store::set_status(connection, key.park, key.id, MailingStatus::Sent, None).await?;
            templates::note_sent(connection, key.park, &row.template_id).await?;
        }
        Ok(is_open)
    }

    /// Carries a plan out; `None` when there was nothing to do.
    async fn carry_out(&self, park: &ParkId, plan: Plan) -> Result<Option<Step>> {
        let context = &self.running.context;
        match plan {
            Plan::Nothing => Ok(None),
            Plan::Endless => {
                Err(Error::unavailable("parks_unavailable", "The list of drivers does not end."))
            }
            Plan::Select { filter, page, chunk } => {
                let audience = Audience::new(&filter);
                match audience.page(&self.tools.parks, context, park, &page).await {
                    Ok((drivers, next)) => {
                        let contractors = drivers.into_iter().map(|driver| driver.id).collect();
                        Ok(Some(Step::Selected { chunk, contractors, next }))
                    }
                    Err(error) => {
                        let is_stale = matches!(&error, UpstreamError::Status { status, .. }
                            if status.as_u16() == 400 && page != Position::default());
                        if is_stale {
                            self.select_anew(park).await?;
                        }
                        Err(error.into_error("parks_unavailable"))
                    }
                }
            }
            Plan::Send { message, chunk, is_cancelled } => {
                let expires_at = is_cancelled.then(Timestamp::now);
                let rejections = self.hand_over(park, &message, &chunk, expires_at).await?;
                Ok(Some(Step::Sent { chunk: chunk.chunk, rejections }))
            }
        }
    }

    /// The page before is too old for `parks`: the next attempt begins with the first page. Whoever is
    /// selected stays so.
    async fn select_anew(&self, park: &ParkId) -> Result<()> {
        let key = Key { park, id: &self.running.task.mailing_id };
        let forget = async |connection: &mut Connection| {
            store::lock_fenced(self.running, connection, park, key.id).await?;
            chunks::select_anew(connection, key).await
        };
        self.tools.database.transaction(&self.running.context, forget).await
    }

    /// Hands a chunk to `feeds`; whom it rejects.
    async fn hand_over(
        &self,
        park: &ParkId,
        message: &str,
        Chunk { chunk, members }: &Chunk,
        expires_at: Option<Timestamp>,
    ) -> Result<Vec<Rejection>> {
        let parsed = Message::parse(message).map_err(Error::internal)?;
        let names =
            if parsed.is_personal() { self.names(park, members).await? } else { HashMap::new() };
        let recipients: Vec<Recipient<'_>> = members
            .iter()
            .map(|contractor_id| Recipient {
                contractor_id,
                text: parsed.is_personal().then(|| {
                    parsed.for_driver(names.get(contractor_id).map_or("", String::as_str))
                }),
            })
            .collect();
        let payload = Payload { text: &parsed.for_driver(""), kind: "mailing" };
        let request = request_id(&self.running.task.mailing_id, *chunk);
        let context = &self.running.context;
        let delivered = self
            .tools
            .feeds
            .create(context, &request, park, &recipients, &payload, expires_at)
            .await
            .map_err(|error| error.into_error("feeds_unavailable"))?;
        let rejection = |contractor_id: &String| {
            let channel = channel(park, contractor_id);
            if delivered.channels.contains_key(&channel) {
                return None;
            }
            let code = delivered.rejected.get(&channel).map_or("not_confirmed", String::as_str);
            let code: String = code.chars().filter(char::is_ascii_graphic).take(64).collect();
            Some(Rejection { contractor_id: contractor_id.clone(), code })
        };
        Ok(members.iter().filter_map(rejection).collect())
    }

    /// What the drivers of a chunk are called now. It is not kept anywhere.
    async fn names(&self, park: &ParkId, members: &[String]) -> Result<HashMap<String, String>> {
        let mut names = HashMap::with_capacity(members.len());
        for ids in members.chunks(PAGE) {
            let filter = DriverFilter { ids, ..DriverFilter::default() };
            let page = self.tools.parks.drivers(&self.running.context, park, &filter, None).await;
            let page = page.map_err(|error| error.into_error("parks_unavailable"))?;
            let drivers = page.driver_profiles.into_iter();
            names.extend(drivers.filter_map(|driver| Some((driver.id, driver.first_name?))));
        }
        Ok(names)
    }
}

/// A chunk to be handed over. One that was handed over without an outcome before its mailing was
/// cancelled is handed over once more, expired: `feeds` then tells who has it, and what is still on its
/// way there reaches nobody.
fn send(row: &MailingRow, chunk: Chunk) -> Result<Plan> {
    let is_cancelled = row.status()? == MailingStatus::Cancelled;
    Ok(Plan::Send { message: row.message.clone(), chunk, is_cancelled })
}

/// Writes the outcome of a chunk, if that is what a step brought.
async fn settle(connection: &Connection, key: Key<'_>, step: &Step) -> Result<Rises> {
    match step {
        Step::Sent { chunk, rejections } => {
            chunks::settle(connection, key, *chunk, rejections).await
        }
        Step::Begun | Step::Selected { .. } => Ok(Rises::default()),
    }
}

/// Writes what else a step brought to a mailing; the mailing as it is then, as far as a plan needs it,
/// and whether the step was progress.
async fn note(
    connection: &Connection,
    key: Key<'_>,
    row: MailingRow,
    step: &Step,
) -> Result<(MailingRow, bool)> {
    match step {
        Step::Begun => Ok((row, false)),
        Step::Sent { .. } => Ok((row, true)),
        // Nobody is added to a mailing that was cancelled meanwhile: the cancellation has told how
        // many there are.
        Step::Selected { .. } if row.status()? == MailingStatus::Cancelled => Ok((row, false)),
        Step::Selected { chunk, contractors, next } => {
            let (added, row) =
                chunks::add(connection, key, *chunk, contractors, next.as_ref()).await?;
            Ok((row, added > 0 || next.is_none()))
        }
    }
}

/// Gives a mailing up, unless it is over; whether that is news.
pub(super) async fn give_up(
    connection: &Connection,
    park: &ParkId,
    id: &str,
    code: &str,
) -> Result<bool> {
    let Some(row) = store::lock(connection, park, id).await? else { return Ok(false) };
    let is_open = matches!(
        row.status()?,
        MailingStatus::Created | MailingStatus::Scheduled | MailingStatus::Sending
    );
    if is_open {
        store::set_status(connection, park, id, MailingStatus::Failed, Some(code)).await?;
    }
    Ok(is_open)
}
