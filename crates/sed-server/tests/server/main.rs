//! The server over real sockets on loopback, with the fake model: every call, every refusal, connections, its
//! beginning and its end. One program for all, because each program links for long.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests fail their test

mod accounting;
mod answers;
mod bad_requests;
mod callers;
mod contrast;
mod early_answers;
mod encodings;
mod harness;
mod health;
mod image_ids;
mod images;
mod infer;
mod inference;
mod inference_errors;
mod limits;
mod load;
mod malformed_images;
mod memory;
mod operations;
mod preparing;
mod rawcall;
mod reflection;
mod scrape;
mod shutdown;
mod stream_ends;
mod stream_order;
mod streams;
mod sureness;
mod talk;
mod transport;
mod vocabularies;
