//! Small pictures in every format that the server reads.

use image::{ImageFormat, RgbImage};
use sed_proto::v1;

/// A lossless format is decoded to the same pixels by any version of its decoder; JPEG's answer is only compared with
/// that of the same server.
const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::WebP,
];
const COUNT: u32 = 21;

fn picture(number: u32) -> RgbImage {
    let (width, height) = (60 + 3 * number, 100 - 2 * number);
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * (number + 1)) as u8, (y * 3) as u8, (x * y / (number + 2)) as u8])
    })
}

fn file(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A PNG file.
pub(crate) fn png() -> Vec<u8> {
    file(&picture(0), ImageFormat::Png)
}

/// All pictures, each another; files of every format in turn, and decoded pixels.
pub(super) fn all() -> Vec<v1::Image> {
    (0..COUNT)
        .map(|number| {
            let picture = picture(number);
            let source = match FORMATS.get(number as usize % (FORMATS.len() + 1)) {
                Some(format) => v1::image::Source::Encoded(file(&picture, *format).into()),
                None => {
                    let (width, height) = picture.dimensions();
                    let pixels = picture.into_raw().into();
                    v1::image::Source::Raw(v1::RawImage { pixels, width, height, row_stride: 0 })
                }
            };
            v1::Image { source: Some(source) }
        })
        .collect()
}
