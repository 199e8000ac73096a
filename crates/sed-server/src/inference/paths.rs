//! Fields of `sed.v1` in a request of this protocol, so that errors name what the caller wrote.

use sed_engine::{CategoryPlace, Phrase};

use crate::field::{CategoryList, Field};

/// The paths of the inputs in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The contents of `image`.
    pub(super) image: String,
    /// The shape of `pixels`: their number has already been compared with it.
    pub(super) pixels: String,
    pub(super) categories: Words,
    pub(super) synonyms: Words,
    /// For each category the elements of `synonyms` that are its synonyms.
    pub(super) synonym_elements: Vec<Vec<usize>>,
}

/// The paths of an input that holds words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) shape: String,
    pub(super) contents: String,
}

impl Words {
    pub(super) fn element(&self, index: usize) -> String {
        format!("{}[{index}]", self.contents)
    }
}

impl Paths {
    /// Converts a field of `sed.v1` to its origin in the request. Fields that no request of this protocol sets
    /// stay as they are.
    pub(super) fn of(&self, field: Field) -> Field {
        Field::Infer(match field {
            Field::RequestId => "id".into(),
            Field::ImageEncoded => self.image.clone().into(),
            Field::ImageRaw => self.pixels.clone().into(),
            Field::ImageId => "parameters.image_id".into(),
            Field::VocabularyName => "parameters.vocabulary".into(),
            Field::CategoryList(CategoryList::Inline) => self.categories.shape.clone().into(),
            Field::Synonyms(CategoryList::Inline, _) => self.synonyms.shape.clone().into(),
            Field::Phrase(
                CategoryList::Inline,
                Phrase { category: CategoryPlace::Asked(category), synonym },
            ) => self.element(category, synonym).into(),
            Field::Phrase(CategoryList::Inline, _) | Field::ContrastList(_) | Field::ContrastName(_) => {
                "parameters.contrast".into()
            }
            Field::SynonymMode(_) => "parameters.synonym_mode".into(),
            Field::CategoryThreshold(..) => "parameters.category_thresholds".into(),
            Field::TopK => "parameters.top_k".into(),
            Field::ScoreThreshold => "parameters.score_threshold".into(),
            Field::ResizeMode => "parameters.resize_mode".into(),
            Field::Priority => "parameters.priority".into(),
            Field::OutputSize | Field::OutputSizePreset | Field::OutputSizeExact => {
                "parameters.output_size".into()
            }
            Field::MaskEncodings | Field::MaskEncoding(_) => "outputs".into(),
            other => return other,
        })
    }

    /// The element of a name or a synonym.
    fn element(&self, category: usize, synonym: Option<usize>) -> String {
        match synonym {
            None => self.categories.element(category),
            Some(synonym) => {
                let element = self.synonym_elements.get(category).and_then(|of| of.get(synonym));
                element
                    .map_or_else(|| self.synonyms.contents.clone(), |element| self.synonyms.element(*element))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::ThresholdPart;

    #[test]
    fn every_field_has_its_place() {
        let words = |index: usize| Words {
            shape: format!("inputs[{index}].shape"),
            contents: format!("raw_input_contents[{index}]"),
        };
        let paths = Paths {
            image: "raw_input_contents[0]".into(),
            pixels: String::new(),
            categories: words(1),
            synonyms: words(2),
            synonym_elements: vec![vec![], vec![2, 3]],
        };
        let list = CategoryList::Inline;
        let phrase = |synonym| Field::Phrase(list, Phrase { category: CategoryPlace::Asked(1), synonym });
        for (field, path) in [
            (Field::RequestId, "id"),
            (Field::ImageEncoded, "raw_input_contents[0]"),
            (Field::CategoryList(list), "inputs[1].shape"),
            (phrase(None), "raw_input_contents[1][1]"),
            (Field::Synonyms(list, CategoryPlace::Asked(1)), "inputs[2].shape"),
            (phrase(Some(1)), "raw_input_contents[2][3]"),
            (Field::TopK, "parameters.top_k"),
            (Field::ContrastName(list), "parameters.contrast"),
            (Field::Phrase(list, CategoryPlace::Contrast(1).name()), "parameters.contrast"),
            (Field::SynonymMode(list), "parameters.synonym_mode"),
            (Field::CategoryThreshold(2, ThresholdPart::Name), "parameters.category_thresholds"),
            (Field::OutputSizeExact, "parameters.output_size"),
            (Field::Infer("inputs".into()), "inputs"),
        ] {
            assert_eq!(paths.of(field).to_string(), path);
        }
    }
}
