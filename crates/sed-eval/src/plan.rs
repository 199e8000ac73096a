//! Pictures that are scored together, and their categories.

use std::collections::HashMap;

use sed_image::UNLABELLED;

use crate::{
    case::Case,
    error::{Error, Result},
};

/// Pictures whose pixels are counted together.
#[derive(Debug)]
pub struct Plan {
    /// The name of the scenes' condition; `None` for other pictures.
    pub(crate) condition: Option<String>,
    /// Number of words of a request; `None` where only the server knows the vocabulary.
    pub(crate) words: Option<usize>,
    pub(crate) cases: Vec<Case>,
    /// The categories; `None` where only the server knows the vocabulary.
    pub(crate) names: Option<Names>,
    /// The category of all from this index on; `None` where each counts by itself.
    pub(crate) background: Option<u16>,
}

impl Plan {
    /// Number of pictures.
    pub fn pictures(&self) -> usize {
        self.cases.len()
    }
}

/// Categories by name; their indices are in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<String, u16>,
    names: Vec<String>,
    stuff: Vec<bool>,
}

impl Names {
    /// The categories of a vocabulary in their order. All count as objects: a vocabulary does not mark stuff.
    fn of(names: impl Iterator<Item = String>) -> Self {
        let names: Vec<String> = names.collect();
        Self { ids: HashMap::new(), stuff: vec![false; names.len()], names }
    }

    /// The categories of answers, of which those from `background` on count as one.
    pub(crate) fn of_answers(names: impl Iterator<Item = String>, background: Option<u16>) -> Self {
        match background {
            None => Self::of(names),
            Some(first) => Self::of(names.take(usize::from(first)).chain(["background".to_owned()])),
        }
    }

    /// The index of a category. One that is stuff anywhere is stuff.
    pub(crate) fn id(&mut self, name: &str, is_stuff: bool) -> Result<u16> {
        if let Some(id) = self.ids.get(name) {
            self.stuff[usize::from(*id)] |= is_stuff;
            return Ok(*id);
        }
        if self.names.len() >= usize::from(UNLABELLED) {
            return Err(Error::TooManyCategories(self.names.len()));
        }
        let id = self.names.len() as u16;
        self.ids.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        self.stuff.push(is_stuff);
        Ok(id)
    }

    /// Number of categories.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// A category's name.
    pub(crate) fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    /// Reports whether a category is stuff (sky, grass, ...) and no object.
    pub(crate) fn is_stuff(&self, index: usize) -> bool {
        self.stuff.get(index).is_some_and(|stuff| *stuff)
    }
}
