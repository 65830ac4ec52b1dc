//! Tells the customer book who ordered, after a commit and beside it.
//!
//! Committed orders wait in a bounded queue in memory; each is looked up once more for its
//! passenger and recorded, with retries. What is lost, because the queue is full, the time is up or
//! the process ends, is counted and logged without anything personal. A process that is killed
//! loses what waits: the seed gives this domain no place to keep it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use moka::sync::Cache;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::NAME;
use super::metrics::{CustomerOutcome, OrderMetrics};
use super::ports::{CustomerBook, CustomerOrder, LastOptions};
use super::settings::OrdersSettings;
use crate::platform::background::Background;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{OrderId, ParkId, PersonalId};
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::trace::TraceContext;
use crate::upstreams::int_api::IntApi;

/// Attempts that are made at the same time. An order that waits for its next attempt holds up none.
const ATTEMPTS: usize = 4;
/// One attempt: looking the order up and recording its customer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Pauses between attempts grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Orders remembered as handed over, so that a repeated commit hands over nothing; and how long.
const REMEMBERED: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// Where commits hand over their orders.
pub(super) struct Recorder {
    queue: mpsc::UnboundedSender<Job>,
    /// Bounds the orders that wait, in the queue and between attempts.
    places: Arc<Semaphore>,
    handed_over: Arc<HandedOver>,
    metrics: OrderMetrics,
}

type HandedOver = Cache<(ParkId, OrderId), ()>;

/// A committed order whose customer is to be recorded. Dropped before that, it is lost.
struct Job {
    park: ParkId,
    order: OrderId,
    trace: TraceContext,
    since: Instant,
    handed_over: Arc<HandedOver>,
    metrics: OrderMetrics,
    settled: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// What the recording needs: settings, who knows the orders, who keeps the customers, metrics.
pub(super) type Recording<'a> = (&'a OrdersSettings, IntApi, Arc<dyn CustomerBook>, OrderMetrics);

struct Worker {
    int_api: IntApi,
    book: Arc<dyn CustomerBook>,
    give_up: Duration,
    served: Shutdown,
    attempts: Semaphore,
}

impl Recorder {
    /// Begins to record, beside the requests.
    pub fn start(background: &Background, recording: Recording<'_>) -> Self {
        let (settings, int_api, book, metrics) = recording;
        let (queue, waiting) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(settings.customers_waiting));
        let give_up = settings.customers_give_up();
        background.spawn(move |served| async move {
            let attempts = Semaphore::new(ATTEMPTS);
            Worker { int_api, book, give_up, served, attempts }.run(waiting).await;
        });
        let handed_over =
            Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { queue, places, handed_over: Arc::new(handed_over), metrics }
    }

    /// Hands over an order that was committed. Never waits; does nothing for one that was handed
    /// over before.
    pub fn committed(&self, context: &Context, park: &ParkId, order: &OrderId) {
        let key = (park.clone(), order.clone());
        // `or_insert` would look and then insert: two workers could both be the first.
        if !self.handed_over.entry(key).or_insert_with(|| ()).is_fresh() {
            return;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let is_full = place.is_none();
        self.metrics.customers_waiting.inc();
        let job = Job {
            park: park.clone(),
            order: order.clone(),
            trace: context.trace,
            since: Instant::now(),
            handed_over: Arc::clone(&self.handed_over),
            metrics: self.metrics.clone(),
            settled: false,
            _place: place,
        };
        if is_full {
            return job.lost(CustomerOutcome::LostQueueFull);
        }
        // A queue that is closed drops the order, which counts it as lost.
        let _ = self.queue.send(job);
    }
}

impl Job {
    fn settle(mut self, outcome: CustomerOutcome) {
        self.settled = true;
        self.metrics.customer(outcome);
    }

    fn lost(mut self, outcome: CustomerOutcome) {
        self.note_lost(outcome);
    }

    /// A repeated commit may hand it over again.
    fn note_lost(&mut self, outcome: CustomerOutcome) {
        self.settled = true;
        self.metrics.customer(outcome);
        self.handed_over.invalidate(&(self.park.clone(), self.order.clone()));
        let outcome = outcome.name();
        let (order_id, trace_id) = (self.order.as_str(), self.trace.trace_id_hex());
        tracing::warn!(outcome, order_id, trace_id, "a committed order's customer is lost");
    }

    fn context(&self) -> Context {
        Context { trace: self.trace, ..Context::background(NAME, ATTEMPT) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.metrics.customers_waiting.dec();
        if !self.settled {
            self.note_lost(CustomerOutcome::LostAtStop);
        }
    }
}

impl Worker {
    /// Works until the last request was answered and the queue is empty.
    async fn run(self, waiting: mpsc::UnboundedReceiver<Job>) {
        let jobs = stream::unfold(waiting, async |mut waiting| {
            let next = tokio::select! {
                job = waiting.recv() => job,
                () = self.served.wait() => {
                    waiting.close();
                    waiting.recv().await
                }
            };
            next.map(|job| (job, waiting))
        });
        jobs.for_each_concurrent(None, |job| self.see_through(job)).await;
    }

    /// Tries until the customer is recorded, cannot be, or the time is up. Once the process stops,
    /// one attempt is left.
    async fn see_through(&self, job: Job) {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LAST_PAUSE)
            .with_jitter()
            .without_max_times();
        for pause in pauses.build() {
            let is_last = self.served.has_come();
            match self.attempt(&job).await {
                Ok(outcome) => return job.settle(outcome),
                Err(error) if !may_succeed_later(&error) => {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::error!(code, cause, "the customer of a committed order is refused");
                    return job.lost(CustomerOutcome::LostRefused);
                }
                Err(error) => {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::debug!(code, cause, "the customer of a committed order waits");
                }
            }
            if is_last {
                return job.lost(CustomerOutcome::LostAtStop);
            }
            if job.since.elapsed() + pause > self.give_up {
                return job.lost(CustomerOutcome::LostGivenUp);
            }
            self.served.wait_or(pause).await;
        }
    }

    async fn attempt(&self, job: &Job) -> Result<CustomerOutcome> {
        let _turn = self.attempts.acquire().await.map_err(Error::internal)?;
        let context = job.context();
        let shown = self.int_api.info(&context, &job.park, job.order.as_str()).await;
        let shown =
            shown.map_err(super::service::failure)?.ok_or_else(super::service::not_found)?;
        let Some(order) = customer_order(job, &shown.body) else {
            return Ok(CustomerOutcome::WithoutPhone);
        };
        let recorded = match self.book.record(&context, &order).await {
            // What fills in the next order is a help only: its customer is recorded without it.
            Err(error) if error.kind() == Kind::InvalidInput && order.order_options.is_some() => {
                let order = CustomerOrder { order_options: None, ..order };
                self.book.record(&context, &order).await
            }
            outcome => outcome,
        };
        match recorded {
            // Recorded before, when the order was something else.
            Err(error) if error.code() == "idempotency_key_reused" => {}
            Err(error) if error.code() == "customer_erased" => return Ok(CustomerOutcome::Erased),
            outcome => outcome?,
        }
        Ok(CustomerOutcome::Recorded)
    }
}

fn may_succeed_later(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal | Kind::Conflict
    )
}

/// What an order tells of its customer; `None` for an order without a phone.
fn customer_order(job: &Job, order: &[u8]) -> Option<CustomerOrder> {
    let told: Told = serde_json::from_slice(order).ok()?;
    let classes = read::<Vec<String>>(told.classes)
        .or_else(|| read::<String>(told.class).map(|class| vec![class]));
    let requirements = read::<BTreeMap<String, serde_json::Value>>(told.requirements);
    let payment_type = told.payment.and_then(|payment| match read(Some(payment))? {
        Payment::Type(name) | Payment::Object { name } => Some(name),
    });
    let options = LastOptions {
        classes: classes.unwrap_or_default(),
        requirements: requirements.unwrap_or_default(),
        comment: read::<String>(told.comment).filter(|comment| !comment.is_empty()),
        payment_type,
    };
    Some(CustomerOrder {
        order_id: job.order.clone(),
        park_id: job.park.clone(),
        personal_phone_id: read::<PersonalId>(told.personal_phone_id)?,
        order_options: (options != LastOptions::default()).then_some(options),
        ordered_at: read::<Timestamp>(told.created_at).unwrap_or_else(Timestamp::now),
    })
}

/// What is looked at of an order. Members of an unexpected kind are as good as absent.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    personal_phone_id: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    classes: Option<&'a RawValue>,
    #[serde(borrow)]
    class: Option<&'a RawValue>,
    #[serde(borrow)]
    requirements: Option<&'a RawValue>,
    #[serde(borrow)]
    comment: Option<&'a RawValue>,
    #[serde(borrow)]
    payment: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Payment {
    Type(String),
    Object {
        #[serde(rename = "type")]
        name: String,
    },
}

fn read<T: DeserializeOwned>(member: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(member?.get()).ok()
}
