//! Uploads and answers on their way: their progress, and their end when they make none.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    owner::{ConnectionId, Owner, Whose},
    present::{Presence, Present},
    standing::Standings,
};
use crate::{
    exchange::Exchange,
    metrics::{ServerMetrics, TransferDirection, TransferEnd},
};

/// Once its client was waited for during the stall time, a transfer must have moved so many bytes for each
/// second of that.
pub(crate) const LEAST_RATE: f64 = 1024.0;
/// When memory or places run out, any transfer slower than this is ended first, in bytes a second.
const SLOW: f64 = 65_536.0;
/// A transfer is not ended for others before its client was waited for so long: a fair one gets going in
/// less.
const GRACE: Duration = Duration::from_millis(500);
/// The same for transfers that are not [`SLOW`].
const LONG_GRACE: Duration = Duration::from_secs(5);
/// Interval at which all transfers are checked.
const SWEEP: Duration = Duration::from_secs(1);

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From the client: a request's messages.
    Upload,
    /// The same for a method whose messages are small.
    SmallUpload,
    /// To the client: an answer.
    Answer,
    /// The same for a call that carried neither picture nor words.
    SmallAnswer,
}

/// All transfers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    running: Arc<Mutex<HashMap<u64, Arc<State>>>>,
    standings: Standings,
    present: Presence,
    most_uploads: usize,
    stall: Duration,
    metrics: Arc<ServerMetrics>,
}

#[derive(Debug)]
struct State {
    direction: Direction,
    owner: Owner,
    exchange: Option<Exchange>,
    begun: Instant,
    moved: AtomicU64,
    /// Microseconds from `begun` to when the client was last waited for; [`NOT_WAITING`] while it is not.
    waiting: AtomicU64,
    /// Microseconds of all earlier waits for the client.
    waited_before: AtomicU64,
    stalled: AtomicBool,
    crowded: AtomicBool,
    ended: Notify,
}

const NOT_WAITING: u64 = u64::MAX;

/// One transfer; it is over when it is dropped.
#[derive(Debug)]
pub(crate) struct Transfer {
    all: Transfers,
    number: u64,
    state: Arc<State>,
}

impl Transfers {
    /// None yet. No more than `most_uploads` uploads run at the same time; a transfer that moves nothing for
    /// `stall` is ended.
    pub(crate) fn new(most_uploads: usize, stall: Duration, metrics: Arc<ServerMetrics>) -> Self {
        Self {
            running: Arc::default(),
            standings: Standings::default(),
            present: Presence::default(),
            most_uploads,
            stall,
            metrics,
        }
    }

    /// Begins an upload, which waits for the client. Where there are too many, of all or of its connection,
    /// the slowest of them is ended for it; `None` where none is slow.
    pub(crate) fn begin_upload(&self, owner: &Owner) -> Option<Transfer> {
        let is_upload = |state: &State| state.direction == Direction::Upload;
        let most = self.most_of(owner.connection);
        if most < usize::MAX && self.uploads_of(owner.connection) >= most {
            let is_its_own = |state: &State| is_upload(state) && state.owner.connection == owner.connection;
            self.end_slowest_that(is_its_own, false).then_some(())?;
        }
        let running = self.lock().values().filter(|state| is_upload(state)).count();
        let has_room = running < self.most_uploads || self.end_slowest_that(is_upload, true);
        has_room.then(|| self.begin(Direction::Upload, owner.clone(), None))
    }

    /// The same for a call whose message is small: those of probes wait behind no others.
    pub(crate) fn begin_small_upload(&self, owner: &Owner) -> Transfer {
        self.begin(Direction::SmallUpload, owner.clone(), None)
    }

    /// Begins an answer, which waits for the client. Its end cuts `exchange`: a body that is not asked for
    /// more cannot end itself.
    pub(crate) fn begin_answer(&self, owner: &Owner, exchange: Option<Exchange>) -> Transfer {
        self.begin(Direction::Answer, owner.clone(), exchange)
    }

    /// The same for a call that carried neither picture nor words.
    pub(crate) fn begin_small_answer(&self, owner: &Owner, exchange: Option<Exchange>) -> Transfer {
        self.begin(Direction::SmallAnswer, owner.clone(), exchange)
    }

    fn begin(&self, direction: Direction, owner: Owner, exchange: Option<Exchange>) -> Transfer {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State {
            direction,
            owner,
            exchange,
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            waited_before: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            ended: Notify::new(),
        });
        self.lock().insert(number, Arc::clone(&state));
        Transfer { all: self.clone(), number, state }
    }

    /// Uploads, or answers and requests that are worked on, that a connection may have at once: fewer since
    /// one of its transfers had to be ended for others.
    pub(crate) fn most_of(&self, connection: ConnectionId) -> usize {
        self.standings.most(connection)
    }

    /// The size in bytes up to which an upload is believed before it is there: that of the largest which its
    /// connection has completed.
    pub(crate) fn believed(&self, connection: ConnectionId) -> u64 {
        self.standings.largest(connection)
    }

    fn uploads_of(&self, connection: ConnectionId) -> usize {
        let is_one = |state: &&Arc<State>| {
            state.direction == Direction::Upload && state.owner.connection == connection
        };
        self.lock().values().filter(is_one).count()
    }

    /// Counts a call that carries pictures or words among those of its connection, until it is dropped.
    pub(crate) fn enter(&self, connection: ConnectionId) -> Present {
        self.present.enter(connection)
    }

    /// Ends the slowest transfer of these. Returns false if there is none that is old enough.
    pub(crate) fn end_slowest(&self, whose: &Whose) -> bool {
        self.end_slowest_that(|state| whose.covers(&state.owner), true)
    }

    /// Ends the slowest answer: it holds a place that a complete request waits for.
    pub(crate) fn end_slowest_answer(&self) -> bool {
        let is_slow = |state: &State| state.direction == Direction::Answer && state.present_rate() < SLOW;
        self.end_slowest_that(is_slow, true)
    }

    /// Ends the slowest of these. If it is `for_others`, its connection may have fewer from then on.
    fn end_slowest_that(&self, fits: impl Fn(&State) -> bool, for_others: bool) -> bool {
        let running = self.lock();
        let candidates = running.values().filter(|state| state.may_be_ended() && fits(state));
        let slowest = candidates.min_by(|one, other| one.present_rate().total_cmp(&other.present_rate()));
        if let Some(state) = slowest {
            if for_others {
                let connection = state.owner.connection;
                self.standings.ended(connection, self.present.of(connection));
            }
            state.end(TransferEnd::Crowded, &self.metrics);
        }
        slowest.is_some()
    }

    /// Ends transfers that make too little progress, until the future is dropped.
    pub(crate) async fn watch(self) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            sweep.tick().await;
            let running = self.lock();
            let stalled = running.values().filter(|state| state.is_stalled(self.stall));
            stalled.for_each(|state| state.end(TransferEnd::Stalled, &self.metrics));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bytes for each second that the client was waited for: time that the server takes does not count.
    fn rate(&self) -> f64 {
        self.moved.load(Ordering::Relaxed) as f64 / self.waited_in_all().as_secs_f64().max(1e-3)
    }

    /// Reports whether the client is waited for.
    fn waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != NOT_WAITING
    }

    /// Returns the time that the client has been waited for without a byte; zero while it is not waited for.
    fn waited(&self) -> Duration {
        match self.waiting.load(Ordering::Relaxed) {
            NOT_WAITING => Duration::ZERO,
            since => self.begun.elapsed().saturating_sub(Duration::from_micros(since)),
        }
    }

    fn waited_in_all(&self) -> Duration {
        Duration::from_micros(self.waited_before.load(Ordering::Relaxed)) + self.waited()
    }

    fn is_stalled(&self, stall: Duration) -> bool {
        let is_slow = self.waited_in_all() >= stall && self.rate() < LEAST_RATE;
        self.waited() >= stall || (self.waits() && is_slow)
    }

    /// The rate by which transfers are compared when one must end: one that stands still has none, however
    /// fast it was.
    fn present_rate(&self) -> f64 {
        if self.waited() >= GRACE { 0.0 } else { self.rate() }
    }

    fn may_be_ended(&self) -> bool {
        let grace = if self.present_rate() < SLOW { GRACE } else { LONG_GRACE };
        self.waits() && self.waited_in_all() >= grace && self.reason().is_none()
    }

    /// Ends the wait for the client, if there is one.
    fn stop_waiting(&self) {
        self.waited_before.fetch_add(self.waited().as_micros() as u64, Ordering::Relaxed);
        self.waiting.store(NOT_WAITING, Ordering::Relaxed);
    }

    fn end(&self, cause: TransferEnd, metrics: &ServerMetrics) {
        if self.reason().is_some() {
            return;
        }
        let flag = match cause {
            TransferEnd::Stalled => &self.stalled,
            TransferEnd::Crowded => &self.crowded,
        };
        flag.store(true, Ordering::Relaxed);
        let direction = match self.direction {
            Direction::Upload | Direction::SmallUpload => TransferDirection::Upload,
            Direction::Answer | Direction::SmallAnswer => TransferDirection::Answer,
        };
        metrics.transfers_ended.add(direction, cause, 1);
        self.ended.notify_one();
        if let Some(exchange) = &self.exchange {
            exchange.cut();
        }
    }

    fn reason(&self) -> Option<TransferEnd> {
        if self.crowded.load(Ordering::Relaxed) {
            Some(TransferEnd::Crowded)
        } else {
            self.stalled.load(Ordering::Relaxed).then_some(TransferEnd::Stalled)
        }
    }
}

impl Transfer {
    /// Counts `bytes` as moved, and waits for the client again.
    pub(crate) fn moved(&self, bytes: u64) {
        self.state.moved.fetch_add(bytes, Ordering::Relaxed);
        self.wait();
    }

    /// Starts to wait for the client.
    pub(crate) fn wait(&self) {
        self.state.stop_waiting();
        self.state.waiting.store(self.state.begun.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Ends the wait for the client: the server is to act.
    pub(crate) fn rest(&self) {
        self.state.stop_waiting();
    }

    /// Notes that everything has moved. Small ones say nothing about a connection.
    pub(crate) fn complete(&self) {
        let bytes = match self.state.direction {
            Direction::Upload => self.state.moved.load(Ordering::Relaxed),
            Direction::Answer => 0,
            Direction::SmallUpload | Direction::SmallAnswer => return,
        };
        self.all.standings.completed(self.state.owner.connection, bytes);
    }

    /// A future that resolves with the reason when the transfer is to end; it does not borrow the transfer.
    pub(crate) fn ended(&self) -> impl Future<Output = TransferEnd> + Send + use<> {
        let state = Arc::clone(&self.state);
        async move {
            loop {
                if let Some(reason) = state.reason() {
                    return reason;
                }
                state.ended.notified().await;
            }
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::{memory::ConnectionId, metrics};

    fn owner() -> Owner {
        Owner { connection: ConnectionId::next(), caller: None }
    }

    const STALL: Duration = Duration::from_secs(10);

    async fn is_ended(transfer: &Transfer) -> Option<TransferEnd> {
        timeout(Duration::from_millis(1), transfer.ended()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_goes_first_and_none_in_its_first_moment() {
        let transfers = Transfers::new(2, STALL, metrics::off());
        let [slow, fast] = [(); 2].map(|()| transfers.begin_upload(&owner()).unwrap());
        assert!(transfers.begin_upload(&owner()).is_none());
        assert!(!transfers.end_slowest(&Whose::All));
        advance(GRACE).await;
        slow.moved(10);
        fast.moved(10 << 20);
        assert!(!transfers.end_slowest(&Whose::Connection(ConnectionId::next())));
        assert!(!transfers.end_slowest_answer());
        assert!(transfers.end_slowest(&Whose::All));
        assert_eq!((is_ended(&slow).await, is_ended(&fast).await), (Some(TransferEnd::Crowded), None));
        assert!(!transfers.end_slowest(&Whose::All)); // the other is not slow, and young
        drop(slow);
        let third = transfers.begin_upload(&owner()).unwrap();
        advance(GRACE).await;
        fast.moved(10 << 20);
        // A third one has room because the second, silent one is ended for it.
        let fourth = transfers.begin_upload(&owner()).unwrap();
        assert_eq!(is_ended(&third).await, Some(TransferEnd::Crowded));
        drop((fast, third, fourth));
        assert!(transfers.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_upload_was_ended_has_fewer_at_once() {
        let transfers = Transfers::new(10, STALL, metrics::off());
        let connection = owner();
        let _calls = [(); 4].map(|()| transfers.enter(connection.connection));
        let mut uploads = Vec::from([(); 4].map(|()| transfers.begin_upload(&connection).unwrap()));
        advance(GRACE).await;
        assert!(transfers.end_slowest(&Whose::All));
        uploads.iter().for_each(|upload| upload.moved(10 << 20));
        assert!(transfers.begin_upload(&connection).is_none(), "two at once, and four are running");
        assert!(transfers.begin_upload(&owner()).is_some(), "others are not concerned");
        uploads[0].complete();
        uploads.truncate(1);
        let second = transfers.begin_upload(&connection).unwrap();
        let third = transfers.begin_upload(&connection).unwrap();
        assert!(transfers.begin_upload(&connection).is_none(), "one that ended well allows one more");
        // Those on the connection that stand still make room for others on it.
        advance(GRACE).await;
        let fourth = transfers.begin_upload(&connection).unwrap();
        drop((second, third, fourth));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_is_waited_for_stalls() {
        let transfers = Transfers::new(10, STALL, metrics::off());
        let connection = owner();
        let silent = transfers.begin_upload(&connection).unwrap();
        let ours = transfers.begin_answer(&connection, None);
        ours.rest();
        let dripping = transfers.begin_upload(&connection).unwrap();
        let steady = transfers.begin_answer(&connection, None);
        tokio::spawn(transfers.watch());
        for _ in 0..12 {
            sleep(Duration::from_secs(1)).await;
            dripping.moved(1);
            steady.moved(2048);
        }
        assert_eq!(is_ended(&silent).await, Some(TransferEnd::Stalled));
        assert_eq!(is_ended(&dripping).await, Some(TransferEnd::Stalled));
        assert_eq!((is_ended(&ours).await, is_ended(&steady).await), (None, None));
    }
}
