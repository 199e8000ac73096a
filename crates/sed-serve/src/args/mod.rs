//! Flags that several commands share.

mod access;
mod device;
mod model;
mod request;
mod server;
mod target;
mod words;
pub(crate) mod words_file;

pub(crate) use access::AccessArgs;
pub(crate) use device::{DeviceChoice, device_choice};
pub(crate) use model::{ModelArgs, NumberFormat};
pub(crate) use request::RequestArgs;
pub(crate) use server::{ServerArgs, print_config};
pub(crate) use target::{TargetArgs, seconds};
pub(crate) use words::{Words, WordsArgs, parse_words};
pub(crate) use words_file::to_line;
