//! Words: the vocabularies of requests, and those to register.

use sed_proto::v1::{self, contrast, vocabulary::Source};

/// A vocabulary of words, one category each.
pub fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> v1::Vocabulary {
    categories(words.into_iter().map(|word| (word.into(), Vec::new())))
}

/// A vocabulary of categories, each with its name and its synonyms.
pub fn categories(categories: impl IntoIterator<Item = (String, Vec<String>)>) -> v1::Vocabulary {
    let categories = categories.into_iter().map(|(name, synonyms)| v1::Category { name, synonyms });
    let list = v1::CategoryList { categories: categories.collect() };
    v1::Vocabulary { source: Some(Source::Categories(list)), ..v1::Vocabulary::default() }
}

/// A vocabulary that the server knows by its name, such as `ade20k-150`.
pub fn named(name: impl Into<String>) -> v1::Vocabulary {
    v1::Vocabulary { source: Some(Source::Name(name.into())), ..v1::Vocabulary::default() }
}

/// Contrast words: categories that compete with those asked for and never are in the answer. A pixel at which
/// one of them is best is unlabelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contrast {
    /// None, not even those of a named vocabulary.
    Off,
    /// Common words of the server's choice that are not near those asked for.
    Auto,
    /// The categories of a vocabulary that the server knows by name.
    Named(String),
    /// Words written out.
    Words(Vec<v1::Category>),
}

impl From<Contrast> for v1::Contrast {
    fn from(contrast: Contrast) -> Self {
        let source = match contrast {
            Contrast::Off => None,
            Contrast::Auto => Some(contrast::Source::Automatic(v1::AutoContrast {})),
            Contrast::Named(name) => Some(contrast::Source::Name(name)),
            Contrast::Words(categories) => {
                Some(contrast::Source::Categories(v1::CategoryList { categories }))
            }
        };
        Self { source }
    }
}

/// A vocabulary to register, for [`Client::create_vocabulary`](crate::Client::create_vocabulary).
#[derive(Clone, Debug, PartialEq)]
pub struct NewVocabulary(v1::CreateVocabularyRequest);

impl NewVocabulary {
    /// A vocabulary of these categories.
    pub fn of(categories: impl IntoIterator<Item = v1::Category>) -> Self {
        let categories = Some(v1::CategoryList { categories: categories.into_iter().collect() });
        Self(v1::CreateVocabularyRequest { categories, ..v1::CreateVocabularyRequest::default() })
    }

    /// Computes the text embeddings before the answer. Where the deadline is too short for that, the server
    /// prepares them meanwhile, and the client waits as [`Retries`](crate::Retries) say.
    #[must_use]
    pub fn embed(mut self) -> Self {
        self.0.embed = true;
        self
    }

    /// Sets how the synonyms of a category count; without this, by the mean of their embeddings.
    #[must_use]
    pub fn synonym_mode(mut self, mode: v1::SynonymMode) -> Self {
        self.0.set_synonym_mode(mode);
        self
    }

    /// Sets the contrast words.
    #[must_use]
    pub fn contrast(mut self, contrast: Contrast) -> Self {
        self.0.contrast = Some(contrast.into());
        self
    }
}

impl From<NewVocabulary> for v1::CreateVocabularyRequest {
    fn from(new: NewVocabulary) -> Self {
        new.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contrast_has_its_message() {
        let category = v1::Category { name: "wall".into(), synonyms: vec!["brick wall".into()] };
        let list = v1::CategoryList { categories: vec![category.clone()] };
        for (contrast, source) in [
            (Contrast::Off, None),
            (Contrast::Auto, Some(contrast::Source::Automatic(v1::AutoContrast {}))),
            (Contrast::Named("voc-1".into()), Some(contrast::Source::Name("voc-1".into()))),
            (Contrast::Words(vec![category.clone()]), Some(contrast::Source::Categories(list.clone()))),
        ] {
            assert_eq!(v1::Contrast::from(contrast), v1::Contrast { source });
        }
        let new = NewVocabulary::of([category]).embed().synonym_mode(v1::SynonymMode::Best);
        let message = v1::CreateVocabularyRequest::from(new.contrast(Contrast::Off));
        assert_eq!((message.categories, message.embed), (Some(list), true));
        assert_eq!(message.synonym_mode, i32::from(v1::SynonymMode::Best));
        assert_eq!(message.contrast, Some(v1::Contrast { source: None }));
    }
}
