//! Connections over real sockets on loopback: TLS and tokens and how they change, limits, age, compression,
//! gRPC-Web. Certificates are made by the tests.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests fail their test

mod age;
mod certificates;
mod compression;
#[allow(dead_code)] // the other tests use the rest
#[path = "../server/harness.rs"]
mod harness;
#[allow(dead_code)] // the same
#[path = "../server/images.rs"]
mod images;
mod limits;
mod mutual_tls;
#[allow(dead_code)] // the bomb uses the rest
mod raw;
mod rotation;
mod secured;
mod tls;
mod tokens;
mod web;
