//! The reasons for refusing memory.

use std::time::Duration;

use sed_proto::v1::ErrorReason;
use tonic::Status;

use super::owner::Whose;
use crate::status::Failure;

/// Time after which memory will probably be free.
const RETRY: Duration = Duration::from_millis(500);

/// The reason for refusing a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// More than one connection may ever hold.
    Never {
        /// That bound, in bytes.
        limit: u64,
    },
    /// The budget is used up.
    Budget,
    /// The share of the connection or of the caller is used up.
    Share {
        /// Its owners.
        whose: Whose,
        /// Its size in bytes.
        limit: u64,
    },
}

impl Shortage {
    /// The answer to a request that needed `bytes`.
    pub(crate) fn into_status(self, bytes: u64) -> Status {
        let reason = ErrorReason::MemoryExhausted;
        match self {
            Self::Never { limit } => {
                let message = format!(
                    "the request needs at least {bytes} bytes of memory, a connection may hold {limit}; send a \
                     smaller picture, or ask for smaller masks or no overlay"
                );
                Failure::new(reason, message).with("limit", limit).into_status()
            }
            Self::Budget => {
                let message = "all memory for requests is in use; retry after the delay";
                Failure::new(reason, message).retry_after(RETRY).into_status()
            }
            Self::Share { whose, limit } => {
                let holder = match whose {
                    Whose::Connection(_) => "this connection holds its",
                    Whose::Caller(Some(_)) => "this caller holds its",
                    Whose::Caller(None) | Whose::All => "callers without a name hold their",
                };
                let message = format!(
                    "{holder} share of the memory for requests, {limit} bytes; retry after the delay, with fewer \
                     requests at once"
                );
                Failure::new(reason, message).with("limit", limit).retry_after(RETRY).into_status()
            }
        }
    }
}
