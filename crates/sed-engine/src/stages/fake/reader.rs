//! The fake's tokenizer.

use crate::stages::phrases::{PhraseTokens, ReadPhrases};

/// Letters of a phrase that the fake's prompts have room for.
pub const ROOM: usize = 200;

/// The fake's reading of phrases: a token for each letter. Letter case, repeated spaces and the accent of
/// letters that have it as a character of its own make no difference.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeReader;

impl FakeReader {
    /// The one spelling of all phrases with the same tokens.
    pub(super) fn folded(phrase: &str) -> String {
        let known = phrase.to_lowercase().replace("&nbsp;", " ").replace("e\u{301}", "\u{e9}");
        known.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl ReadPhrases for FakeReader {
    fn read(&self, phrase: &str) -> PhraseTokens {
        let ids: Vec<u32> = Self::folded(phrase).chars().map(u32::from).collect();
        PhraseTokens { whole: ids.len(), room: ROOM, ids }
    }
}
