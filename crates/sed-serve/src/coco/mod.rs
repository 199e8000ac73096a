//! COCO's JSON files: panoptic segments, and instances with run lengths.

mod existing;
mod file;
mod part;

use anyhow::{Context, Result};
use sed_client::{
    Answer, report,
    v1::{RleMask, mask::Content},
};
use sed_image::mask::panoptic::segment_id;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use file::{CocoFile, Expected};

/// A picture.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    id: u64,
    /// The path below the folder that was given, with `/` between its parts.
    file_name: String,
    /// Width of the upright picture.
    width: u32,
    height: u32,
}

/// A category of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Category {
    /// Its index in the words + 1: 0 is no category.
    id: u32,
    name: String,
    supercategory: String,
    /// 0: the categories are regions, not objects that can be counted.
    isthing: u8,
    /// Red, green, blue, as in overlays.
    color: [u8; 3],
}

/// The segments of a picture, in its PNG of ids.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panoptic {
    image_id: u64,
    /// The PNG's path below the folder of PNGs.
    file_name: String,
    segments_info: Vec<Segment>,
}

/// All pixels of one category.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The number in the PNG; the same as `category_id`.
    id: u32,
    category_id: u32,
    /// Pixels.
    area: u64,
    /// x, y, width, height.
    bbox: [u32; 4],
    iscrowd: u8,
}

/// All pixels of one category.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its number in the file.
    id: u64,
    image_id: u64,
    category_id: u32,
    segmentation: RunLengths,
    /// Pixels.
    area: u64,
    /// x, y, width, height.
    bbox: [u32; 4],
    iscrowd: u8,
}

/// A mask as `pycocotools.mask.decode` reads it.
#[derive(Debug, Serialize, Deserialize)]
struct RunLengths {
    /// Height, width.
    size: [u32; 2],
    counts: String,
}

/// An annotation of one picture or of a part of it.
pub(crate) trait Annotation: Serialize + DeserializeOwned {
    /// Sets the numbers of the picture and, where it has one of its own, of the annotation.
    fn number(&mut self, image: u64, own: u64);
    /// The number of the picture.
    fn image(&self) -> u64;
    /// The annotation's own number; 0 if it has none.
    fn own(&self) -> u64;
}

impl Annotation for Panoptic {
    fn number(&mut self, image: u64, _: u64) {
        self.image_id = image;
    }

    fn image(&self) -> u64 {
        self.image_id
    }

    fn own(&self) -> u64 {
        0
    }
}

impl Annotation for Instance {
    fn number(&mut self, image: u64, own: u64) {
        (self.image_id, self.id) = (image, own);
    }

    fn image(&self) -> u64 {
        self.image_id
    }

    fn own(&self) -> u64 {
        self.id
    }
}

/// The picture of an answer, not numbered yet.
pub(crate) fn image(file_name: String, answer: &Answer) -> Image {
    Image { id: 0, file_name, width: answer.mask_size.width, height: answer.mask_size.height }
}

/// The categories of an answer, found or not.
pub(crate) fn categories(report: &sed_client::Report) -> Result<Vec<Category>> {
    let category = |category: &report::Category| {
        Ok(Category {
            id: id(category)?,
            name: category.name.clone(),
            supercategory: String::new(),
            isthing: 0,
            color: sed_image::mask::palette::colour(index(category)?),
        })
    };
    report.categories.iter().map(category).collect()
}

/// The segments of an answer. `png` is the path of its PNG below the folder of PNGs.
pub(crate) fn panoptic(png: String, answer: &Answer) -> Result<Panoptic> {
    let mut segments_info = Vec::new();
    for category in &answer.report.categories {
        let Some(bbox) = category.bounding_box else { continue };
        let id = id(category)?;
        segments_info.push(Segment { id, category_id: id, area: category.pixels, bbox, iscrowd: 0 });
    }
    Ok(Panoptic { image_id: 0, file_name: png, segments_info })
}

/// An annotation for each category of an answer that was found.
pub(crate) fn instances(answer: &Answer) -> Result<Vec<Instance>> {
    let masks = answer.masks.iter().find_map(|mask| match &mask.content {
        Some(Content::Rle(rle)) => Some(&rle.masks),
        _ => None,
    });
    masks.context("the answer holds no run lengths")?.iter().map(|mask| instance(mask, answer)).collect()
}

fn instance(mask: &RleMask, answer: &Answer) -> Result<Instance> {
    let category = answer.report.categories.get(mask.category_index as usize);
    let category = category.context("run lengths of a category that the answer does not list")?;
    let counts = std::str::from_utf8(&mask.counts).context("the run lengths of the answer")?.to_owned();
    Ok(Instance {
        id: 0,
        image_id: 0,
        category_id: id(category)?,
        segmentation: RunLengths { size: [answer.mask_size.height, answer.mask_size.width], counts },
        area: category.pixels,
        bbox: category.bounding_box.context("a category with pixels has no bounding box")?,
        iscrowd: 0,
    })
}

fn id(category: &report::Category) -> Result<u32> {
    Ok(segment_id(index(category)?))
}

fn index(category: &report::Category) -> Result<u16> {
    u16::try_from(category.index).with_context(|| format!("the index {} of a category", category.index))
}
