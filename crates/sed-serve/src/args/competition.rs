//! Flags that say how words compete: the synonyms of a category, and contrast words.

use clap::{Args, ValueEnum};
use sed_client::{Contrast, SynonymMode, v1, v1::vocabulary::Source};
use sed_model::prompts::{self, Category};

use super::words::parse_words;

/// Requests of fewer words than this have contrast words, unless a flag says otherwise.
const FEW: usize = 5;
/// The beginning of the names of registered vocabularies.
const REGISTERED: &str = "voc-";

/// Flags of synonyms and contrast words.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Words")]
pub(crate) struct CompetitionArgs {
    /// The scores of a category with synonyms: those of the mean of their embeddings, at the cost of one
    /// category, or at each pixel that of the best, at the cost of a category for each. [default: mean, or
    /// what the named vocabulary says]
    #[arg(long, value_name = "HOW")]
    synonyms: Option<SynonymChoice>,

    /// Contrast words: they compete with yours, and a pixel at which one of them is best stays unlabelled.
    /// `auto` is common words that are not near yours; else a vocabulary's name, or words as for --words.
    /// [default: for `segment` with fewer than five words `auto`; else `off`, or what the named vocabulary
    /// says]
    #[arg(long, value_name = "auto|off|NAME|WORDS", value_parser = parse_contrast)]
    contrast: Option<Contrast>,
}

/// A synonym mode by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SynonymChoice {
    /// The mean of the phrases' embeddings is looked for.
    Mean,
    /// Every phrase is looked for, and at each pixel the best one counts.
    Best,
}

/// Parses `auto`, `off`, the name of a vocabulary, or words.
fn parse_contrast(text: &str) -> Result<Contrast, String> {
    let is_name = |name: &str| {
        name.starts_with(REGISTERED) || prompts::builtin_vocabularies().any(|built_in| built_in == name)
    };
    match text.trim() {
        "auto" => Ok(Contrast::Auto),
        "off" => Ok(Contrast::Off),
        name if is_name(name) => Ok(Contrast::Named(name.to_owned())),
        words => {
            let category = |Category { name, synonyms }| v1::Category { name, synonyms };
            parse_words(words).map(|words| Contrast::Words(words.0.into_iter().map(category).collect()))
        }
    }
}

impl CompetitionArgs {
    /// The synonym mode; unspecified without a flag.
    pub(crate) fn synonym_mode(&self) -> SynonymMode {
        match self.synonyms {
            None => SynonymMode::Unspecified,
            Some(SynonymChoice::Mean) => SynonymMode::Mean,
            Some(SynonymChoice::Best) => SynonymMode::Best,
        }
    }

    /// The contrast words that the flag asks for.
    pub(crate) fn contrast(&self) -> Option<Contrast> {
        self.contrast.clone()
    }

    /// Sets what the flags say in a vocabulary.
    pub(crate) fn apply(&self, vocabulary: &mut v1::Vocabulary) {
        vocabulary.set_synonym_mode(self.synonym_mode());
        vocabulary.contrast = self.contrast().map(Into::into);
    }

    /// Sets what the flags say in a vocabulary, and contrast words of the server's choice where they say
    /// nothing and few words are written out: an arg-max over one category has no choice. Reports whether it
    /// did that.
    pub(crate) fn apply_to_few(&self, vocabulary: &mut v1::Vocabulary) -> bool {
        self.apply(vocabulary);
        let few = match &vocabulary.source {
            Some(Source::Categories(list)) => list.categories.len() < FEW,
            _ => false,
        };
        let chosen = few && self.contrast.is_none();
        if chosen {
            vocabulary.contrast = Some(Contrast::Auto.into());
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_a_word_a_name_or_words() {
        let category = |name: &str, synonyms: &[&str]| v1::Category {
            name: name.into(),
            synonyms: synonyms.iter().map(ToString::to_string).collect(),
        };
        for (text, contrast) in [
            ("auto", Contrast::Auto),
            (" off ", Contrast::Off),
            ("pascal-voc-20", Contrast::Named("pascal-voc-20".into())),
            ("voc-00ff", Contrast::Named("voc-00ff".into())),
            ("sky", Contrast::Words(vec![category("sky", &[])])),
            (
                "sky, wall|brick wall",
                Contrast::Words(vec![category("sky", &[]), category("wall", &["brick wall"])]),
            ),
        ] {
            assert_eq!(parse_contrast(text), Ok(contrast), "{text}");
        }
        assert!(parse_contrast("sky,,wall").is_err());
    }

    #[test]
    fn few_words_get_contrast_words_unless_a_flag_says_otherwise() {
        let applied = |args: &CompetitionArgs, mut vocabulary: v1::Vocabulary| {
            let chosen = args.apply_to_few(&mut vocabulary);
            (chosen, vocabulary.contrast)
        };
        let none = CompetitionArgs::default();
        let auto = Some(Contrast::Auto.into());
        assert_eq!(applied(&none, sed_client::words(["a", "b", "c", "d"])), (true, auto.clone()));
        assert_eq!(applied(&none, sed_client::words(["a", "b", "c", "d", "e"])), (false, None));
        assert_eq!(applied(&none, sed_client::named("pascal-voc-20")), (false, None));
        for contrast in [Contrast::Off, Contrast::Auto] {
            let args = CompetitionArgs { contrast: Some(contrast.clone()), ..CompetitionArgs::default() };
            assert_eq!(applied(&args, sed_client::words(["a"])), (false, Some(contrast.into())));
        }
        let args = CompetitionArgs { synonyms: Some(SynonymChoice::Best), contrast: None };
        let mut vocabulary = sed_client::named("pascal-voc-20");
        args.apply(&mut vocabulary);
        assert_eq!(vocabulary.synonym_mode(), SynonymMode::Best);
    }
}
