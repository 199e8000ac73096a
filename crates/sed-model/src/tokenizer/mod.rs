//! CLIP's byte-pair tokenizer, exactly as open_clip's `SimpleTokenizer`: repair and clean the text, split it
//! into words, encode each word by byte pairs.

mod bpe;
mod clean;
mod entities;
mod mojibake;
mod phrases;
mod repair;

use regex::Regex;

use crate::config::TextConfig;
use crate::error::{ModelError, Result};
use bpe::BytePairs;
pub use phrases::{PhraseReader, PhraseTokens};

/// Pattern of a word; the reference matches it without regard to case.
const WORDS: &str =
    r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Turns text into token ids.
#[derive(Debug)]
pub struct Tokenizer {
    words: Regex,
    pairs: BytePairs,
    context_length: usize,
}

impl Tokenizer {
    /// A tokenizer for a text tower of these sizes: with fewer ids than CLIP's 49408 only the first merges
    /// are used, and start and end of text are always the last two ids.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the vocabulary size is not one that CLIP's merges can be cut to.
    pub fn new(config: &TextConfig) -> Result<Self> {
        let pairs = BytePairs::new(config.vocab_size).ok_or_else(|| ModelError::Config {
            field: "text.vocab_size",
            reason: format!("is {}; must be from 514 to 49408", config.vocab_size),
        })?;
        #[expect(clippy::expect_used, reason = "the pattern is a constant, compiled by every test")]
        let words = Regex::new(WORDS).expect("the word pattern is valid");
        Ok(Self { words, pairs, context_length: config.context_length })
    }

    /// The id of start of text.
    pub fn start(&self) -> u32 {
        self.pairs.start()
    }

    /// The id of end of text, the largest there is.
    pub fn end(&self) -> u32 {
        self.pairs.start() + 1
    }

    /// The ids of `text`: start of text, the words, end of text; never more than the context length, the last
    /// id being end of text then too. (The reference pads with zeros up to the context length; nothing after
    /// the first end of text is ever read.)
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = vec![self.start()];
        self.append(text, &mut ids);
        ids.truncate(self.context_length - 1);
        ids.push(self.end());
        ids
    }

    /// Appends the ids of the words of `text`, however many.
    fn append(&self, text: &str, ids: &mut Vec<u32>) {
        for word in self.words.find_iter(&clean::clean(text)) {
            match word.as_str() {
                "<start_of_text>" => ids.push(self.start()),
                "<end_of_text>" => ids.push(self.end()),
                word => self.pairs.encode(word, ids),
            }
        }
    }
}

#[cfg(test)]
mod tests;
