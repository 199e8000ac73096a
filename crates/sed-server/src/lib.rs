//! The gRPC side of the server: connections and access to them, services, limits and configuration, health
//! and reflection, and the operations port.
//!
//! [`config::load`] returns a checked [`ServerConfig`]; [`Server::bind`] opens the socket; [`Server::serve`]
//! answers until told to stop. All of it also works inside another program.

#![forbid(unsafe_code)]

mod access;
mod caller;
mod calls;
pub mod config;
mod connections;
mod convert;
mod cpu_pool;
mod deadline;
mod exchange;
mod field;
mod guard;
mod health;
mod image_id;
mod incoming;
mod inference;
mod intake;
mod memory;
mod methods;
pub mod metrics;
mod ops;
mod page;
mod places;
mod request_error;
mod server;
mod service;
mod status;
mod usage;
mod validate;
mod vocabulary_registry;
mod web;
mod wire;

pub use access::{AccessError, CertificateFacts, inspect_tls, inspect_tokens};
pub use config::{ConfigError, ServerConfig, Settings};
pub use field::{CategoryList, Field, ThresholdPart};
pub use health::SERVICE_NAME;
pub use inference::{Output, ValidatedInfer, validate_infer};
pub use request_error::RequestError;
pub use server::{Drain, ServeError, Server};
pub use status::{ERROR_DOMAIN, code_of, reason_name};
pub use validate::{
    CategoryName, CategoryThreshold, ContrastSource, ImageSource, OutputSize, OverlayOptions, SentImage,
    ValidatedOptions, ValidatedRequest, ValidatedWords, VocabularySource, validate_create_vocabulary,
    validate_prepare_vocabulary, validate_segment,
};
pub use vocabulary_registry::REGISTERED_VOCABULARY_BYTES;
