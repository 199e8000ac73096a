//! The bounding boxes of a map's categories.

use rayon::prelude::*;

use super::{IndexMap, UNLABELLED};
use crate::error::Result;

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

/// Returns the smallest box around each of the categories 0 to `categories` - 1, in that order; `None` for a
/// category without pixels.
///
/// # Errors
/// [`crate::ImageError::CategoryOutOfRange`] when the map holds a category that is not below `categories`.
pub fn category_boxes(map: &IndexMap, categories: u16) -> Result<Vec<Option<PixelBox>>> {
    const BAND: usize = 64;
    map.check_categories(categories)?;
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
    Ok(extents.into_iter().map(Extent::bounds).collect())
}

fn add_row(extents: &mut [Extent], y: u32, row: &[u16]) {
    let mut start = 0;
    for run in row.chunk_by(|a, b| a == b) {
        let end = start + run.len() as u32;
        if run[0] != UNLABELLED {
            extents[usize::from(run[0])].merge(Extent { left: start, right: end, top: y, bottom: y + 1 });
        }
        start = end;
    }
}

/// A half-open box; `right` is 0 while it holds nothing.
#[derive(Debug, Clone, Copy)]
struct Extent {
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
}

impl Default for Extent {
    fn default() -> Self {
        Self { left: u32::MAX, right: 0, top: u32::MAX, bottom: 0 }
    }
}

impl Extent {
    fn merge(&mut self, other: Self) {
        self.left = self.left.min(other.left);
        self.right = self.right.max(other.right);
        self.top = self.top.min(other.top);
        self.bottom = self.bottom.max(other.bottom);
    }

    fn bounds(self) -> Option<PixelBox> {
        (self.right > 0).then(|| PixelBox {
            x: self.left,
            y: self.top,
            width: self.right - self.left,
            height: self.bottom - self.top,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    proptest! {
        #[test]
        fn boxes_enclose_exactly_the_places_of_their_category(map in maps(5)) {
            let at = |i: usize| (i as u32 % map.width(), i as u32 / map.width());
            let boxes = category_boxes(&map, 5)?;
            prop_assert_eq!(boxes.len(), 5);
            for (category, bounds) in (0..5).zip(boxes) {
                let places: Vec<_> =
                    (0..map.indices().len()).filter(|&i| map.indices()[i] == category).map(at).collect();
                prop_assert_eq!(bounds.map(|b| b.x), places.iter().map(|p| p.0).min());
                prop_assert_eq!(bounds.map(|b| b.y), places.iter().map(|p| p.1).min());
                prop_assert_eq!(bounds.map(|b| b.x + b.width), places.iter().map(|p| p.0 + 1).max());
                prop_assert_eq!(bounds.map(|b| b.y + b.height), places.iter().map(|p| p.1 + 1).max());
            }
        }
    }

    #[test]
    fn a_category_beyond_the_vocabulary_is_an_error() {
        let map = IndexMap::new(2, 1, vec![4, UNLABELLED]).unwrap();
        assert_eq!(category_boxes(&map, 4).unwrap_err().reason(), "MASK_CATEGORY_OUT_OF_RANGE");
        assert!(category_boxes(&map, 5).is_ok());
    }
}
