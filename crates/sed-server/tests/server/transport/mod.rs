//! Connections: TLS and tokens and how they change, limits, age, compression, gRPC-Web. Certificates are made
//! by the tests.

mod age;
mod bomb;
mod certificates;
mod compression;
mod limits;
mod mutual_tls;
mod raw;
mod rotation;
mod secured;
mod tls;
mod tokens;
mod web;
