//! An existing file of COCO, read entry by entry, so that the memory it takes does not grow with its size.

use std::{fmt, io::Read, marker::PhantomData};

use anyhow::Result;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Category, Image};

/// Reads a file, hands its pictures to `image` and its annotations to `annotation`, and returns its
/// categories.
///
/// # Errors
/// The file cannot be read or is of another kind, or a receiver fails.
pub(super) fn read<A: for<'de> Deserialize<'de>>(
    file: impl Read,
    image: impl FnMut(Image) -> Result<()>,
    annotation: impl FnMut(A) -> Result<()>,
) -> Result<Vec<Category>> {
    let mut json = serde_json::Deserializer::from_reader(file);
    let categories = Root { image, annotation, of: PhantomData }.deserialize(&mut json)?;
    json.end()?;
    Ok(categories)
}

/// The object that is the file.
struct Root<I, F, A> {
    image: I,
    annotation: F,
    of: PhantomData<A>,
}

impl<'de, I, F, A> DeserializeSeed<'de> for Root<I, F, A>
where
    I: FnMut(Image) -> Result<()>,
    F: FnMut(A) -> Result<()>,
    A: Deserialize<'de>,
{
    type Value = Vec<Category>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, I, F, A> Visitor<'de> for Root<I, F, A>
where
    I: FnMut(Image) -> Result<()>,
    F: FnMut(A) -> Result<()>,
    A: Deserialize<'de>,
{
    type Value = Vec<Category>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with images, annotations and categories")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut entries: M) -> Result<Self::Value, M::Error> {
        let mut categories = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            match key.as_str() {
                "images" => entries.next_value_seed(Each::new(&mut self.image))?,
                "annotations" => entries.next_value_seed(Each::new(&mut self.annotation))?,
                "categories" => categories = entries.next_value()?,
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(categories)
    }
}

/// A list whose elements are handed to a function one by one.
struct Each<T, F> {
    take: F,
    of: PhantomData<T>,
}

impl<T, F: FnMut(T) -> Result<()>> Each<T, F> {
    fn new(take: F) -> Self {
        Self { take, of: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut list: S) -> Result<(), S::Error> {
        while let Some(element) = list.next_element()? {
            (self.take)(element).map_err(|error| S::Error::custom(format!("{error:#}")))?;
        }
        Ok(())
    }
}
