//! The identity of a phrase: the token ids by which the text tower knows it.

use std::sync::Arc;

use super::Tokenizer;
use crate::prompts::templates;

/// The words before the phrase in the prompts that are read for it. Every template puts the phrase behind a lower-case
/// word and a space, and either a full stop or more words behind it.
const BEFORE: &str = "a";
/// The end of most prompts.
const STOP: &str = ".";
/// The words behind the phrase in the other prompts begin so.
const MORE: &str = " in";
/// Parts the two readings of a phrase; no token has this id.
const BETWEEN: u32 = u32::MAX;

/// Reads phrases as token ids, without the text tower. Shared by all threads.
#[derive(Clone, Debug)]
pub struct PhraseReader {
    tokenizer: Arc<Tokenizer>,
    /// Tokens that stand before a phrase in its prompts.
    before: usize,
    /// Tokens behind a template's prefix that the template with the shortest one leaves room for.
    most: usize,
    /// The same of the template with the longest prefix.
    least: usize,
}

/// The token ids of one phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhraseTokens {
    /// The ids that at least one prompt reads, in both kinds of prompts; empty when nothing is left of the phrase after cleaning. Phrases with the
    /// same ids have the same embedding.
    pub ids: Vec<u32>,
    /// Tokens of the phrase, those included that no prompt reads.
    pub whole: usize,
    /// Tokens of a phrase that every prompt reads whole.
    pub room: usize,
}

impl PhraseTokens {
    /// Reports whether some prompts are cut: their last tokens do not fit the context length.
    pub fn is_cut(&self) -> bool {
        self.whole > self.room
    }
}

impl PhraseReader {
    /// A reader of phrases in the prompts of [`templates`].
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let mut reader = Self { tokenizer, before: 0, most: 0, least: 0 };
        reader.before = reader.tokens(BEFORE).len();
        // Start and end of text take two places of every prompt.
        let places = reader.tokenizer.context_length - 2;
        let prefix = |template: &str| reader.tokens(template.split("{}").next().unwrap_or_default()).len();
        let prefixes: Vec<usize> = templates().map(prefix).collect();
        let room = |tokens: Option<&usize>| places.saturating_sub(tokens.copied().unwrap_or_default());
        (reader.most, reader.least) = (room(prefixes.iter().min()), room(prefixes.iter().max()));
        reader
    }

    /// Returns the tokens of a phrase as its prompts have them: what the tokenizer makes equal has equal ids.
    ///
    /// The repair of broken text looks at a phrase's surroundings, and punctuation joins the full stop behind it, so the
    /// ids are those of the phrase within its two kinds of prompts.
    pub fn read(&self, phrase: &str) -> PhraseTokens {
        let [mut first, mut second] = [STOP, MORE].map(|behind| self.within(phrase, behind));
        if first == self.tokens(STOP) {
            return PhraseTokens { ids: Vec::new(), whole: 0, room: self.room() };
        }
        let whole = second.len().saturating_sub(self.tokens(MORE).len());
        self.keep_read(&mut first);
        self.keep_read(&mut second);
        first.push(BETWEEN);
        first.extend(second);
        PhraseTokens { ids: first, whole, room: self.room() }
    }

    /// Tokens of a phrase that every prompt reads whole: the full stop takes one more.
    fn room(&self) -> usize {
        self.least.saturating_sub(1)
    }

    /// The tokens of a phrase and of what stands behind it in a prompt.
    fn within(&self, phrase: &str, behind: &str) -> Vec<u32> {
        let mut ids = self.tokens(&format!("{BEFORE} {phrase}{behind}"));
        ids.drain(..self.before.min(ids.len()));
        ids
    }

    /// Drops tokens that no prompt reads: those that do not fit, and those behind an end of text.
    fn keep_read(&self, ids: &mut Vec<u32>) {
        ids.truncate(self.most);
        let end = ids.iter().position(|&id| id == self.tokenizer.end());
        ids.truncate(end.map_or(ids.len(), |end| end + 1));
    }

    fn tokens(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.tokenizer.append(text, &mut ids);
        ids
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::SedConfig,
        prompts::{builtin_vocabularies, builtin_vocabulary, phrase_prompts},
    };

    fn reader() -> PhraseReader {
        PhraseReader::new(Arc::new(Tokenizer::new(&SedConfig::sed_b().text).unwrap()))
    }

    /// Returns the tokens that the text tower reads of all prompts of a phrase.
    fn prompts_of(reader: &PhraseReader, phrase: &str) -> Vec<Vec<u32>> {
        let read = |prompt: String| {
            let mut ids = reader.tokenizer.encode(&prompt);
            let end = ids.iter().position(|&id| id == reader.tokenizer.end()).unwrap();
            ids.truncate(end + 1);
            ids
        };
        phrase_prompts(phrase).map(read).collect()
    }

    #[test]
    fn phrases_that_cleaning_makes_equal_have_the_same_ids() {
        let reader = reader();
        let ids = |phrase: &str| reader.read(phrase).ids;
        for (one, other) in [
            ("caf\u{e9}", "cafe\u{301}"),
            ("it's", "it\u{2019}s"),
            ("Traffic  LIGHT", " traffic light"),
            ("dogs & cats", "dogs &amp;amp; cats"),
            ("cat <end_of_text> dog", "cat<end_of_text>mouse"),
        ] {
            assert_eq!(ids(one), ids(other), "{one:?} and {other:?}");
            assert_eq!(prompts_of(&reader, one), prompts_of(&reader, other), "{one:?} and {other:?}");
        }
        for (one, other) in [("cat", "cats"), ("cat", "cat."), ("!", "!!"), ("cat", "cat <end_of_text>")] {
            assert_ne!(ids(one), ids(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_phrase_of_entities_of_white_space() {
        for empty in ["&nbsp;", "&nbsp;&#32;", " \u{3000}"] {
            assert_eq!(reader().read(empty).ids, [0; 0], "{empty:?}");
        }
        for some in [".", "-", "&lt;"] {
            assert_ne!(reader().read(some).ids, [0; 0], "{some:?}");
        }
    }

    #[test]
    fn a_phrase_is_cut_exactly_when_a_prompt_is() {
        let reader = reader();
        for words in 50..90 {
            let phrase = vec!["word"; words].join(" ");
            let longest = phrase_prompts(&phrase).map(|prompt| reader.tokens(&prompt).len()).max().unwrap();
            let read = reader.read(&phrase);
            assert_eq!(read.whole, words);
            assert_eq!(read.is_cut(), longest + 2 > 77, "{words} words");
        }
    }

    #[test]
    fn phrases_that_differ_only_where_no_prompt_reads_are_the_same() {
        let reader = reader();
        let ids =
            |words: usize, last: &str| reader.read(&format!("{} {last}", vec!["word"; words].join(" "))).ids;
        assert_ne!(ids(70, "cat"), ids(70, "dog"));
        assert_eq!(ids(80, "cat"), ids(80, "dog"));
    }

    #[test]
    fn no_built_in_vocabulary_has_cut_or_empty_phrases() {
        let reader = reader();
        for name in builtin_vocabularies() {
            for category in builtin_vocabulary(name).unwrap() {
                for phrase in category.phrases() {
                    let read = reader.read(phrase);
                    assert!(!read.is_cut() && !read.ids.is_empty(), "{name}: {phrase}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Texts out of few pieces, so that many of them are equal to the model.
        #[test]
        fn equal_ids_and_equal_prompts_are_the_same(
            phrases in prop::collection::vec(
                prop::collection::vec(
                    prop::sample::select(vec![
                        "cat", "CAT", " ", "  ", "!", ".", "'s", "\u{2019}s", "&amp;", "&", "&nbsp;", "e\u{301}",
                        "\u{e9}", "\u{c3}\u{a9}", "\u{c3} ", "<end_of_text>", "1", "\u{3000}",
                    ]),
                    1..4,
                ).prop_map(|pieces| pieces.concat()),
                12,
            )
        ) {
            let reader = reader();
            let mut seen: HashSet<(Vec<u32>, Vec<Vec<u32>>)> = HashSet::new();
            for phrase in &phrases {
                seen.insert((reader.read(phrase).ids, prompts_of(&reader, phrase)));
            }
            let ids: HashSet<_> = seen.iter().map(|(ids, _)| ids).collect();
            let prompts: HashSet<_> = seen.iter().map(|(_, prompts)| prompts).collect();
            prop_assert_eq!(ids.len(), seen.len(), "one of two phrases with the same ids has other prompts: {:?}", phrases);
            prop_assert_eq!(prompts.len(), seen.len(), "two phrases with the same prompts have other ids: {:?}", phrases);
        }
    }
}
