//! The Rust client of sed-serve: a picture and words in, a category for every pixel out.
//!
//! A [`Client`] is one connection, cheap to clone; all clones share it. It repeats a call that the server
//! refused with a delay ([`Retries`]), and every call when the connection ended before the request was sent.
//! Words that the server has not embedded yet can be prepared ([`Client::prepare_vocabulary`]); a request
//! that comes before they are ready waits for them. Failures are an [`Error`] with the server's reason and
//! advice.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sed_client::{Access, Client, MaskEncoding, SegmentRequest};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:50051", &Access::default()).await?;
//! let client = client.with_timeout(Some(Duration::from_secs(30)));
//! let picture = sed_client::read_picture("farm.png").await?;
//! let request = SegmentRequest::encoded(picture)
//!     .words(["cow", "house", "grass"])
//!     .mask(MaskEncoding::IndexPng);
//! let answer = client.segment(request).await?;
//! for category in answer.report.found() {
//!     println!("{}: {} pixels", category.name, category.pixels);
//! }
//! std::fs::write("mask.png", answer.index_png()?)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod access;
mod answer;
mod client;
mod error;
mod notice;
mod pictures;
mod preparation;
pub mod report;
mod request;
mod retries;
mod stream;
mod sureness;
mod unreachable;
mod vocabularies;
mod words;

pub use access::{Access, Credentials};
pub use answer::Answer;
pub use client::{Client, channel};
pub use error::{Error, Result, causes};
pub use pictures::read_picture;
pub use preparation::{DevicePreparation, Preparation};
pub use report::Report;
pub use request::{CategoryKey, SegmentRequest};
pub use retries::Retries;
pub use sed_proto::v1::{self, MaskEncoding, SynonymMode};
pub use stream::{Order, SegmentStream, StreamAnswer};
pub use sureness::{Sureness, UNLABELLED};
pub use words::{Contrast, NewVocabulary, categories, named, words};
