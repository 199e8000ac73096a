//! One picture with its label, and the meaning of the numbers in its label and its answer.

use std::path::{Path, PathBuf};

use sed_client::{read_picture, v1};
use sed_image::{IndexMap, UNLABELLED};

use crate::{
    error::{Error, Result},
    exif::{self, Exif},
    label::{self, Label},
};

/// A picture to segment, and its label.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) picture: PathBuf,
    pub(crate) label: PathBuf,
    pub(crate) vocabulary: v1::Vocabulary,
    pub(crate) meaning: Meaning,
}

/// The bytes of a picture to send.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) bytes: Vec<u8>,
    /// True if the server turns the picture upright while its label is not turned.
    pub(crate) turned: bool,
}

/// The meaning of the numbers in a label and an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Label and answer hold indices of the scene's words; word i belongs to category `categories[i]`. A
    /// label with a larger index is wrong.
    Words { categories: Vec<u16> },
    /// The answer counts the categories of the vocabulary from 0, the label as its numbers say.
    Vocabulary(Numbers),
}

/// The values of a label that is for a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The value of the first category.
    pub(crate) first: u16,
    /// Categories from this index on count as this one, in the answer: the label has no later ones.
    pub(crate) background: Option<u16>,
    /// The values of ignored pixels; `None` is all that are no category.
    pub(crate) ignored: Option<&'static [u16]>,
}

/// The categories of a picture's pixels, or [`UNLABELLED`], in the answer and in the label.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) answer: Vec<u16>,
    pub(crate) label: Vec<u16>,
}

impl Meaning {
    /// The value of the first category of a vocabulary in the label.
    pub(crate) fn first_label(&self) -> Option<u16> {
        match self {
            Self::Words { .. } => None,
            Self::Vocabulary(numbers) => Some(numbers.first),
        }
    }
}

impl Case {
    /// Reads the picture.
    pub(crate) async fn picture(&self, exif: Exif) -> Result<Picture> {
        let bytes = read_picture(&self.picture).await?;
        Ok(match exif {
            Exif::Apply => Picture { turned: exif::is_turned(&bytes), bytes },
            Exif::Ignore => Picture { turned: false, bytes: exif::as_stored(bytes)? },
        })
    }

    /// Reads the label and puts it beside the answer, whose vocabulary has `words` categories.
    pub(crate) fn compare(&self, answer: IndexMap, words: usize) -> Result<Compared> {
        let Label { width, height, values } = label::read(&self.label)?;
        let (file, size) = (self.label.clone(), (answer.width(), answer.height()));
        if (width, height) != size {
            // The sizes are swapped if only the picture is turned by a quarter.
            let advice = if (height, width) == size {
                "; if the picture has an EXIF orientation, --exif ignore takes it as stored"
            } else {
                ""
            };
            return Err(Error::Sizes { file, label: (width, height), picture: size, advice });
        }
        let mut answer = answer.into_indices();
        let label = match &self.meaning {
            Meaning::Vocabulary(numbers) => {
                answer.iter_mut().for_each(|category| *category = numbers.folded(*category));
                numbers.categories(values, words, &file)?
            }
            Meaning::Words { categories } => {
                let most = values.iter().max().copied();
                if let Some(word) = most.filter(|most| usize::from(*most) >= categories.len()) {
                    return Err(Error::Word { file, word, last: categories.len().saturating_sub(1) });
                }
                let category = |word: u16| categories.get(usize::from(word)).copied().unwrap_or(UNLABELLED);
                answer.iter_mut().for_each(|word| *word = category(*word));
                values.into_iter().map(category).collect()
            }
        };
        Ok(Compared { answer, label })
    }
}

impl Case {
    /// The values of the label, each once, rising.
    pub(crate) fn values_of_label(&self) -> Result<Vec<u16>> {
        let mut values = label::read(&self.label)?.values;
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// The values of the label, rising, with their numbers of pixels.
    pub(crate) fn counts_of_label(&self) -> Result<Vec<(u16, u64)>> {
        let mut values = label::read(&self.label)?.values;
        values.sort_unstable();
        let same = values.chunk_by(|left, right| left == right);
        Ok(same.filter_map(|pixels| Some((*pixels.first()?, pixels.len() as u64))).collect())
    }
}

impl Numbers {
    /// The category that an answer's category counts as.
    fn folded(&self, category: u16) -> u16 {
        match self.background {
            Some(background) if category != UNLABELLED => category.min(background),
            _ => category,
        }
    }

    /// The categories of a label's values, for a vocabulary of `words` categories.
    ///
    /// # Errors
    /// A value is neither a category nor one of the ignored ones.
    fn categories(&self, mut values: Vec<u16>, words: usize, file: &Path) -> Result<Vec<u16>> {
        let count = self.background.map_or(words, |background| words.min(usize::from(background) + 1));
        for value in &mut values {
            let category = value.checked_sub(self.first).filter(|category| usize::from(*category) < count);
            if category.is_none() && self.ignored.is_some_and(|ignored| !ignored.contains(value)) {
                return Err(Error::Value {
                    file: file.to_owned(),
                    value: *value,
                    first: self.first,
                    last: usize::from(self.first) + count.saturating_sub(1),
                    ignored: self.ignored.unwrap_or_default(),
                });
            }
            *value = category.unwrap_or(UNLABELLED);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(label: &std::path::Path, meaning: Meaning) -> Case {
        let (picture, label) = (PathBuf::from("x.png"), label.to_owned());
        Case { picture, label, vocabulary: v1::Vocabulary::default(), meaning }
    }

    #[test]
    fn labels_may_count_from_one_and_beyond_the_vocabulary() {
        let none = UNLABELLED;
        let of = |first: u16, values: Vec<u16>| {
            let numbers = Numbers { first, background: None, ignored: None };
            numbers.categories(values, 3, Path::new("x.png")).unwrap()
        };
        assert_eq!(of(1, vec![0, 1, 3, 4, 255]), [none, 0, 2, none, none]);
        assert_eq!(of(0, vec![0, 2, 3, 65_535]), [0, 2, none, none]);
    }

    #[test]
    fn categories_of_the_background_count_as_one_and_other_values_are_faults() {
        let numbers = Numbers { first: 0, background: Some(2), ignored: Some(&[255]) };
        assert_eq!([0, 2, 3, 58, UNLABELLED].map(|at| numbers.folded(at)), [0, 2, 2, 2, UNLABELLED]);
        let of = |values: Vec<u16>| numbers.categories(values, 59, Path::new("x.png"));
        assert_eq!(of(vec![0, 2, 255]).unwrap(), [0, 2, UNLABELLED]);
        let error = of(vec![0, 3]).unwrap_err().to_string();
        assert!(error.contains("x.png holds the value 3"), "{error}");
        assert!(error.contains("neither a category (0 to 2) nor ignored (255)"), "{error}");
    }

    #[test]
    fn words_become_the_categories_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.label.png");
        image::GrayImage::from_raw(3, 1, vec![0, 1, 1]).unwrap().save(&path).unwrap();
        let case = case(&path, Meaning::Words { categories: vec![40, 7] });
        assert_eq!(case.counts_of_label().unwrap(), [(0, 1), (1, 2)]);
        let answer = || IndexMap::new(3, 1, vec![1, 1, UNLABELLED]).unwrap();
        let want = Compared { answer: vec![7, 7, UNLABELLED], label: vec![40, 7, 7] };
        assert_eq!(case.compare(answer(), 2).unwrap(), want);

        let fewer = Case { meaning: Meaning::Words { categories: vec![40] }, ..case.clone() };
        let error = fewer.compare(answer(), 1).unwrap_err().to_string();
        assert!(error.contains("0.label.png has a pixel of word 1, but the last word is 0"), "{error}");
        let error = case.compare(IndexMap::new(1, 3, vec![0; 3]).unwrap(), 2).unwrap_err().to_string();
        assert!(error.contains("0.label.png is 3 × 1 and the picture 1 × 3"), "{error}");
        assert!(error.contains("--exif ignore"), "{error}");
        let error = case.compare(IndexMap::new(2, 1, vec![0; 2]).unwrap(), 2).unwrap_err().to_string();
        assert!(error.ends_with("they must be of one size"), "{error}");
    }
}
