//! Flags that several commands share.

mod model;
mod request;
mod server;
mod target;
mod words;

pub(crate) use model::{DeviceName, ModelArgs, NumberFormat, OpenedModel, device_name};
pub(crate) use request::RequestArgs;
pub(crate) use server::{ServerArgs, print_config};
pub(crate) use target::{TargetArgs, seconds};
pub(crate) use words::{Words, WordsArgs, parse_words, to_proto};
