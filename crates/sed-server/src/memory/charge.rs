//! The part of the account that one buffer holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{
    account::{Account, Promise, SMALL, Waiting},
    owner::{CallNumber, ConnectionId, Owner, Whose},
    shortage::Shortage,
};
use crate::caller::Caller;

/// Time that a charge waits for memory before it is refused: the time that an ended transfer needs to go.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same on a stream, whose client sends no faster than it is answered and would lose the whole stream.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// Interval at which a call that waits ends the slowest transfer.
const END_AGAIN: Duration = Duration::from_millis(100);

/// One call's access to the account. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    account: Account,
    owner: Owner,
    call: CallNumber,
    patience: Duration,
    /// Bytes that the call holds.
    held: Arc<AtomicU64>,
}

impl Payer {
    /// A payer for calls of `caller` on `connection`.
    pub(crate) fn new(account: Account, connection: ConnectionId, caller: Option<Caller>) -> Self {
        let owner = Owner { connection, caller };
        Self { account, owner, call: CallNumber::next(), patience: PATIENCE, held: Arc::default() }
    }

    /// The same for a stream.
    pub(crate) fn of_stream(self) -> Self {
        Self { patience: STREAM_PATIENCE, ..self }
    }

    /// A charge of nothing yet.
    pub(crate) fn empty(&self) -> Charge {
        Charge { payer: self.clone(), bytes: 0 }
    }

    /// Charges `bytes`; waits a moment for them if need be.
    pub(crate) async fn charge(&self, bytes: u64) -> Result<Charge, Status> {
        let mut charge = self.empty();
        charge.grow(bytes).await?;
        Ok(charge)
    }

    /// Waits a moment until there is room for an upload that will need `bytes`, so that it does not begin in
    /// vain. Where a connection has completed such uploads, the room is its own.
    pub(crate) async fn promise(&self, bytes: u64) -> Result<Promise, Status> {
        let believed = 2 * self.account.transfers().believed(self.owner.connection);
        let mut unread = None;
        // What the call holds itself, as a stream does, becomes free without this upload.
        let mut waits = Waits::new(self, true);
        loop {
            let freed = self.account.freed();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let shortage = match self.account.promise(&self.owner, bytes, believed) {
                Ok(promise) => return Ok(promise),
                Err(shortage) => shortage,
            };
            unread = unread.or_else(|| self.account.leave_unread(self.owner.connection));
            if unread.is_none() {
                return Err(shortage.into_status(bytes));
            }
            waits.wait(shortage, bytes, freed).await?;
        }
    }

    /// Time that its charges wait for memory.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Reports whether the call holds next to nothing: others do not wait for that.
    fn holds_little(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= SMALL
    }

    fn give(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.account.give(&self.owner, bytes);
    }

    /// The account.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// The connection and the caller that pay.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }
}

/// A part of the account, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    payer: Payer,
    bytes: u64,
}

impl Charge {
    /// Charges `bytes` more, if they are free now.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> Result<(), Shortage> {
        self.payer.account.take(&self.payer.owner, bytes, self.bytes)?;
        self.payer.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }

    /// Charges `bytes` more. Where they are not free, the slowest transfer is ended, and two kinds of calls
    /// wait a moment for them: those that hold next to nothing and need little, and the oldest of all others.
    pub(crate) async fn grow(&mut self, bytes: u64) -> Result<(), Status> {
        let payer = self.payer.clone();
        // A stream would hold its places for as long as it may wait.
        let is_patient = payer.patience <= PATIENCE && payer.holds_little() && payer.account.is_modest(bytes);
        let mut waits = Waits::new(&payer, is_patient);
        loop {
            // Made before the attempt, so that nothing given back in between is missed.
            let freed = payer.account.freed();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.try_grow(bytes) {
                Ok(()) => return Ok(()),
                Err(shortage) => waits.wait(shortage, self.bytes + bytes, freed).await?,
            }
        }
    }

    /// Releases all above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if let Some(more) = self.bytes.checked_sub(bytes) {
            self.payer.give(more);
            self.bytes = bytes;
        }
    }

    /// Returns the bytes that it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.payer.give(self.bytes);
    }
}

/// The waits of a call for memory.
struct Waits<'a> {
    payer: &'a Payer,
    give_up: Instant,
    /// True if it waits for the budget beside others.
    is_patient: bool,
    waiting: Option<Waiting>,
    /// The earliest time at which it may end another transfer.
    may_end: Instant,
}

impl<'a> Waits<'a> {
    fn new(payer: &'a Payer, is_patient: bool) -> Self {
        let now = Instant::now();
        Self { payer, give_up: now + payer.patience, is_patient, waiting: None, may_end: now }
    }

    /// Ends the slowest transfer, and waits until something is `freed`; or refuses, where the call may not
    /// wait: of those that hold much, each holds what the others wait for, so only the oldest waits.
    async fn wait(
        &mut self,
        shortage: Shortage,
        bytes: u64,
        freed: impl Future<Output = ()>,
    ) -> Result<(), Status> {
        let account = &self.payer.account;
        let bound = match &shortage {
            Shortage::Never { .. } => return Err(shortage.into_status(bytes)),
            Shortage::Budget => Whose::All,
            Shortage::Share { whose, .. } => whose.clone(),
        };
        if Instant::now() >= self.may_end {
            account.transfers().end_slowest(&bound);
            self.may_end = Instant::now() + END_AGAIN;
        }
        // What a connection or a caller holds itself, it need not wait for.
        let may_wait = (bound == Whose::All && self.is_patient)
            || match &self.waiting {
                Some(waiting) => waiting.is_oldest(),
                None => {
                    self.waiting = account.wait(bound, self.payer.call);
                    self.waiting.is_some()
                }
            };
        if !may_wait || timeout_at(self.give_up, freed).await.is_err() {
            return Err(shortage.into_status(bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{memory::Transfers, metrics};

    fn transfers() -> Transfers {
        Transfers::new(10, Duration::from_secs(10), metrics::off())
    }

    fn payer(account: &Account, caller: Option<&str>) -> Payer {
        Payer::new(account.clone(), ConnectionId::next(), caller.map(Caller::from))
    }

    fn share_of(payer: &Payer) -> Shortage {
        let whose = Whose::Connection(payer.owner.connection);
        Shortage::Share { whose, limit: payer.account.connection_share() }
    }

    #[test]
    fn connections_and_callers_have_shares_and_small_charges_a_reserve() {
        let account = Account::new(16 << 20, true, transfers(), metrics::off());
        let [first, second, third] = [(); 3].map(|()| payer(&account, None));
        let mut a = first.empty();
        assert_eq!(a.try_grow(9 << 20), Err(Shortage::Never { limit: 8 << 20 }));
        a.try_grow(6 << 20).unwrap();
        assert_eq!(first.empty().try_grow(3 << 20), Err(share_of(&first))); // more than half together
        let mut b = second.empty();
        b.try_grow(6 << 20).unwrap();
        let nameless = Shortage::Share { whose: Whose::Caller(None), limit: 12 << 20 };
        assert_eq!(third.empty().try_grow(1 << 20), Err(nameless));
        let named = payer(&account, Some("lab"));
        let mut c = named.empty();
        c.try_grow(3 << 20).unwrap();
        assert_eq!(named.empty().try_grow(1 << 20), Err(Shortage::Budget)); // the reserve
        let mut small = named.empty();
        small.try_grow(200 << 10).unwrap();
        drop((a, b, c, small));
        assert_eq!(account.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_charge_waits_for_what_is_given_back() {
        let account = Account::new(16 << 20, true, transfers(), metrics::off());
        let [first, second] = ["a", "b"].map(|name| payer(&account, Some(name)));
        let held = [first.charge(7 << 20).await.unwrap(), second.charge(7 << 20).await.unwrap()];
        let third = payer(&account, Some("c"));
        let refused = third.charge(4 << 20).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let waiting = tokio::spawn(async move { third.charge(4 << 20).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(held);
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 4 << 20);
        assert_eq!(account.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn of_the_calls_that_wait_only_the_oldest_does() {
        let account = Account::new(16 << 20, false, transfers(), metrics::off());
        let payers: Vec<_> = (0..4).map(|_| payer(&account, None)).collect();
        let mut held = Vec::new();
        for payer in &payers[..3] {
            held.push(payer.charge(5 << 20).await.unwrap());
        }
        let [mut first, mut second, mut third] = <[Charge; 3]>::try_from(held).unwrap();
        // The second waits, until the first needs memory too: then it gives up all that it holds.
        let younger = tokio::spawn(async move { second.grow(2 << 20).await });
        tokio::task::yield_now().await;
        let older = tokio::spawn(async move { first.grow(2 << 20).await.map(|()| first) });
        assert!(younger.await.unwrap().is_err());
        assert_eq!(older.await.unwrap().unwrap().bytes(), 7 << 20);
        third.grow(2 << 20).await.unwrap();
        drop(third);
        assert_eq!(account.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn charges_of_one_call_wait_beside_each_other() {
        let account = Account::new(16 << 20, false, transfers(), metrics::off());
        let [stream, other, third] = [(); 3].map(|()| payer(&account, None));
        let stream = stream.of_stream();
        let held = [other.charge(7 << 20).await.unwrap(), third.charge(7 << 20).await.unwrap()];
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let payer = stream.clone();
                tokio::spawn(async move { payer.charge(3 << 20).await.map(drop) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(held);
        for charged in waiting {
            charged.await.unwrap().unwrap();
        }
        assert_eq!(account.used(), 0);
    }

    #[tokio::test]
    async fn a_refusal_for_good_names_all_that_is_needed() {
        let account = Account::new(16 << 20, false, transfers(), metrics::off());
        let mut charge = payer(&account, None).charge(6 << 20).await.unwrap();
        let refused = charge.grow(3 << 20).await.unwrap_err();
        assert!(refused.message().contains(&(9 << 20).to_string()), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_holds_nothing_waits_beside_an_older_one() {
        let account = Account::new(16 << 20, true, transfers(), metrics::off());
        let [first, second, third, fourth] = ["a", "b", "c", "d"].map(|name| payer(&account, Some(name)));
        let held = [first.charge(7 << 20).await.unwrap(), second.charge(7 << 20).await.unwrap()];
        let [older, modest] = [(third, 4 << 20), (fourth.clone(), 1 << 20)]
            .map(|(payer, bytes)| tokio::spawn(async move { payer.charge(bytes).await.map(drop) }));
        tokio::time::sleep(Duration::from_millis(10)).await;
        fourth.charge(2 << 20).await.unwrap_err(); // too much to wait for with a place in hand
        drop(held);
        assert!(older.await.unwrap().is_ok() && modest.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_waits_for_the_room_that_others_were_promised() {
        let transfers = transfers();
        let account = Account::new(16 << 20, true, transfers.clone(), metrics::off());
        let [known, unknown, third] = ["a", "b", "c"].map(|name| payer(&account, Some(name)));
        assert!(unknown.promise(9 << 20).await.is_err(), "more than a connection may ever hold");
        // The size that a connection announces counts only once it has sent as much.
        let claims = [unknown.promise(8 << 20).await.unwrap(), unknown.promise(8 << 20).await.unwrap()];
        assert!(third.promise(8 << 20).await.is_ok());
        let upload = transfers.begin_upload(known.owner()).unwrap();
        upload.moved(4 << 20);
        upload.complete();
        drop(upload);
        let mut promise = known.promise(8 << 20).await.unwrap();
        let share = known.promise(1 << 20).await.unwrap_err();
        assert!(share.message().starts_with("this connection holds its share"), "{share}");
        let begun = Instant::now();
        let refused_after = async || {
            third.promise(8 << 20).await.unwrap_err();
            begun.elapsed()
        };
        let refused = tokio::join!(refused_after(), refused_after(), refused_after());
        assert_eq!(refused, (PATIENCE, PATIENCE, Duration::ZERO), "two of a connection wait");
        let waiting = tokio::spawn(async move { third.promise(8 << 20).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(10)).await;
        promise.lower_to(1 << 20, Duration::ZERO);
        drop((promise, claims));
        waiting.await.unwrap().unwrap();
        assert_eq!(account.used(), 0);
    }

    proptest! {
        #[test]
        fn the_account_is_even_in_the_end(
            steps in prop::collection::vec((0_usize..4, 0_u64..3 << 20, 0_u64..2 << 20), 0..60),
        ) {
            let account = Account::new(8 << 20, true, transfers(), metrics::off());
            let payers: Vec<_> =
                (0..4).map(|index| payer(&account, ["lab", "shop"].get(index).copied())).collect();
            let mut held = Vec::new();
            for (index, bytes, rest) in steps {
                let mut charge = payers[index].empty();
                if charge.try_grow(bytes).is_ok() {
                    charge.shrink_to(rest);
                    held.push(charge);
                } else {
                    held.pop();
                }
                let sum: u64 = held.iter().map(Charge::bytes).sum();
                prop_assert_eq!(account.used(), sum);
                prop_assert!(sum <= 8 << 20);
            }
            drop(held);
            prop_assert_eq!(account.used(), 0);
        }
    }
}
