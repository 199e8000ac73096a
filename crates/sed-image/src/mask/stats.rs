//! Statistics of a map: the pixels and the bounding box of each category.

use rayon::prelude::*;

use super::{IndexMap, UNLABELLED};
use crate::error::{ImageError, Result};

/// An axis-aligned box of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelBox {
    /// Left column.
    pub x: u32,
    /// Top row.
    pub y: u32,
    /// Columns covered, at least 1.
    pub width: u32,
    /// Rows covered, at least 1.
    pub height: u32,
}

/// The pixels and the bounding box of one category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CategoryStats {
    /// Index of the category.
    pub category: u16,
    /// Pixels that have it.
    pub pixels: u64,
    /// The smallest box around them; `None` without pixels.
    pub bounds: Option<PixelBox>,
}

/// Statistics of categories 0 to `categories` - 1, in that order, the absent ones included.
///
/// # Errors
/// [`ImageError::CategoryOutOfRange`] when the map holds a category that is not below `categories`.
pub fn category_stats(map: &IndexMap, categories: u16) -> Result<Vec<CategoryStats>> {
    let (context, advice) = ("the vocabulary", "give as many categories as the map was made with");
    if let Some(category) = map.max_category().filter(|&most| most >= categories) {
        let most = categories.saturating_sub(1);
        return Err(ImageError::CategoryOutOfRange { category, context, most, advice });
    }
    const BAND: usize = 64;
    let width = map.width() as usize;
    let extents = map
        .indices()
        .par_chunks(width * BAND)
        .enumerate()
        .map(|(band, rows)| {
            let mut extents = vec![Extent::default(); usize::from(categories)];
            for (line, row) in rows.chunks_exact(width).enumerate() {
                add_row(&mut extents, (band * BAND + line) as u32, row);
            }
            extents
        })
        .reduce(
            || vec![Extent::default(); usize::from(categories)],
            |mut left, right| {
                left.iter_mut().zip(right).for_each(|(left, right)| left.merge(right));
                left
            },
        );
    Ok((0..).zip(extents).map(|(category, extent)| extent.stats(category)).collect())
}

fn add_row(extents: &mut [Extent], y: u32, row: &[u16]) {
    let mut start = 0;
    for run in row.chunk_by(|a, b| a == b) {
        if run[0] != UNLABELLED {
            extents[usize::from(run[0])].merge(Extent {
                pixels: run.len() as u64,
                left: start,
                right: start + run.len() as u32,
                top: y,
                bottom: y + 1,
            });
        }
        start += run.len() as u32;
    }
}

/// Pixels and their half-open box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) pixels: u64,
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
}

impl Default for Extent {
    fn default() -> Self {
        Self { pixels: 0, left: u32::MAX, right: 0, top: u32::MAX, bottom: 0 }
    }
}

impl Extent {
    fn merge(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.left = self.left.min(other.left);
        self.right = self.right.max(other.right);
        self.top = self.top.min(other.top);
        self.bottom = self.bottom.max(other.bottom);
    }

    fn stats(self, category: u16) -> CategoryStats {
        let bounds = (self.pixels > 0).then(|| PixelBox {
            x: self.left,
            y: self.top,
            width: self.right - self.left,
            height: self.bottom - self.top,
        });
        CategoryStats { category, pixels: self.pixels, bounds }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    proptest! {
        #[test]
        fn stats_equal_a_plain_count(map in maps(5)) {
            let at = |i: usize| (i as u32 % map.width(), i as u32 / map.width());
            for stats in category_stats(&map, 5)? {
                let places: Vec<_> =
                    (0..map.indices().len()).filter(|&i| map.indices()[i] == stats.category).map(at).collect();
                prop_assert_eq!(stats.pixels, places.len() as u64);
                let left = places.iter().map(|p| p.0).min();
                let bottom = places.iter().map(|p| p.1 + 1).max();
                prop_assert_eq!(stats.bounds.map(|b| b.x), left);
                prop_assert_eq!(stats.bounds.map(|b| b.y + b.height), bottom);
            }
        }
    }

    #[test]
    fn a_category_beyond_the_vocabulary_is_an_error() {
        let map = IndexMap::new(2, 1, vec![4, UNLABELLED]).unwrap();
        assert_eq!(category_stats(&map, 4).unwrap_err().reason(), "MASK_CATEGORY_OUT_OF_RANGE");
        assert!(category_stats(&map, 5).is_ok());
    }
}
