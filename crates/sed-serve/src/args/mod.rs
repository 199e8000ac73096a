//! Flags that several commands share.

mod model;
mod request;
mod server;
mod target;
mod words;

pub(crate) use model::{ModelArgs, OpenedModel};
pub(crate) use request::RequestArgs;
pub(crate) use server::{ServerArgs, print_config};
pub(crate) use target::TargetArgs;
pub(crate) use words::{WordsArgs, to_proto};
