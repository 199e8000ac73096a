//! Paths of `sed.v1` fields in a request of this protocol, so that errors name what the caller wrote.

use crate::validate::CATEGORIES as LIST;

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
    /// Converts a path of `sed.v1` to the path of its origin in the request.
    pub(super) fn of(&self, field: &str) -> String {
        if let Some(place) = field.strip_prefix(LIST) {
            return self.of_words(place).unwrap_or_else(|| self.categories.shape.clone());
        }
        match field {
            "request_id" => "id".into(),
            "image.encoded" => self.image.clone(),
            "image.raw" => self.pixels.clone(),
            "image.id" => "parameters.image_id".into(),
            "vocabulary.name" => "parameters.vocabulary".into(),
            "options.mask_encodings" => "outputs".into(),
            _ if field.starts_with("options.output_size") => "parameters.output_size".into(),
            _ => field.replacen("options.", "parameters.", 1),
        }
    }

    /// For `[3].name`, `[3].synonyms` and `[3].synonyms[1]`.
    fn of_words(&self, place: &str) -> Option<String> {
        let (category, part) = place.strip_prefix('[')?.split_once("].")?;
        let category: usize = category.parse().ok()?;
        Some(match part {
            "name" => self.categories.element(category),
            "synonyms" => self.synonyms.shape.clone(),
            _ => {
                let synonym: usize = part.strip_prefix("synonyms[")?.strip_suffix(']')?.parse().ok()?;
                self.synonyms.element(*self.synonym_elements.get(category)?.get(synonym)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (field, path) in [
            ("request_id", "id"),
            ("image.encoded", "raw_input_contents[0]"),
            ("vocabulary.categories.categories", "inputs[1].shape"),
            ("vocabulary.categories.categories[1].name", "raw_input_contents[1][1]"),
            ("vocabulary.categories.categories[1].synonyms", "inputs[2].shape"),
            ("vocabulary.categories.categories[1].synonyms[1]", "raw_input_contents[2][3]"),
            ("options.top_k", "parameters.top_k"),
            ("options.output_size.exact", "parameters.output_size"),
        ] {
            assert_eq!(paths.of(field), path);
        }
    }
}
