//! The pixels of one category as a black and white PNG.

use super::IndexMap;
use crate::error::Result;
use crate::png_out::write_png;

/// Encodes the pixels of `category` as 8-bit grey PNG, H × W: 255 where the map has the category, else 0.
///
/// # Errors
/// [`ImageError::Encode`](crate::ImageError::Encode), which means a defect here: every map can be encoded.
pub fn encode(map: &IndexMap, category: u16) -> Result<Vec<u8>> {
    let shade = |index: &u16| if *index == category { u8::MAX } else { 0 };
    let pixels: Vec<u8> = map.indices().iter().map(shade).collect();
    let mut info = png::Info::with_size(map.width(), map.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Grayscale, png::BitDepth::Eight);
    write_png(info, png::Filter::Up, &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::UNLABELLED;

    #[test]
    fn the_category_alone_is_white() {
        let map = IndexMap::new(2, 2, vec![3, UNLABELLED, 0, 3]).unwrap();
        let picture = |category| image::load_from_memory(&encode(&map, category).unwrap()).unwrap();
        assert_eq!(picture(3).color(), image::ColorType::L8);
        assert_eq!(picture(3).as_bytes(), [255, 0, 0, 255]);
        assert_eq!(picture(7).as_bytes(), [0; 4]);
    }
}
