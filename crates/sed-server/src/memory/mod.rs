//! The account of memory: every buffer that a client can cause is charged before it is allocated, and
//! released when it is dropped.
//!
//! One budget for the process ([`Account`]) has a share for each connection and for each caller; a [`Payer`]
//! is one call's access to it, a [`Charge`] the part of it that one buffer holds. Receive windows of HTTP/2
//! are promised when a connection is accepted and cannot be charged afterwards, so they have a part of their
//! own ([`Windows`]). Uploads and answers on their way ([`Transfers`]) have a least rate of progress; the
//! slowest is ended when memory or places run out, and its connection has fewer at once from then on.

mod account;
mod charge;
mod owner;
mod present;
mod shortage;
mod split;
mod standing;
mod transfer;
mod windows;

pub(crate) use self::{
    account::{Account, Promise},
    charge::{Charge, Payer},
    owner::ConnectionId,
    present::Present,
    split::Split,
    transfer::{LEAST_RATE, Transfer, Transfers},
    windows::{Window, Windows},
};
