//! Score, runner-up and margin of every pixel, decoded.

use std::io::Cursor;

use half::f16;
use png::{BitDepth, ColorType};
use sed_proto::v1::{self, mask::Content};

use crate::{
    answer::Answer,
    error::{Error, Result},
};

/// The index of a pixel without a category.
pub const UNLABELLED: u16 = u16::MAX;

/// The largest value of a pixel in a score or margin PNG, which stands for 1.
const FULL: f32 = 255.0;
/// The value that stands for [`UNLABELLED`] in an index PNG of 8 bits.
const UNLABELLED_8: u8 = u8::MAX;

/// The sureness of an answer, as planes `[height, width]` of the mask's size, row by row. A plane that the
/// request did not ask for is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sureness {
    /// The score of the best category, 0 to 1, before thresholds and `min_area`.
    pub scores: Option<Vec<f32>>,
    /// The index of the second best category; [`UNLABELLED`] where there is none, or it is a contrast word.
    pub runner_up: Option<Vec<u16>>,
    /// The score of the best category less that of the second best, 0 to 1; the score itself where there is
    /// no runner-up.
    pub margins: Option<Vec<f32>>,
}

impl Answer {
    /// Decodes the planes of score, runner-up and margin that the answer holds. Of raw floats and a PNG of 8
    /// bits, the raw floats are read.
    ///
    /// # Errors
    /// A plane is damaged, or of another size than the mask.
    pub fn sureness(&self) -> Result<Sureness> {
        let mut sureness = Sureness::default();
        for content in self.contents() {
            match content {
                Content::RawScores(bytes) => sureness.scores = Some(self.floats("raw scores", bytes)?),
                Content::RawMargins(bytes) => sureness.margins = Some(self.floats("raw margins", bytes)?),
                Content::RunnerUpPng(png) => sureness.runner_up = Some(self.indices("runner-up png", png)?),
                Content::ScorePng(png) if sureness.scores.is_none() => {
                    sureness.scores = Some(self.shares("score png", png)?);
                }
                Content::MarginPng(png) if sureness.margins.is_none() => {
                    sureness.margins = Some(self.shares("margin png", png)?);
                }
                _ => {}
            }
        }
        Ok(sureness)
    }

    fn floats(&self, plane: &'static str, bytes: &[u8]) -> Result<Vec<f32>> {
        let (halves, rest) = bytes.as_chunks::<2>();
        let v1::Size { width, height } = self.mask_size;
        if !rest.is_empty() || halves.len() as u64 != u64::from(width) * u64::from(height) {
            let reason = format!("{} bytes are not 2 for each of {width} x {height} pixels", bytes.len());
            return Err(Error::Plane { plane, reason });
        }
        Ok(halves.iter().map(|half| f16::from_le_bytes(*half).to_f32()).collect())
    }

    fn shares(&self, plane: &'static str, png: &[u8]) -> Result<Vec<f32>> {
        match self.pixels(plane, png)? {
            Pixels::Eight(bytes) => Ok(bytes.iter().map(|byte| f32::from(*byte) / FULL).collect()),
            Pixels::Sixteen(_) => Err(Error::Plane { plane, reason: "it has 16 bits a pixel, not 8".into() }),
        }
    }

    fn indices(&self, plane: &'static str, png: &[u8]) -> Result<Vec<u16>> {
        let wide = |byte: &u8| if *byte == UNLABELLED_8 { UNLABELLED } else { u16::from(*byte) };
        Ok(match self.pixels(plane, png)? {
            Pixels::Eight(bytes) => bytes.iter().map(wide).collect(),
            Pixels::Sixteen(values) => values,
        })
    }

    /// Reads a PNG of the mask's size with one value for each pixel.
    fn pixels(&self, plane: &'static str, png: &[u8]) -> Result<Pixels> {
        let wrong = |reason: String| Error::Plane { plane, reason };
        let damaged = |error: png::DecodingError| wrong(error.to_string());
        let mut decoder = png::Decoder::new(Cursor::new(png));
        // A palette stays a palette: the indices are wanted, not the colours.
        decoder.set_transformations(png::Transformations::IDENTITY);
        let header = decoder.read_header_info().map_err(damaged)?.size();
        let v1::Size { width, height } = self.mask_size;
        // Checked before the pixels are unpacked, so that a few bytes cannot ask for much memory.
        if header != (width, height) {
            let (found_width, found_height) = header;
            return Err(wrong(format!(
                "it has {found_width} x {found_height} pixels, the mask {width} x {height}"
            )));
        }
        let mut reader = decoder.read_info().map_err(damaged)?;
        let pixels = width as usize * height as usize;
        match reader.output_color_type() {
            (ColorType::Grayscale | ColorType::Indexed, BitDepth::Eight) => {
                let mut bytes = vec![0; pixels];
                reader.next_frame(&mut bytes).map_err(damaged)?;
                Ok(Pixels::Eight(bytes))
            }
            (ColorType::Grayscale, BitDepth::Sixteen) => {
                let mut bytes = vec![0; 2 * pixels];
                reader.next_frame(&mut bytes).map_err(damaged)?;
                let (pairs, _) = bytes.as_chunks::<2>();
                Ok(Pixels::Sixteen(pairs.iter().copied().map(u16::from_be_bytes).collect()))
            }
            (colour, depth) => Err(wrong(format!("{colour:?} of {depth:?} bits is not one value a pixel"))),
        }
    }
}

/// The values of a PNG, row by row.
enum Pixels {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, depth: BitDepth, pixels: &[u8]) -> bytes::Bytes {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, 1);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        file.into()
    }

    fn answer(contents: impl IntoIterator<Item = Content>) -> Answer {
        let mask = |content| v1::Mask { content: Some(content), ..v1::Mask::default() };
        v1::SegmentResponse {
            masks: contents.into_iter().map(mask).collect(),
            mask_size: Some(v1::Size { width: 3, height: 1 }),
            ..v1::SegmentResponse::default()
        }
        .into()
    }

    fn halves(values: [f32; 3]) -> bytes::Bytes {
        values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
    }

    #[test]
    fn planes_are_read_in_every_encoding_and_raw_ones_first() {
        let eight = png(3, BitDepth::Eight, &[0, 51, 255]);
        let from_png = answer([Content::ScorePng(eight.clone()), Content::MarginPng(eight.clone())]);
        let sureness = from_png.sureness().unwrap();
        assert_eq!(sureness.scores, Some(vec![0.0, 0.2, 1.0]));
        assert_eq!((sureness.margins, sureness.runner_up), (sureness.scores, None));

        let values = [0.5, 0.25, 1.0];
        let raw = [Content::RawScores(halves(values)), Content::RawMargins(halves(values))];
        let both = [Content::ScorePng(eight.clone()), Content::RunnerUpPng(eight.clone())];
        for contents in [raw.clone().into_iter().chain(both.clone()), both.into_iter().chain(raw)] {
            let sureness = answer(contents).sureness().unwrap();
            assert_eq!((sureness.scores, sureness.margins), (Some(values.into()), Some(values.into())));
            assert_eq!(sureness.runner_up, Some(vec![0, 51, UNLABELLED]));
        }
        let sixteen = png(3, BitDepth::Sixteen, &[1, 0, 0, 255, 255, 255]);
        let sureness = answer([Content::RunnerUpPng(sixteen)]).sureness().unwrap();
        assert_eq!(sureness.runner_up, Some(vec![256, 255, UNLABELLED]));
        let eight = Content::IndexPng(eight);
        assert_eq!(answer([eight]).sureness().unwrap(), Sureness::default());
    }

    #[test]
    fn damaged_planes_are_named() {
        let sixteen = png(3, BitDepth::Sixteen, &[0; 6]);
        for (content, part) in [
            (Content::RawScores(halves([0.0; 3]).slice(..5)), "raw scores of the answer: 5 bytes"),
            (Content::RawMargins(halves([0.0; 3]).slice(..4)), "raw margins of the answer: 4 bytes"),
            (Content::ScorePng(png(2, BitDepth::Eight, &[0; 2])), "it has 2 x 1 pixels, the mask 3 x 1"),
            (Content::ScorePng(sixteen), "16 bits a pixel"),
            (Content::RunnerUpPng(png(3, BitDepth::One, &[0])), "not one value a pixel"),
            (Content::MarginPng(b"no png"[..].into()), "margin png"),
        ] {
            let error = answer([content]).sureness().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
