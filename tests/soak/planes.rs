//! Score, runner-up and margin of every pixel, against each other and the index map of the same answer.

use sed_engine::{UNLABELLED, f16};
use sed_proto::v1::{self, mask::Content};

/// The planes that an answer has, row by row.
#[derive(Debug, Default)]
struct Planes {
    indices: Option<Vec<u16>>,
    scores: Option<Vec<f32>>,
    grey_scores: Option<Vec<u8>>,
    runner_up: Option<Vec<u16>>,
    margins: Option<Vec<f32>>,
    grey_margins: Option<Vec<u8>>,
}

/// Checks what the masks of an answer say of how sure they are.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn check(answer: &v1::SegmentResponse) -> Result<(), String> {
    let size = answer.mask_size.unwrap_or_default();
    let mut planes = Planes::default();
    for content in answer.masks.iter().filter_map(|mask| mask.content.as_ref()) {
        planes.read(content, size)?;
    }
    planes.check(answer.categories.len())
}

impl Planes {
    fn read(&mut self, content: &Content, size: v1::Size) -> Result<(), String> {
        let pixels = size.width as usize * size.height as usize;
        match content {
            Content::RawIndices(bytes) => {
                let values = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                self.indices = Some(sized("RAW", values.collect(), pixels)?);
            }
            Content::IndexPng(file) => self.indices = Some(indices("INDEX_PNG", file, pixels)?),
            Content::RunnerUpPng(file) => self.runner_up = Some(indices("RUNNER_UP_PNG", file, pixels)?),
            Content::RawScores(bytes) => self.scores = Some(sized("SCORE_RAW", floats(bytes), pixels)?),
            Content::RawMargins(bytes) => self.margins = Some(sized("MARGIN_RAW", floats(bytes), pixels)?),
            Content::ScorePng(file) => self.grey_scores = Some(grey("SCORE_PNG", file, size)?),
            Content::MarginPng(file) => self.grey_margins = Some(grey("MARGIN_PNG", file, size)?),
            _ => {}
        }
        Ok(())
    }

    fn check(&self, categories: usize) -> Result<(), String> {
        pairs("a score is not between 0 and 1", &self.scores, &self.scores, |score, _| {
            (0.0..=1.0).contains(&score)
        })?;
        pairs("a margin is above its score", &self.margins, &self.scores, |margin, score| {
            (0.0..=score).contains(&margin)
        })?;
        pairs("a margin is above its score", &self.grey_margins, &self.grey_scores, |margin, score| {
            margin <= score
        })?;
        for (values, greys) in [(&self.scores, &self.grey_scores), (&self.margins, &self.grey_margins)] {
            pairs("8 bits are not the rounded float", values, greys, |value, grey| {
                (255.0 * value).round() as u8 == grey
            })?;
        }
        pairs("a runner-up is no category", &self.runner_up, &self.runner_up, |runner_up, _| {
            runner_up == UNLABELLED || usize::from(runner_up) < categories
        })?;
        pairs("a runner-up is the best category", &self.runner_up, &self.indices, |runner_up, index| {
            runner_up != index || index == UNLABELLED
        })
    }
}

/// Checks a rule at every pixel that two planes have.
fn pairs<A: Copy, B: Copy>(
    broken: &str,
    one: &Option<Vec<A>>,
    other: &Option<Vec<B>>,
    holds: impl Fn(A, B) -> bool,
) -> Result<(), String> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(()) };
    match one.iter().zip(other).position(|(one, other)| !holds(*one, *other)) {
        Some(pixel) => Err(format!("{broken} at pixel {pixel}")),
        None => Ok(()),
    }
}

fn sized<T>(name: &str, values: Vec<T>, pixels: usize) -> Result<Vec<T>, String> {
    if values.len() == pixels {
        return Ok(values);
    }
    Err(format!("{name} has {} values for {pixels} pixels", values.len()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|pair| f32::from(f16::from_le_bytes([pair[0], pair[1]]))).collect()
}

fn indices(name: &str, file: &[u8], pixels: usize) -> Result<Vec<u16>, String> {
    let map =
        sed_image::mask::png::decode(file, pixels as u64).map_err(|error| format!("{name}: {error}"))?;
    sized(name, map.into_indices(), pixels)
}

fn grey(name: &str, file: &[u8], size: v1::Size) -> Result<Vec<u8>, String> {
    let picture = image::load_from_memory_with_format(file, image::ImageFormat::Png);
    match picture.map_err(|error| format!("{name}: {error}"))? {
        image::DynamicImage::ImageLuma8(grey) if grey.dimensions() == (size.width, size.height) => {
            Ok(grey.into_raw())
        }
        other => Err(format!("{name} is {:?} of {} x {}", other.color(), other.width(), other.height())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(contents: impl IntoIterator<Item = Content>) -> v1::SegmentResponse {
        let mask = |content| v1::Mask { content: Some(content), ..Default::default() };
        v1::SegmentResponse {
            mask_size: Some(v1::Size { width: 2, height: 1 }),
            masks: contents.into_iter().map(mask).collect(),
            categories: vec![v1::CategoryResult::default(); 3],
            ..Default::default()
        }
    }

    fn raw(values: [f32; 2]) -> bytes::Bytes {
        values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
    }

    fn score_png(values: [u8; 2]) -> Content {
        let map = sed_image::GreyMap::new(2, 1, values.to_vec()).unwrap();
        Content::ScorePng(sed_image::mask::grey::encode(&map).unwrap().into())
    }

    fn runner_up(indices: [u16; 2]) -> Content {
        let map = sed_image::IndexMap::new(2, 1, indices.to_vec()).unwrap();
        let file = sed_image::mask::png::encode(&map, sed_image::mask::png::IndexDepth::Bits8).unwrap();
        Content::RunnerUpPng(file.into())
    }

    #[test]
    fn every_rule_is_checked() {
        let sound = [
            Content::RawIndices(vec![0, 0, 255, 255].into()),
            Content::RawScores(raw([0.5, 0.25])),
            Content::RawMargins(raw([0.5, 0.0])),
            runner_up([1, UNLABELLED]),
            score_png([128, 64]),
        ];
        assert_eq!(check(&answer(sound.clone())), Ok(()));
        for (place, content, broken) in [
            (1, Content::RawScores(raw([2.0, 0.25])), "between 0 and 1 at pixel 0"),
            (1, Content::RawScores(vec![0; 2].into()), "SCORE_RAW has 1 values for 2 pixels"),
            (2, Content::RawMargins(raw([0.5, 0.5])), "above its score at pixel 1"),
            (3, runner_up([1, 3]), "no category at pixel 1"),
            (3, runner_up([0, 2]), "the best category at pixel 0"),
            (4, score_png([128, 63]), "not the rounded float at pixel 1"),
            (4, Content::ScorePng(b"no file"[..].into()), "SCORE_PNG: "),
        ] {
            let mut contents = sound.clone();
            contents[place] = content;
            let error = check(&answer(contents)).unwrap_err();
            assert!(error.contains(broken), "{error}");
        }
    }
}
