//! Plan of the last step of a submission: where the results of all images lie in one block of memory, and the
//! words that a device has to know of the images.

use std::ops::Range;

use candle_core::{Result, bail};
use half::vec::HalfBitsVecExt;

use super::tiles::Tiles;
use super::upsample_argmax::{ArgmaxMap, Sureness, UNLABELLED, mean_score};

/// Logits that a block of the first kernel makes scores of.
pub(crate) const SCORES_OF_BLOCK: usize = 4096;
/// Words of an image in the parameters; cuda/finish.cu reads them.
const RECORD: usize = 11;
/// Stands for a list that an image has not.
const NONE: u32 = u32::MAX;
/// Planes begin at multiples of so many words, 16 bytes.
const ALIGNED: usize = 4;

/// The result that is wanted for an image of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinishSpec<'a> {
    /// Width of the output in pixels.
    pub width: usize,
    /// Height of the output in pixels.
    pub height: usize,
    /// Only the first so many columns and rows of the maps, `(width, height)`, are used.
    pub crop: Option<(usize, usize)>,
    /// Entries of the image's vocabulary.
    pub vocabulary: usize,
    /// `[vocabulary]`, rising: the label of each entry, by which its maps are named; `None`: its index.
    pub labels: Option<&'a [u32]>,
    /// The least score that keeps a pixel, as in [`crate::ArgmaxSpec`].
    pub thresholds: EntryThresholds<'a>,
    /// True to return [`Sureness`] too.
    pub sureness: bool,
}

/// Thresholds of the entries of a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EntryThresholds<'a> {
    /// The same for all.
    Same(f32),
    /// `[vocabulary]`: one for each.
    Each(&'a [f32]),
}

/// The result for an image of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedImage {
    /// The winner of every pixel: indices and runners-up are labels, counts are those of the image's maps.
    /// Meaningless unless all logits are finite.
    pub map: ArgmaxMap,
    /// Logits of the image that are NaN or infinite.
    pub not_finite: usize,
}

/// The places of a batch's results in one block of words: for each pair counts of logits that are not finite,
/// one for each [`SCORES_OF_BLOCK`]; pixels and sums of every pair; then the planes of every image.
#[derive(Debug, Clone)]
pub struct FinishPlan {
    images: Vec<Planned>,
    parameters: Vec<u32>,
    /// Rows that tensors of pairs have.
    capacity: usize,
    /// Rows and columns of a map.
    maps: (usize, usize),
    words: usize,
    /// Entries of the largest vocabulary.
    vocabulary: usize,
}

/// An image of a plan.
#[derive(Debug, Clone, Copy)]
struct Planned {
    pixels: usize,
    tiles: usize,
    sureness: bool,
    /// First word of its planes in the block.
    planes: usize,
}

impl Planned {
    /// Words of a plane of 16-bit values.
    fn plane(&self) -> usize {
        self.pixels.div_ceil(2).next_multiple_of(ALIGNED)
    }
}

impl FinishPlan {
    /// Plans the results for images whose pairs have maps of `(rows, columns)`, of which there are at most
    /// `capacity`.
    ///
    /// # Errors
    /// When an output or a crop is empty, a crop is larger than the maps, labels or thresholds are not one
    /// for each entry, labels do not rise, or a size does not fit its number.
    pub fn new(specs: &[FinishSpec<'_>], capacity: usize, maps: (usize, usize)) -> Result<Self> {
        let mut plan = Self {
            images: Vec::with_capacity(specs.len()),
            parameters: vec![0; specs.len() * RECORD],
            capacity,
            maps,
            words: 0,
            vocabulary: specs.iter().map(|spec| spec.vocabulary).max().unwrap_or(0),
        };
        plan.words = plan.planes();
        for (image, spec) in specs.iter().enumerate() {
            plan.add(image, spec)?;
        }
        Ok(plan)
    }

    /// Plans the next image.
    fn add(&mut self, image: usize, spec: &FinishSpec<'_>) -> Result<()> {
        let (wide, high) = spec.used(self.maps)?;
        let tiles = Tiles::of((spec.width, spec.height), high);
        let planned = Planned {
            pixels: spec.width * spec.height,
            tiles: tiles.count,
            sureness: spec.sureness,
            planes: self.words,
        };
        let (threshold, each) = match spec.thresholds {
            EntryThresholds::Same(threshold) => (threshold, None),
            EntryThresholds::Each(each) => (0.0, Some(each.iter().map(|threshold| threshold.to_bits()))),
        };
        let thresholds = self.list(each);
        let labels = self.list(spec.labels.map(|labels| labels.iter().copied()));
        let sizes = [spec.width, spec.height, wide, high, tiles.shift, planned.planes - self.planes()];
        for size in sizes.into_iter().chain([planned.plane(), tiles.count]) {
            if i32::try_from(size).is_err() {
                bail!("finish: an output of {} × {} is too large", spec.width, spec.height);
            }
        }
        let [width, height, wide, high, shift, indices] = sizes.map(|size| size as u32);
        let (plane, ranked) = (planned.plane() as u32, u32::from(spec.sureness));
        let threshold = threshold.to_bits();
        let record: [u32; RECORD] =
            [width, height, wide, high, shift, threshold, thresholds, labels, indices, plane, ranked];
        self.parameters[image * RECORD..][..RECORD].copy_from_slice(&record);
        self.words += planned.plane() * if spec.sureness { 4 } else { 1 };
        self.images.push(planned);
        Ok(())
    }

    /// Adds a list to the parameters. Returns the word at which it begins.
    fn list(&mut self, words: Option<impl Iterator<Item = u32>>) -> u32 {
        let Some(words) = words else { return NONE };
        let first = self.parameters.len();
        self.parameters.extend(words);
        first as u32
    }

    /// The words that the device reads, to be brought there for [`crate::finish_batch`].
    pub fn parameters(&self) -> &[u32] {
        &self.parameters
    }

    /// Words of the block of results.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        self.images.len()
    }

    /// Rows that tensors of pairs have.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows and columns of a map.
    pub(crate) fn maps(&self) -> (usize, usize) {
        self.maps
    }

    /// The most maps that an image can have.
    pub(crate) fn most_maps(&self) -> usize {
        self.vocabulary.min(self.capacity)
    }

    /// Tiles of the image that has most.
    pub(crate) fn most_tiles(&self) -> usize {
        self.images.iter().map(|image| image.tiles).max().unwrap_or(0)
    }

    /// Reports whether some image has planes beside its indices.
    pub(crate) fn any_sureness(&self) -> bool {
        self.images.iter().any(|image| image.sureness)
    }

    /// Blocks that make scores of a map, each with a count.
    pub(crate) fn parts(&self) -> usize {
        (self.maps.0 * self.maps.1).div_ceil(SCORES_OF_BLOCK)
    }

    /// First word of the pixels of each pair; before it are counts of logits that are not finite.
    pub(crate) fn pixels(&self) -> usize {
        self.capacity * self.parts()
    }

    /// First word of the sums of each pair, two words each.
    pub(crate) fn sums(&self) -> usize {
        (self.pixels() + self.capacity).next_multiple_of(2)
    }

    /// First word of the planes.
    pub(crate) fn planes(&self) -> usize {
        (self.sums() + 2 * self.capacity).next_multiple_of(ALIGNED)
    }

    /// Reads the result of an image, whose pairs are `rows`, from a copy of the block.
    ///
    /// # Errors
    /// When the block is not the plan's, or has no such image or pairs.
    pub fn unpack(&self, image: usize, block: &[u32], rows: Range<usize>) -> Result<FinishedImage> {
        let Some(planned) = self.images.get(image).filter(|_| block.len() == self.words) else {
            bail!("finish: image {image} of {} in a block of {} words", self.images.len(), block.len());
        };
        if rows.start > rows.end || rows.end > self.capacity {
            bail!("finish: pairs {rows:?} of {}", self.capacity);
        }
        let faults = &block[rows.start * self.parts()..rows.end * self.parts()];
        let pixels = &block[self.pixels()..][rows.clone()];
        let sums = block[self.sums()..][2 * rows.start..2 * rows.end].chunks_exact(2);
        let sum = |words: &[u32]| (u64::from(words[0]) | u64::from(words[1]) << 32).cast_signed();
        let plane = |which| values(&block[planned.planes + which * planned.plane()..], planned.pixels);
        let sureness = planned.sureness.then(|| Sureness {
            runner_up: plane(1),
            scores: plane(2).reinterpret_into(),
            margins: plane(3).reinterpret_into(),
        });
        let map = ArgmaxMap {
            indices: plane(0),
            pixels: pixels.to_vec(),
            mean_scores: sums.zip(pixels).map(|(words, &pixels)| mean_score(sum(words), pixels)).collect(),
            sureness,
        };
        Ok(FinishedImage { map, not_finite: faults.iter().map(|&count| count as usize).sum() })
    }
}

/// The first `count` values of 16 bits, the lower half of a word first.
fn values(words: &[u32], count: usize) -> Vec<u16> {
    let mut values = vec![0; count.next_multiple_of(2)];
    for (pair, word) in values.chunks_exact_mut(2).zip(words) {
        pair.copy_from_slice(&[*word as u16, (*word >> 16) as u16]);
    }
    values.truncate(count);
    values
}

impl FinishSpec<'_> {
    /// Returns the columns and rows of the maps that count, `(width, height)`.
    fn used(&self, (rows, columns): (usize, usize)) -> Result<(usize, usize)> {
        let (wide, high) = self.crop.unwrap_or((columns, rows));
        if wide == 0 || high == 0 || wide > columns || high > rows || self.width == 0 || self.height == 0 {
            bail!(
                "finish: maps of {columns} × {rows}, of which {wide} × {high} are used for {} × {}",
                self.width,
                self.height
            );
        }
        let labels = self.labels.unwrap_or(&[]);
        let most = labels.last().map_or(self.vocabulary, |label| *label as usize + 1);
        if most.max(self.vocabulary) > usize::from(UNLABELLED) {
            bail!("finish: {} entries and {most} labels are too many for an index", self.vocabulary);
        }
        if self.labels.is_some_and(|labels| labels.len() != self.vocabulary || !labels.is_sorted()) {
            bail!("finish: the labels are not one for each of {} entries, rising", self.vocabulary);
        }
        if let EntryThresholds::Each(each) = self.thresholds
            && each.len() != self.vocabulary
        {
            bail!("finish: {} thresholds for {} entries", each.len(), self.vocabulary);
        }
        Ok((wide, high))
    }
}
