//! Index maps as the PNG of COCO's panoptic format: one segment for each category.

use super::IndexMap;
use crate::error::Result;
use crate::png_out::write_png;

/// The segment's id of a category: its index + 1, because 0 is void.
pub fn segment_id(category: u16) -> u32 {
    u32::from(category) + 1
}

/// Encodes `map` as 8-bit RGB PNG, H × W × 3: the id of a pixel's segment is R + 256 G + 256² B, and 0 for
/// unlabelled pixels.
///
/// # Errors
/// [`ImageError::Encode`](crate::ImageError::Encode), which means a defect here: every map can be encoded.
pub fn encode(map: &IndexMap) -> Result<Vec<u8>> {
    let mut pixels = vec![0; 3 * map.indices().len()];
    for (pixel, category) in pixels.chunks_exact_mut(3).zip(map.indices()) {
        // Wrapping makes UNLABELLED 0. Ids fit in two bytes: blue is always 0.
        pixel[..2].copy_from_slice(&category.wrapping_add(1).to_le_bytes());
    }
    let mut info = png::Info::with_size(map.width(), map.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
    write_png(info, png::Filter::Up, &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::UNLABELLED;

    #[test]
    fn ids_are_the_colours_by_the_formula_of_coco() {
        let categories = [0, 254, 255, 65_534, UNLABELLED];
        let map = IndexMap::new(5, 1, categories.to_vec()).unwrap();
        let picture = image::load_from_memory(&encode(&map).unwrap()).unwrap().into_rgb8();
        let id = |image::Rgb([r, g, b]): &image::Rgb<u8>| {
            u32::from(*r) + 256 * u32::from(*g) + 256 * 256 * u32::from(*b)
        };
        let ids: Vec<u32> = picture.pixels().map(id).collect();
        assert_eq!(ids[..4], [0, 254, 255, 65_534].map(segment_id));
        assert_eq!(ids[4], 0);
    }
}
