//! KRT's token: one row, sealed, with a version; one of all instances gets a new one.
//!
//! Whoever takes the lease on the row asks KRT, with no transaction open, and stores what it gave under
//! the next version; the others look for that version. A token is replaced some time before it ends,
//! and when KRT refuses it: by version, so that whoever is refused second takes what the first got. A
//! row that cannot be opened (the key was changed) is as good as none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::sql_types::{BigInt, Binary, Bool, Double, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff_diesel::ToDiesel as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use uuid::Uuid;

use crate::platform::context::{Context, Deadline};
use crate::platform::database::{Database, Prepare as _};
use crate::platform::error::{Error, Result};
use crate::platform::seal::Seal;
use crate::upstreams::krt::{Krt, KrtError, Token};

/// What is sealed is sealed as this.
const ABOUT: &[u8] = b"deptrans.krt_token";
/// Getting a token takes no longer, what the database does for it included...
const PATIENCE: Duration = Duration::from_secs(10);
/// ...so that whoever has the lease for so long is gone.
const LEASE: Duration = Duration::from_secs(15);
/// After a failure whoever failed does not ask KRT again for this long; nor does anybody else when KRT
/// answered, for it would answer them the same. Whoever did not reach it may be alone with that.
const PAUSE: Duration = Duration::from_secs(1);
/// How often those who wait for another's token look for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So long a failure of our own stands for what others fail with.
const FRESH: Duration = Duration::from_secs(30);
/// A token that is refused when it is younger is not replaced: the next would be refused too.
const TOO_YOUNG: Duration = Duration::from_secs(1);

const READ: &str = "SELECT version, sealed, \
     extract(epoch FROM expires_at - clock_timestamp())::float8 AS left, \
     extract(epoch FROM clock_timestamp() - obtained_at)::float8 AS age, \
     lease IS NULL AND COALESCE(lease_until > clock_timestamp(), false) AS paused \
     FROM deptrans.krt_token";
const TAKE_LEASE: &str = "UPDATE deptrans.krt_token SET lease = $1, \
     lease_until = clock_timestamp() + make_interval(secs => $2) \
     WHERE version = $3 AND (lease_until IS NULL OR lease_until <= clock_timestamp())";
const STORE: &str = "UPDATE deptrans.krt_token SET version = version + 1, sealed = $2, \
     expires_at = $3, obtained_at = clock_timestamp(), lease = NULL, lease_until = NULL \
     WHERE lease = $1";
const GIVE_UP: &str = "UPDATE deptrans.krt_token SET lease = NULL, \
     lease_until = clock_timestamp() + make_interval(secs => $2) WHERE lease = $1";

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    sealed: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Double>)]
    left: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    age: Option<f64>,
    #[diesel(sql_type = Bool)]
    paused: bool,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum NoToken {
    /// KRT gave none.
    Krt(KrtError),
    /// Another instance failed to get one, or is not yet done.
    Waiting,
    /// Tokens are shared through the database.
    Database(Error),
}

impl From<Error> for NoToken {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// A token to be sent.
#[derive(Clone)]
pub(super) struct Current {
    pub version: i64,
    pub secret: Arc<SecretString>,
    obtained_at: Instant,
    replace_at: Instant,
}

/// Whom KRT knows us as.
pub(super) struct Login {
    pub login: String,
    pub password: SecretString,
}

/// The token as all threads of the process share it.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Inner>);

struct Inner {
    database: Database,
    seal: Seal,
    krt: Krt,
    login: Login,
    /// Before it ends it is replaced.
    ahead: Duration,
    known: Mutex<Option<Current>>,
    /// One at a time of this process looks for another.
    looking: tokio::sync::Mutex<()>,
    refreshing: AtomicBool,
    /// Why this process got none when it last tried.
    failed: Mutex<Option<(Instant, KrtError)>>,
}

impl Tokens {
    pub fn new(database: Database, seal: Seal, krt: Krt, login: Login, ahead: Duration) -> Self {
        Self(Arc::new(Inner {
            database,
            seal,
            krt,
            login,
            ahead,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            refreshing: AtomicBool::default(),
            failed: Mutex::default(),
        }))
    }

    /// The token; a new one where there is none. One that ends soon is replaced meanwhile.
    pub async fn current(&self, deadline: Deadline) -> Result<Current, NoToken> {
        if let Some(known) = self.0.known() {
            if known.replace_at <= Instant::now() {
                self.refresh_meanwhile(known.version);
            }
            return Ok(known);
        }
        self.newer_than(None, deadline).await
    }

    /// What takes the place of a token that was refused.
    pub async fn replace(&self, refused: &Current, deadline: Deadline) -> Result<Current, NoToken> {
        if refused.obtained_at.elapsed() < TOO_YOUNG {
            return Err(NoToken::Krt(KrtError::Unauthorised));
        }
        self.newer_than(Some(refused.version), deadline).await
    }

    async fn newer_than(&self, used: Option<i64>, deadline: Deadline) -> Result<Current, NoToken> {
        let is_newer = |known: &Current| used.is_none_or(|used| known.version > used);
        let looking = deadline.run(self.0.looking.lock()).await.map_err(|_| NoToken::Waiting)?;
        if let Some(known) = self.0.known().filter(is_newer) {
            return Ok(known);
        }
        while !deadline.has_passed() {
            // On its own: a caller that leaves does not leave a lease behind.
            let inner = Arc::clone(&self.0);
            let looked = tokio::task::spawn_local(async move { inner.look(used).await });
            let looked = deadline.run(looked).await.map_err(|_| NoToken::Waiting)?;
            let looked = looked.map_err(|error| NoToken::Database(Error::internal(error)))?;
            if let Some(found) = looked? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        drop(looking);
        Err(NoToken::Waiting)
    }

    fn refresh_meanwhile(&self, version: i64) {
        if self.0.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_local(async move {
            let refreshed = inner.look(Some(version)).await;
            if !matches!(refreshed, Ok(Some(_))) {
                // Others may be at it; the one there is goes on to be used.
                inner.put_replacing_off();
            }
            inner.refreshing.store(false, Ordering::Relaxed);
        });
    }
}

impl Inner {
    fn known(&self) -> Option<Current> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there is none, as this process found out no longer ago than that.
    fn failed_within(&self, time: Duration) -> Option<KrtError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|(at, _)| at.elapsed() < time).map(|(_, error)| error.clone())
    }

    fn put_replacing_off(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            known.replace_at = known.replace_at.max(Instant::now() + PAUSE);
        }
    }

    /// One step towards a token newer than `used`: the stored one, or a new one where nobody else gets
    /// it. None while somebody else does.
    async fn look(&self, used: Option<i64>) -> Result<Option<Current>, NoToken> {
        let context = Context::background("krt token", PATIENCE);
        let row = self.read(&context).await?;
        let (version, paused) = (row.version, row.paused);
        if used.is_none_or(|used| version > used)
            && let Some(stored) = self.open(row)
        {
            return Ok(Some(self.remember(stored)));
        }
        if paused {
            return Err(self.failed_within(FRESH).map_or(NoToken::Waiting, NoToken::Krt));
        }
        if let Some(error) = self.failed_within(PAUSE) {
            return Err(NoToken::Krt(error));
        }
        let lease = Uuid::now_v7();
        if !self.take_lease(&context, lease, version).await? {
            return Ok(None);
        }
        let Login { login, password } = &self.login;
        let token = match self.krt.token(&context, login, password).await {
            Ok(token) => token,
            Err(error) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), error.clone()));
                let others_wait = if error.was_answered() { PAUSE } else { Duration::ZERO };
                self.give_up(lease, others_wait).await?;
                return Err(NoToken::Krt(error));
            }
        };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.store(&context, lease, &token).await?;
        tracing::info!("KRT gave a new token");
        let row = self.read(&context).await?;
        Ok(self.open(row).map(|stored| self.remember(stored)))
    }

    async fn read(&self, context: &Context) -> Result<Row> {
        self.database
            .statement(context, async |mut connection: &_| {
                Ok(diesel::sql_query(READ).prepared().get_result(&mut connection).await?)
            })
            .await
    }

    /// A stored token that can be opened.
    fn open(&self, row: Row) -> Option<Current> {
        let sealed = row.sealed?;
        let Some(text) =
            self.seal.open(&sealed, ABOUT).ok().and_then(|t| String::from_utf8(t).ok())
        else {
            tracing::warn!("the stored token of KRT cannot be opened with the keys of [secrets]");
            return None;
        };
        let now = Instant::now();
        let seconds = |value: f64| Duration::try_from_secs_f64(value).unwrap_or_default();
        let (left, age) = (seconds(row.left.unwrap_or(0.0)), seconds(row.age.unwrap_or(0.0)));
        // KRT's clock may be behind ours: no token is replaced at once.
        let least = (self.ahead / 2).saturating_sub(age);
        Some(Current {
            version: row.version,
            secret: Arc::new(SecretString::from(text)),
            obtained_at: now.checked_sub(age).unwrap_or(now),
            replace_at: now + left.saturating_sub(self.ahead).max(least),
        })
    }

    /// Keeps the newest.
    fn remember(&self, token: Current) -> Current {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(newer) if newer.version > token.version => newer.clone(),
            _ => known.insert(token).clone(),
        }
    }

    async fn take_lease(&self, context: &Context, lease: Uuid, version: i64) -> Result<bool> {
        self.database
            .statement(context, async |mut connection: &_| {
                let take = diesel::sql_query(TAKE_LEASE)
                    .bind::<SqlUuid, _>(lease)
                    .bind::<Double, _>(LEASE.as_secs_f64())
                    .bind::<BigInt, _>(version);
                Ok(take.prepared().execute(&mut connection).await? > 0)
            })
            .await
    }

    async fn store(&self, context: &Context, lease: Uuid, token: &Token) -> Result<()> {
        let sealed = self.seal.seal(token.token.expose_secret().as_bytes(), ABOUT)?;
        self.database
            .statement(context, async |mut connection: &_| {
                let store = diesel::sql_query(STORE)
                    .bind::<SqlUuid, _>(lease)
                    .bind::<Binary, _>(&sealed)
                    .bind::<Timestamptz, _>(token.expires_at.to_diesel());
                // Whoever lost the lease stores nothing: another has got a token since.
                store.prepared().execute(&mut connection).await?;
                Ok(())
            })
            .await
    }

    async fn give_up(&self, lease: Uuid, others_wait: Duration) -> Result<()> {
        let context = Context::background("krt token", PATIENCE);
        self.database
            .statement(&context, async |mut connection: &_| {
                let give_up = diesel::sql_query(GIVE_UP)
                    .bind::<SqlUuid, _>(lease)
                    .bind::<Double, _>(others_wait.as_secs_f64());
                give_up.prepared().execute(&mut connection).await?;
                Ok(())
            })
            .await
    }
}
