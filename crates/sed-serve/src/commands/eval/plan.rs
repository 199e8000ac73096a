//! What is to be scored together.

use std::collections::HashMap;

use anyhow::{Result, bail};
use sed_image::UNLABELLED;

use super::case::Case;

/// Pictures whose pixels are added up.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the scenes have in common; none for other pictures.
    pub(super) condition: Option<String>,
    /// How many words are asked; none where only the server knows the vocabulary.
    pub(super) words: Option<usize>,
    pub(super) cases: Vec<Case>,
    /// The categories; none where only the server knows the vocabulary.
    pub(super) names: Option<Names>,
}

/// Categories by name; a category's index is the order in which it came up.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<String, u16>,
    names: Vec<String>,
    stuff: Vec<bool>,
}

impl Names {
    /// The categories of a vocabulary in their order. None is stuff as far as is known.
    pub(super) fn of(names: impl Iterator<Item = String>) -> Self {
        let names: Vec<String> = names.collect();
        Self { ids: HashMap::new(), stuff: vec![false; names.len()], names }
    }

    /// The index of a category. One that is stuff anywhere is stuff.
    pub(super) fn id(&mut self, name: &str, is_stuff: bool) -> Result<u16> {
        if let Some(id) = self.ids.get(name) {
            self.stuff[usize::from(*id)] |= is_stuff;
            return Ok(*id);
        }
        if self.names.len() >= usize::from(UNLABELLED) {
            bail!("the scenes have more than {} categories", self.names.len());
        }
        let id = self.names.len() as u16;
        self.ids.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        self.stuff.push(is_stuff);
        Ok(id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// A category's name.
    pub(super) fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    /// Whether it is stuff (sky, grass, ...) and no object.
    pub(super) fn is_stuff(&self, index: usize) -> bool {
        self.stuff.get(index).is_some_and(|stuff| *stuff)
    }
}
