//! The acts of a client, one after the other.

mod masks;
mod preparing;
mod probes;
mod rude;
mod streams;
mod vocabularies;

use std::{net::SocketAddr, sync::Arc};

use tokio::time::sleep;

pub(crate) use masks::Colds;
pub(crate) use vocabularies::delete_all;

use crate::{calls::Shared, line::Line, wrong};

/// Acts with their weights.
const ACTS: [(Act, u32); 17] = [
    (Act::Plain, 24),
    (Act::ById, 14),
    (Act::Cold, 8),
    (Act::Infer, 8),
    (Act::Hurried, 7),
    (Act::Cancelled, 7),
    (Act::Wrong, 12),
    (Act::Stream, 5),
    (Act::LeftStream, 3),
    (Act::LateStream, 1),
    (Act::Registered, 5),
    (Act::Hoard, 1),
    (Act::Prepared, 2),
    (Act::Lists, 2),
    (Act::Probes, 4),
    (Act::Rude, 3),
    (Act::Reconnect, 1),
];

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A request of the catalogue as it is.
    Plain,
    /// The same with the picture's id.
    ById,
    /// A request with words that are new.
    Cold,
    /// A request of the Open Inference Protocol.
    Infer,
    /// A deadline that may be too short.
    Hurried,
    /// A call that is cancelled at a random moment.
    Cancelled,
    /// A request with a fault.
    Wrong,
    /// A stream to its end.
    Stream,
    /// A stream that is left in its middle.
    LeftStream,
    /// A stream whose deadline ends it.
    LateStream,
    /// A vocabulary from its registration to its end.
    Registered,
    /// Vocabularies until the server takes no more.
    Hoard,
    /// Words that are prepared.
    Prepared,
    /// Lists of vocabularies.
    Lists,
    /// Health, metadata and server info.
    Probes,
    /// Connections that break.
    Rude,
    /// Another connection.
    Reconnect,
}

impl Act {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let weights: u32 = ACTS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = random.u32(..weights);
        for (act, weight) in ACTS {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return act,
            }
        }
        unreachable!("less than the sum of the weights was drawn")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "request",
            Self::ById => "request by image id",
            Self::Cold => "request with new words",
            Self::Infer => "open inference request",
            Self::Hurried => "short deadline",
            Self::Cancelled => "cancelled call",
            Self::Wrong => "wrong request",
            Self::Stream => "stream",
            Self::LeftStream => "stream left in the middle",
            Self::LateStream => "stream with a deadline",
            Self::Registered => "registered vocabulary",
            Self::Hoard => "vocabularies up to the limit",
            Self::Prepared => "preparation",
            Self::Lists => "list of vocabularies",
            Self::Probes => "probes",
            Self::Rude => "broken connection",
            Self::Reconnect => "new connection",
        }
    }
}

/// Acts as client `number` until the load ends.
pub(crate) async fn client(shared: Arc<Shared>, address: SocketAddr, number: usize, seed: u64) -> Colds {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64));
    let mut line = Line::new(address, number);
    let mut colds = Colds::default();
    let wrong = wrong::all();
    while !shared.stopped() {
        let act = Act::draw(&mut random);
        shared.tally().act(act.name());
        match act {
            Act::Plain => masks::plain(&shared, &line, &mut random).await,
            Act::ById => masks::by_id(&shared, &line, &mut random).await,
            Act::Cold => masks::cold(&shared, &line, &mut random, &mut colds).await,
            Act::Infer => masks::inferred(&shared, &line, &mut random).await,
            Act::Hurried => masks::hurried(&shared, &line, &mut random).await,
            Act::Cancelled => masks::cancelled(&shared, &line, &mut random).await,
            Act::Wrong => wrong[random.usize(..wrong.len())].ask(&shared, &line).await,
            Act::Stream => streams::whole(&shared, &line, &mut random).await,
            Act::LeftStream => streams::left(&shared, &line, &mut random).await,
            Act::LateStream => streams::late(&shared, &line, &mut random).await,
            Act::Registered => vocabularies::registered(&shared, &line, &mut random).await,
            Act::Hoard => vocabularies::hoard(&shared, &line).await,
            Act::Prepared => preparing::words(&shared, &line, &mut random).await,
            Act::Lists => vocabularies::lists(&shared, &line, &mut random).await,
            Act::Probes => probes::all(&shared, &line).await,
            Act::Rude => rude::any(&shared, &line, &mut random).await,
            Act::Reconnect => line = Line::new(address, number),
        }
        if random.u32(0..50) == 0 {
            sleep(std::time::Duration::from_millis(random.u64(0..200))).await;
        }
    }
    colds
}
