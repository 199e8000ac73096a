//! Flags that several commands share.

mod model;
mod server;
mod words;

pub(crate) use model::{ModelArgs, OpenedModel};
pub(crate) use server::{ServerArgs, print_config};
pub(crate) use words::{Words, WordsArgs, parse_words, to_proto};
