//! Index maps and their encodings.
//!
//! An [`IndexMap`] assigns every pixel one category or none. It is encoded as an index PNG ([`png`]), as COCO
//! run-length encoding ([`rle`]), as polygons ([`polygon`]), raw ([`raw`]), as COCO's panoptic PNG
//! ([`panoptic`]) or category by category ([`binary`]). A [`GreyMap`] assigns every pixel a value of 0 to 1,
//! and is encoded as a grey PNG ([`grey`]). An index PNG can be read back; so can run lengths, polygons, raw
//! indices and grey PNGs by tests, with the feature `test-util`.

pub mod binary;
mod boxes;
pub mod grey;
pub mod palette;
pub mod panoptic;
pub mod png;
pub mod polygon;
pub mod raw;
mod regions;
pub mod rle;

pub use boxes::{PixelBox, category_boxes};
pub use grey::GreyMap;
pub use regions::remove_small_regions;

use crate::error::{ImageError, Result};
use crate::rgb::count_pixels;

/// The index of a pixel without a category.
pub const UNLABELLED: u16 = u16::MAX;

/// For every pixel the index of its category in the request's vocabulary, or [`UNLABELLED`].
#[derive(Clone, PartialEq, Eq)]
pub struct IndexMap {
    width: u32,
    height: u32,
    indices: Vec<u16>,
}

impl IndexMap {
    /// Wraps `indices` (H × W, row-major).
    ///
    /// # Errors
    /// [`ImageError::ZeroSize`]; [`ImageError::TooManyPixels`] above 2^32 - 1 pixels, which run lengths
    /// count; [`ImageError::MapLength`] when the length differs from `width * height`.
    pub fn new(width: u32, height: u32, indices: Vec<u16>) -> Result<Self> {
        let expected = check_map_size(width, height, u64::from(u32::MAX))?;
        let actual = indices.len() as u64;
        if actual != expected {
            return Err(ImageError::MapLength { width, height, expected, actual });
        }
        Ok(Self { width, height, indices })
    }

    /// A map without any category.
    ///
    /// # Errors
    /// As [`IndexMap::new`].
    pub fn unlabelled(width: u32, height: u32) -> Result<Self> {
        let pixels = check_map_size(width, height, u64::from(u32::MAX))?;
        Self::new(width, height, vec![UNLABELLED; pixels as usize])
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The indices, H × W, row-major.
    pub fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// The indices, H × W, row-major, to be changed in place.
    pub(crate) fn indices_mut(&mut self) -> &mut [u16] {
        &mut self.indices
    }

    /// Consumes the map and returns its indices, H × W, row-major.
    pub fn into_indices(self) -> Vec<u16> {
        self.indices
    }

    /// The largest category index, or `None` when every pixel is unlabelled.
    pub(crate) fn max_category(&self) -> Option<u16> {
        // Wrapping makes UNLABELLED the smallest; a plain maximum over lanes vectorises.
        let largest = self.indices.iter().fold(0u16, |most, index| most.max(index.wrapping_add(1)));
        largest.checked_sub(1)
    }

    /// Checks that a vocabulary of `categories` categories holds all categories of the map.
    ///
    /// # Errors
    /// [`ImageError::CategoryOutOfRange`] for a category that is not below `categories`.
    pub(crate) fn check_categories(&self, categories: u16) -> Result<()> {
        let Some(category) = self.max_category().filter(|&most| most >= categories) else {
            return Ok(());
        };
        let (context, advice) = ("the vocabulary", "give as many categories as the map was made with");
        let most = categories.saturating_sub(1);
        Err(ImageError::CategoryOutOfRange { category, context, most, advice })
    }

    /// Row `y`.
    pub(crate) fn row(&self, y: usize) -> &[u16] {
        let width = self.width as usize;
        &self.indices[y * width..][..width]
    }
}

impl std::fmt::Debug for IndexMap {
    // The indices would drown a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IndexMap({}x{})", self.width, self.height)
    }
}

/// Checks a map's size and returns its pixels.
pub(crate) fn check_map_size(width: u32, height: u32, limit: u64) -> Result<u64> {
    count_pixels(width, height, limit.min(u64::from(u32::MAX)))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small maps of few categories, so that regions, holes and diagonal contacts are common.
    pub(crate) fn maps(categories: u16) -> impl Strategy<Value = IndexMap> {
        (1u32..24, 1u32..24).prop_flat_map(move |(width, height)| {
            let index = prop_oneof![4 => 0..categories, 1 => Just(UNLABELLED)];
            proptest::collection::vec(index, (width * height) as usize)
                .prop_map(move |indices| IndexMap::new(width, height, indices).unwrap())
        })
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(IndexMap::new(2, 2, vec![0; 3]).unwrap_err().reason(), "MASK_LENGTH");
        assert_eq!(IndexMap::new(0, 2, vec![]).unwrap_err().reason(), "IMAGE_ZERO_SIZE");
        assert_eq!(IndexMap::unlabelled(1 << 17, 1 << 17).unwrap_err().reason(), "IMAGE_TOO_MANY_PIXELS");
    }

    #[test]
    fn the_largest_category_ignores_unlabelled_pixels() {
        let map = |indices: &[u16]| IndexMap::new(indices.len() as u32, 1, indices.to_vec()).unwrap();
        assert_eq!(map(&[UNLABELLED, 3, 0]).max_category(), Some(3));
        assert_eq!(map(&[UNLABELLED]).max_category(), None);
        assert_eq!(map(&[65_534, UNLABELLED]).max_category(), Some(65_534));
    }
}
