//! The connection to the shared store: one for all worker threads, made again in the background when it is lost.
//!
//! It is the circuit breaker too: while there is no connection, and after a few answers in a row that came too late, nobody
//! waits; a new connection counts only once the store has accepted a write through it.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::mirror::{Mirror, MirrorError};
use crate::clock::{self, Timestamp};

/// How long connecting may take, TLS and login included.
const CONNECT: Duration = Duration::from_secs(2);
/// How long reading all revocations may take.
const LOAD: Duration = Duration::from_mins(1);
/// How often the store is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(1);
/// The pause before connecting again, at first and at most; a connection that lasts longer than the latter was a good one.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
/// So many late answers in a row end a connection.
const STRIKES: u32 = 3;

/// Why the store did not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// It answered with an error.
    #[error("the shared store refuses: {0}")]
    Answer(Box<str>),
    /// There is no connection.
    #[error("the shared store is not connected")]
    Away,
    /// The connection broke.
    #[error("the connection to the shared store broke")]
    Broken,
    /// No answer in time.
    #[error("no answer from the shared store in time")]
    Late,
}

impl StoreError {
    /// When to try again.
    pub const RETRY_AFTER: Duration = Duration::from_secs(1);

    fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => Self::Broken,
            _ => Self::Answer(words(error).into()),
        }
    }
}

/// What is known of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not been made yet.
    #[default]
    New,
    /// It is there.
    Up,
    /// It is not, since when and why.
    Down(Timestamp, Box<str>),
}

/// One connection, as long as it lasts.
struct Live {
    connection: MultiplexedConnection,
    strikes: AtomicU32,
}

/// The connection to one store.
pub(super) struct Link {
    address: Address,
    tls: Option<TlsConnector>,
    /// A key that is written to see whether writing is possible.
    probe: String,
    live: ArcSwapOption<Live>,
    /// Told when a request finds the connection unusable.
    lost: Notify,
    standing: Mutex<Standing>,
    /// What the store says is revoked.
    mirror: Arc<Mirror>,
    /// How many attempts to connect are over.
    attempts: watch::Sender<u64>,
}

impl Link {
    pub(super) fn new(address: Address, tls: Option<TlsConnector>, probe: String, mirror: Arc<Mirror>) -> Self {
        Self {
            address,
            tls,
            probe,
            live: ArcSwapOption::empty(),
            lost: Notify::new(),
            standing: Mutex::default(),
            mirror,
            attempts: watch::Sender::new(0),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Resolves when the first attempt to connect is over.
    pub(super) async fn settled(&self) {
        let _ = self.attempts.subscribe().wait_for(|attempts| *attempts > 0).await;
    }

    /// Asks the store, for `patience` at most, and not at all without a connection.
    pub(super) async fn ask<T: FromRedisValue, F: Future<Output = RedisResult<T>>>(
        &self,
        patience: Duration,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError> {
        let live = self.live.load_full().ok_or(StoreError::Away)?;
        match timeout(patience, question(live.connection.clone())).await {
            Ok(Ok(answer)) => {
                live.strikes.store(0, Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if is_fatal(&error) {
                    self.give_up(&live);
                }
                Err(StoreError::of(&error))
            }
            Err(_) => {
                if live.strikes.fetch_add(1, Relaxed) + 1 >= STRIKES {
                    self.give_up(&live);
                }
                Err(StoreError::Late)
            }
        }
    }

    fn give_up(&self, live: &Arc<Live>) {
        let held = self.live.load_full();
        if held.is_some_and(|held| Arc::ptr_eq(&held, live)) {
            self.live.store(None);
            self.lost.notify_one();
        }
    }

    /// Keeps a connection; never returns.
    pub(super) async fn keep(&self) {
        let mut pause = FIRST;
        loop {
            let begun = clock::monotonic();
            let why = self.once().await;
            let lasted = clock::monotonic().saturating_duration_since(begun);
            self.live.store(None);
            self.set(Standing::Down(Timestamp::now(), why.into()));
            self.attempts.send_modify(|attempts| *attempts += 1);
            pause = if lasted > LONGEST { FIRST } else { (pause * 2).min(LONGEST) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Connects, and stays until the connection is of no use; says why that is.
    async fn once(&self) -> String {
        let (connection, driver, mut pushed) = match timeout(CONNECT, self.connect()).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return words(&error),
            Err(_) => return "no connection in time".to_owned(),
        };
        let using = self.use_it(connection, &mut pushed);
        tokio::select! {
            () = driver => "the connection was closed".to_owned(),
            why = using => why,
        }
    }

    async fn connect(&self) -> RedisResult<(MultiplexedConnection, BoxFuture<'static, ()>, Pushed)> {
        let stream = self.address.open(self.tls.as_ref()).await?;
        let (told, pushed) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new().set_push_sender(told).set_response_timeout(None);
        let login = self.address.login();
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        Ok((connection, driver.boxed(), pushed))
    }

    async fn use_it(&self, mut connection: MultiplexedConnection, pushed: &mut Pushed) -> String {
        let mut write = redis::cmd("SET");
        write.arg(&self.probe).arg(1).arg("PX").arg(1000);
        if let Err(why) = in_time(CONNECT, write.query_async::<()>(&mut connection)).await {
            return why;
        }
        match timeout(LOAD, self.mirror.load(&mut connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return told(&error),
            Err(_) => return "its revocations are not read in time".to_owned(),
        }
        self.live.store(Some(Arc::new(Live { connection: connection.clone(), strikes: AtomicU32::new(0) })));
        self.set(Standing::Up);
        self.attempts.send_modify(|attempts| *attempts += 1);
        let mut ping = tokio::time::interval(PING);
        loop {
            tokio::select! {
                () = self.lost.notified() => return "its answers are late, or errors".to_owned(),
                _ = ping.tick() => {
                    let asked = clock::monotonic();
                    if let Err(why) = in_time(PING, redis::cmd("PING").query_async::<()>(&mut connection)).await {
                        return why;
                    }
                    // What was announced before the answer is here by now.
                    if let Err(why) = self.follow(&mut connection, pushed, None).await {
                        return why;
                    }
                    self.mirror.heard_at(asked);
                }
                Some(push) = pushed.recv() => {
                    if let Err(why) = self.follow(&mut connection, pushed, Some(push)).await {
                        return why;
                    }
                }
            }
        }
    }

    /// Reads again what was announced up to now.
    async fn follow(
        &self,
        connection: &mut MultiplexedConnection,
        pushed: &mut Pushed,
        first: Option<redis::PushInfo>,
    ) -> Result<(), String> {
        let mut announced = Vec::from_iter(first);
        while let Ok(push) = pushed.try_recv() {
            announced.push(push);
        }
        if announced.is_empty() {
            return Ok(());
        }
        match timeout(CONNECT, self.mirror.follow(connection, announced)).await {
            Ok(followed) => followed.map_err(|error| told(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    fn set(&self, standing: Standing) {
        let mut held = self.lock();
        let place = &self.address;
        match (&*held, &standing) {
            (Standing::New | Standing::Down(..), Standing::Up) => {
                tracing::info!(%place, "shared state connected");
            }
            (Standing::New | Standing::Up, Standing::Down(_, why)) => {
                tracing::warn!(%place, why, "shared state not connected");
            }
            // Since when it is so stays.
            (Standing::Down(..), Standing::Down(..)) => return,
            _ => {}
        }
        *held = standing;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why revocations cannot be followed.
fn told(error: &MirrorError) -> String {
    match error {
        MirrorError::Store(error) => format!("its revocations cannot be read: {}", words(error)),
        MirrorError::TooMany => "it holds more than 200,000 revocations".to_owned(),
    }
}

/// What the store says unasked.
type Pushed = mpsc::UnboundedReceiver<redis::PushInfo>;

async fn in_time<T>(patience: Duration, answer: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match timeout(patience, answer).await {
        Ok(answer) => answer.map_err(|error| words(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Whether an error is about the connection, or the server at its other end, and not about what was asked.
fn is_fatal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        _ => false,
    }
}

/// The error in a few words: the store's code for it where it has one.
fn words(error: &RedisError) -> String {
    if let Some(code) = error.code().filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return code.to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(kind) => kind.to_string(),
        None => error.category().to_owned(),
    }
}
