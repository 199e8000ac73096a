//! Label images: a number for every pixel.

use std::{fs::File, io::BufReader, path::Path};

use image::{DynamicImage, ExtendedColorType, ImageDecoder};

use crate::error::{Cause, Error, Result};

/// Endings of label files, in the order in which they are looked for.
pub(crate) const ENDINGS: [&str; 3] = ["png", "tif", "tiff"];

/// The values of a label image, row by row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) values: Vec<u16>,
}

/// The most pixels of a label: a file below a kilobyte can announce four billion.
const MOST_PIXELS: u64 = 1 << 28;

/// Refuses a label with more pixels than any picture has, before memory is taken for it.
fn bounded(width: u32, height: u32) -> Result<(), Cause> {
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("it is {width} × {height}; at most {MOST_PIXELS} pixels").into());
    }
    Ok(())
}

/// Reads a PNG of grey values (up to 16 bits) or palette indices, or a grey TIFF.
pub(crate) fn read(path: &Path) -> Result<Label> {
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let label = if is_png { read_png(path) } else { read_tiff(path) };
    label.map_err(|source| Error::Label { file: path.to_owned(), source })
}

fn read_png(path: &Path) -> Result<Label, Cause> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path)?));
    // A palette stays a palette: the indices are the label, not the colours.
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    let (colour, depth) = reader.output_color_type();
    if !matches!(colour, png::ColorType::Grayscale | png::ColorType::Indexed) {
        let advice = "not one number for each pixel; save it as grey or palette PNG";
        return Err(format!("it holds colours ({colour:?}), {advice}").into());
    }
    bounded(reader.info().width, reader.info().height)?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let info = reader.next_frame(&mut bytes)?;
    let rows = bytes.chunks_exact(info.line_size).take(info.height as usize);
    let values = rows.flat_map(|row| unpacked(row, depth).take(info.width as usize)).collect();
    Ok(Label { width: info.width, height: info.height, values })
}

/// The numbers in a row, followed by those in the unused bits of its last byte.
fn unpacked(row: &[u8], depth: png::BitDepth) -> Box<dyn Iterator<Item = u16> + '_> {
    let bits = depth as usize;
    if bits == 16 {
        return Box::new(row.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])));
    }
    // The leftmost pixel is in the highest bits.
    let in_byte = move |byte: u8| {
        (0..8 / bits).rev().map(move |at| u16::from(byte >> (at * bits)) & ((1_u16 << bits) - 1))
    };
    Box::new(row.iter().flat_map(move |byte| in_byte(*byte)))
}

fn read_tiff(path: &Path) -> Result<Label, Cause> {
    let reader = || -> Result<_, Cause> { Ok(image::ImageReader::open(path)?.with_guessed_format()?) };
    let (width, height) = reader()?.into_dimensions()?;
    bounded(width, height)?;
    let image = {
        let mut decoder = reader()?.into_decoder()?;
        if decoder.original_color_type() == ExtendedColorType::L1 {
            // Decoded, the value 1 would become 255.
            return Err("it has 1 bit a pixel; save it as grey of 8 bits, or as PNG".into());
        }
        decoder.set_limits(image::Limits::default())?;
        DynamicImage::from_decoder(decoder)?
    };
    let values = match image {
        DynamicImage::ImageLuma8(grey) => grey.into_raw().into_iter().map(u16::from).collect(),
        DynamicImage::ImageLuma16(grey) => grey.into_raw(),
        other => {
            let colour = other.color();
            return Err(format!("it holds {colour:?}, not one number for each pixel; save it as grey").into());
        }
    };
    Ok(Label { width, height, values })
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, ColorType};
    use sed_client::causes;

    use super::*;

    fn png_file(
        folder: &Path,
        width: u32,
        colour: ColorType,
        depth: BitDepth,
        rows: &[u8],
    ) -> std::path::PathBuf {
        let path = folder.join("label.png");
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), width, 2);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(vec![0; 3 * 16]);
        }
        encoder.write_header().unwrap().write_image_data(rows).unwrap();
        path
    }

    #[test]
    fn every_kind_of_png_gives_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let cases: [(ColorType, BitDepth, &[u8], [u16; 6]); 5] = [
            (ColorType::Grayscale, BitDepth::Eight, &[0, 7, 255, 1, 2, 3], [0, 7, 255, 1, 2, 3]),
            (ColorType::Indexed, BitDepth::Eight, &[0, 7, 15, 1, 2, 3], [0, 7, 15, 1, 2, 3]),
            (ColorType::Indexed, BitDepth::Four, &[0x0f, 0x70, 0x12, 0x30], [0, 15, 7, 1, 2, 3]),
            (ColorType::Grayscale, BitDepth::One, &[0b1010_0000, 0b0110_0000], [1, 0, 1, 0, 1, 1]),
            (
                ColorType::Grayscale,
                BitDepth::Sixteen,
                &[0, 0, 1, 0, 255, 255, 0, 1, 0, 2, 3, 70],
                [0, 256, 65_535, 1, 2, 838],
            ),
        ];
        for (colour, depth, rows, values) in cases {
            let path = png_file(folder.path(), 3, colour, depth, rows);
            let want = Label { width: 3, height: 2, values: values.to_vec() };
            assert_eq!(read(&path).unwrap(), want, "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn sixteen_bit_tiffs_are_labels_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("label.tif");
        image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![846, 65_535])
            .unwrap()
            .save(&path)
            .unwrap();
        assert_eq!(read(&path).unwrap(), Label { width: 2, height: 1, values: vec![846, 65_535] });
    }

    #[test]
    fn colours_and_other_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = png_file(folder.path(), 1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
        let error = causes(&read(&path).unwrap_err());
        assert!(error.contains("label.png: it holds colours (Rgb)"), "{error}");
        std::fs::write(&path, "no picture").unwrap();
        assert!(causes(&read(&path).unwrap_err()).contains("label.png"));
    }
}
