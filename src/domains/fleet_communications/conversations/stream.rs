//! One event stream: reads behind its position when there is news, and shows that it lives.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::events::{self, Page};
use super::hub::Seat;
use super::settings::ConversationSettings;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::{Error, Result};
use crate::platform::http::sse::Frames;
use crate::platform::ids::ParkId;
use crate::platform::shutdown::Shutdown;

/// Reads at once in this process: streams leave the pool's other connections to requests.
const READERS: usize = 4;
/// One read takes no longer, its turn included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses after reads that failed: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long clients wait before they come back: each a time of its own within these, so that a
/// process that stops does not send all of them to its neighbour at once.
const RETRY_MS: std::ops::Range<u64> = 1_000..5_000;

/// Reads events for all streams of the process.
#[derive(Clone)]
pub(super) struct Reader {
    database: Database,
    turns: Arc<Semaphore>,
}

impl Reader {
    pub fn new(database: Database) -> Self {
        Self { database, turns: Arc::new(Semaphore::new(READERS)) }
    }

    /// The number of the park's last event.
    pub async fn head(&self, context: &Context, park: &ParkId) -> Result<i64> {
        let _turn = context.deadline.run(self.turns.acquire()).await?.map_err(Error::internal)?;
        let head = async |connection: &_| events::head(connection, park).await;
        self.database.statement(context, head).await
    }

    async fn read(&self, park: &ParkId, after: i64) -> Result<Page> {
        let context = Context::background("conversation stream", PATIENCE);
        let _turn = context.deadline.run(self.turns.acquire()).await?.map_err(Error::internal)?;
        let read = async |connection: &_| events::read(connection, park, after).await;
        self.database.statement(&context, read).await
    }
}

/// A stream of a park's events.
pub(super) struct EventStream {
    reader: Reader,
    seat: Seat,
    stop: Shutdown,
    /// The number of the last event that was sent.
    position: i64,
    is_first: bool,
    heartbeat: Duration,
    beats_at: Instant,
    ends_at: Instant,
    pause: Duration,
    /// When the next read is due though there is no news.
    rests_until: Option<Instant>,
}

impl EventStream {
    /// A stream that goes on behind `position`; one that `resumes` looks at once what it missed.
    pub fn new(
        reader: Reader,
        seat: Seat,
        stop: Shutdown,
        settings: &ConversationSettings,
        position: i64,
        resumes: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader,
            seat,
            stop,
            position,
            is_first: true,
            heartbeat: settings.heartbeat(),
            beats_at: now + settings.heartbeat(),
            ends_at: now + settings.stream_max(),
            pause: FIRST_PAUSE,
            rests_until: resumes.then_some(now),
        }
    }

    /// Its frames. They are asked for as the client takes them: a slow one keeps a page waiting, no
    /// more.
    pub fn frames(self) -> impl Stream<Item = Result<Bytes>> + 'static {
        stream::unfold(self, |mut this| async move {
            let frames = this.next().await?;
            Some((frames, this))
        })
    }

    /// The next bytes to be sent; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Result<Bytes>> {
        if std::mem::take(&mut self.is_first) {
            return Some(Ok(self.greeting()));
        }
        let stop = self.stop.clone();
        let ends_at = self.ends_at;
        let work = async {
            loop {
                if let Some(frames) = self.step().await {
                    return frames;
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.wait() => None,
            () = sleep_until(ends_at) => None,
            frames = work => Some(frames),
        }
    }

    /// A client that is cut off before the first event knows where to go on, too.
    fn greeting(&self) -> Bytes {
        let mut frames = Frames::default();
        frames.retry(Duration::from_millis(rand::random_range(RETRY_MS)));
        frames.position(self.position);
        frames.into_bytes()
    }

    /// Waits for news, for the end of a rest or for the next heartbeat; what is to be sent then.
    async fn step(&mut self) -> Option<Result<Bytes>> {
        let (position, rests_until) = (self.position, self.rests_until);
        let due = async {
            match rests_until {
                Some(until) => sleep_until(until).await,
                None => self.seat.news(position).await,
            }
        };
        tokio::select! {
            biased;
            () = sleep_until(self.beats_at) => {
                self.beats_at = Instant::now() + self.heartbeat;
                let mut frames = Frames::default();
                frames.heartbeat();
                return Some(Ok(frames.into_bytes()));
            }
            () = due => {}
        }
        self.rests_until = None;
        if let Ok(page) = self.reader.read(self.seat.park(), position).await {
            return self.send(&page);
        }
        // The hub tells of an outage, once for all.
        self.rest();
        None
    }

    fn send(&mut self, page: &Page) -> Option<Result<Bytes>> {
        let mut frames = Frames::default();
        match page.write(&mut frames, self.position) {
            Ok(position) => self.position = position,
            Err(error) => return Some(Err(error)),
        }
        self.seat.raise(page.head());
        let frames = frames.into_bytes();
        if frames.is_empty() {
            // News of which the database knows nothing: it is an older copy. Mind that no bytes at
            // all would end the answer.
            if self.seat.has_news(self.position) {
                self.rest();
            }
            return None;
        }
        self.pause = FIRST_PAUSE;
        self.beats_at = Instant::now() + self.heartbeat;
        Some(Ok(frames))
    }

    /// Reads again after a pause, whether there is news or not.
    fn rest(&mut self) {
        let pause = self.pause.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        self.rests_until = Some(Instant::now() + pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}
