//! Flags that several commands share.

mod access;
mod competition;
mod device;
mod encoding;
mod format;
mod model;
mod remote;
mod request;
mod server;
mod target;
mod words;
pub(crate) mod words_file;

pub(crate) use access::AccessArgs;
pub(crate) use competition::CompetitionArgs;
pub(crate) use device::{DeviceChoice, device_choice};
pub(crate) use encoding::any_encoding;
pub(crate) use format::Format;
pub(crate) use model::{ModelArgs, NumberFormat};
pub(crate) use remote::{OptionalRemoteArgs, RemoteArgs};
pub(crate) use request::RequestArgs;
pub(crate) use server::{ServerArgs, print_config};
pub(crate) use target::{TargetArgs, seconds, seconds_or_none};
pub(crate) use words::{
    OneVocabularyArgs, Source, VocabulariesArgs, Words, WordsArgs, built_in, different_phrases, parse_words,
};
pub(crate) use words_file::to_line;
