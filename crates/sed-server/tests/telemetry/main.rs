//! Metrics and the operations port of a server over real sockets. A process has one recorder, so these tests
//! are a program of their own and run one after the other.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests fail their test

mod accounting;
mod callers;
#[allow(dead_code)] // the other tests use the rest
#[path = "../server/harness.rs"]
mod harness;
#[allow(dead_code)] // the same
#[path = "../server/images.rs"]
mod images;
#[allow(dead_code)] // the same
#[path = "../server/infer.rs"]
mod infer;
mod operations;
#[allow(dead_code)] // the same
#[path = "../server/rawcall.rs"]
mod rawcall;
mod scrape;
