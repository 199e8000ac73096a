//! Places in a vocabulary, by which errors and warnings name what they are about.

use std::fmt;

/// The place of a category in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryPlace {
    /// Among the categories asked for, by its index.
    Asked(usize),
    /// Among the contrast words, by its index there.
    Contrast(usize),
}

/// The place of a phrase in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// The category.
    pub category: CategoryPlace,
    /// Index of the synonym; `None` is the name.
    pub synonym: Option<usize>,
}

impl CategoryPlace {
    /// The place of the category's name.
    pub fn name(self) -> Phrase {
        Phrase { category: self, synonym: None }
    }

    /// Two places in a message.
    pub(super) fn two(first: Self, second: Self) -> String {
        match (first, second) {
            (Self::Asked(first), Self::Asked(second)) => format!("entries {first} and {second}"),
            (Self::Contrast(first), Self::Contrast(second)) => format!("contrast words {first} and {second}"),
            _ => format!("{first} and {second}"),
        }
    }
}

impl fmt::Display for CategoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(index) => write!(f, "category {index}"),
            Self::Contrast(index) => write!(f, "contrast word {index}"),
        }
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.synonym {
            None => write!(f, "the name of {}", self.category),
            Some(synonym) => write!(f, "synonym {synonym} of {}", self.category),
        }
    }
}
