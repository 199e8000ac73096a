//! The thresholds of single categories.

use std::collections::HashMap;

use sed_engine::{Thresholds, Vocabulary};
use sed_proto::v1::{self, category_threshold};

use super::{ValidatedOptions, share, words::check_bytes};
use crate::{
    config::Settings,
    field::{Field, ThresholdPart},
    request_error::RequestError,
};

/// The threshold of one category, which overrides the general one.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryThreshold {
    /// The category, which may not be in the vocabulary.
    pub category: CategoryName,
    /// 0 to 1.
    pub threshold: f32,
}

/// The way in which a threshold names its category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CategoryName {
    /// By its index in the vocabulary.
    Index(u32),
    /// By its name, as the vocabulary spells it; every category of that name.
    Name(String),
}

impl CategoryName {
    /// The part of a threshold that it is.
    fn part(&self) -> ThresholdPart {
        match self {
            Self::Index(_) => ThresholdPart::Index,
            Self::Name(_) => ThresholdPart::Name,
        }
    }
}

/// Checks what can be checked without the vocabulary.
pub(super) fn category_thresholds(
    list: &[v1::CategoryThreshold],
    limits: &Settings,
) -> Result<Vec<CategoryThreshold>, RequestError> {
    let checked = |(entry, one): (usize, &v1::CategoryThreshold)| {
        let category = match &one.category {
            None => {
                let field = Field::CategoryThreshold(entry, ThresholdPart::Category);
                return Err(RequestError::missing(field, "set `index` or `name`"));
            }
            Some(category_threshold::Category::Index(index)) => CategoryName::Index(*index),
            Some(category_threshold::Category::Name(name)) => {
                check_bytes(Field::CategoryThreshold(entry, ThresholdPart::Name), name, limits)?;
                CategoryName::Name(name.clone())
            }
        };
        let threshold = share(Field::CategoryThreshold(entry, ThresholdPart::Threshold), one.threshold)?;
        Ok(CategoryThreshold { category, threshold })
    };
    list.iter().enumerate().map(checked).collect()
}

/// The thresholds of a vocabulary's categories by the options of a request.
///
/// # Errors
/// A category is not in the vocabulary, or has two thresholds.
pub(crate) fn thresholds(
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
) -> Result<Thresholds, RequestError> {
    if options.category_thresholds.is_empty() {
        return Ok(Thresholds::Same(options.score_threshold));
    }
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, category) in vocabulary.categories().iter().enumerate() {
        named.entry(&category.name).or_default().push(index);
    }
    let mut own: Vec<Option<f32>> = vec![None; vocabulary.size()];
    for (entry, CategoryThreshold { category, threshold }) in options.category_thresholds.iter().enumerate() {
        let refused =
            |message| RequestError::option(Field::CategoryThreshold(entry, category.part()), message);
        let by_index;
        let indices = match category {
            CategoryName::Index(index) => {
                by_index = [*index as usize];
                &by_index[..]
            }
            CategoryName::Name(name) => named.get(name.as_str()).map(Vec::as_slice).ok_or_else(|| {
                refused(format!("the vocabulary has no category `{name}`; give a name as it spells it"))
            })?,
        };
        for &index in indices {
            let Some(place) = own.get_mut(index) else {
                let size = vocabulary.size();
                return Err(refused(format!("is {index}, but the vocabulary has {size} categories")));
            };
            if place.replace(*threshold).is_some() {
                return Err(refused(format!(
                    "category {index} has a threshold already; give each at most one"
                )));
            }
        }
    }
    let all = own.into_iter().map(|own| own.unwrap_or(options.score_threshold));
    Ok(Thresholds::ByCategory(all.collect()))
}
