//! Categories, the 80 prompt templates, and the vocabularies that come with the server.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::PROMPTS;

/// The ImageNet templates of CLIP, `{}` where the phrase goes; one a line, in the reference's order.
const TEMPLATES_TEXT: &str = include_str!("../assets/templates.txt");

/// A thing to find in a picture: its name and other words for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Category {
    /// The category's name, and the first of its phrases.
    pub name: String,
    /// Further phrases for the same category; their embeddings are averaged with the name's.
    #[serde(default)]
    pub synonyms: Vec<String>,
}

impl Category {
    /// A category with one phrase.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), synonyms: Vec::new() }
    }

    /// Reads a line of an official category list, where a comma and a space part synonyms. (A comma alone
    /// does not, and an empty part stays: the reference embeds it.)
    pub fn from_official(line: &str) -> Self {
        let mut phrases = line.split(", ").map(str::to_owned);
        let name = phrases.next().unwrap_or_default();
        Self { name, synonyms: phrases.collect() }
    }

    /// The name, then the synonyms.
    pub fn phrases(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.synonyms.iter().map(String::as_str))
    }
}

/// The 80 templates, each with one `{}`.
pub fn templates() -> impl ExactSizeIterator<Item = &'static str> + Clone {
    // The count is a constant of the asset, which the tests compare with it.
    let mut lines = TEMPLATES_TEXT.lines();
    (0..PROMPTS).map(move |_| lines.next().unwrap_or("{}"))
}

/// `sha256:` and the digest of the templates: embeddings made with others are no longer the same.
pub fn templates_digest() -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(TEMPLATES_TEXT)))
}

/// The 80 prompts of one phrase, in template order.
pub fn phrase_prompts(phrase: &str) -> impl ExactSizeIterator<Item = String> {
    templates().map(move |template| template.replacen("{}", phrase, 1))
}

/// Every prompt of a category in the reference's order: all phrases in the first template, then all in the
/// second, and so on; 80 times the number of phrases.
pub fn prompts(category: &Category) -> Vec<String> {
    templates()
        .flat_map(|template| category.phrases().map(move |phrase| template.replacen("{}", phrase, 1)))
        .collect()
}

/// The name of the built-in vocabulary of common words, from which contrast words are taken. It is no
/// evaluation set: its 64 words are phrases of the other built-in vocabularies, for what most pictures show.
pub const COMMON_WORDS: &str = "common-64";

/// Names of the vocabularies that come with the server, sorted, with their lists as JSON.
const BUILTIN: [(&str, &str); 8] = [
    ("ade20k-150", include_str!("../assets/vocabularies/ade20k-150.json")),
    ("ade20k-847", include_str!("../assets/vocabularies/ade20k-847.json")),
    ("coco-stuff-171", include_str!("../assets/vocabularies/coco-stuff-171.json")),
    (COMMON_WORDS, include_str!("../assets/vocabularies/common-64.json")),
    ("pascal-context-459", include_str!("../assets/vocabularies/pascal-context-459.json")),
    ("pascal-context-59", include_str!("../assets/vocabularies/pascal-context-59.json")),
    ("pascal-voc-20", include_str!("../assets/vocabularies/pascal-voc-20.json")),
    ("pascal-voc-20b", include_str!("../assets/vocabularies/pascal-voc-20b.json")),
];

/// The names that [`builtin_vocabulary`] knows, sorted.
pub fn builtin_vocabularies() -> impl ExactSizeIterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// The categories of a built-in vocabulary, in its order. `pascal-voc-20b` is the 20 categories of Pascal VOC
/// followed by 39 that all count as background.
pub fn builtin_vocabulary(name: &str) -> Option<Vec<Category>> {
    let (_, json) = BUILTIN.iter().find(|(builtin, _)| *builtin == name)?;
    let lines: Vec<String> = serde_json::from_str(json).ok()?;
    Some(lines.iter().map(|line| Category::from_official(line)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_eighty_templates_and_each_has_one_place() {
        assert_eq!(TEMPLATES_TEXT.lines().count(), PROMPTS);
        assert_eq!(templates().len(), PROMPTS);
        assert!(templates().all(|template| template.matches("{}").count() == 1));
        assert_eq!(templates().last(), Some("a tattoo of the {}."));
    }

    #[test]
    fn official_lines_split_at_comma_and_space_only() {
        let category = Category::from_official("building, edifice");
        assert_eq!(category.phrases().collect::<Vec<_>>(), ["building", "edifice"]);
        assert_eq!(Category::from_official("a,b"), Category::new("a,b"));
        assert_eq!(Category::from_official("a, ").phrases().collect::<Vec<_>>(), ["a", ""]);
    }

    #[test]
    fn prompts_are_template_major() {
        let prompts = prompts(&Category::from_official("cat, kitty"));
        assert_eq!(prompts.len(), 160);
        assert_eq!(
            prompts[..3],
            ["a bad photo of a cat.", "a bad photo of a kitty.", "a photo of many cat."]
        );
        let phrase: Vec<String> = phrase_prompts("cat").collect();
        assert_eq!(phrase[..2], ["a bad photo of a cat.", "a photo of many cat."]);
    }

    #[test]
    fn a_phrase_with_braces_is_taken_as_it_is() {
        assert_eq!(phrase_prompts("{} x").next().as_deref(), Some("a bad photo of a {} x."));
    }

    #[test]
    fn builtin_vocabularies_have_their_official_sizes() {
        let sizes: Vec<usize> = builtin_vocabularies()
            .filter_map(builtin_vocabulary)
            .map(|categories| categories.len())
            .collect();
        assert_eq!(sizes, [150, 847, 171, 64, 459, 59, 20, 59]);
        assert_eq!(builtin_vocabulary("imagenet"), None);
        assert!(builtin_vocabularies().is_sorted());
    }

    #[test]
    fn common_words_are_phrases_of_the_other_lists() {
        let others = builtin_vocabularies().filter(|name| *name != COMMON_WORDS);
        let others: Vec<Category> = others.filter_map(builtin_vocabulary).flatten().collect();
        let phrases: HashSet<&str> = others.iter().flat_map(Category::phrases).collect();
        for category in builtin_vocabulary(COMMON_WORDS).unwrap() {
            assert!(category.synonyms.is_empty(), "{category:?}");
            assert!(phrases.contains(category.name.as_str()), "{category:?}");
        }
    }
}
