//! An answer in the form in which it is printed.

use std::path::PathBuf;

use sed_proto::v1;
use serde::Serialize;

/// The result for one picture, as it is printed and written to files.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The picture's file.
    pub(crate) picture: String,
    /// Its size, upright.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) model: Model,
    pub(crate) request_id: String,
    /// One entry for every category, in the order of the words.
    pub(crate) categories: Vec<Category>,
    pub(crate) unlabelled_pixels: u64,
    pub(crate) rejection: Rejection,
    pub(crate) latency: Latency,
    pub(crate) files: Files,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) digest: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Category {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) pixels: u64,
    /// 0 to 1.
    pub(crate) area_share: f32,
    /// 0 to 1.
    pub(crate) mean_score: f32,
    /// x, y, width, height; absent where the category has no pixels.
    pub(crate) bounding_box: Option<[u32; 4]>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rejection {
    /// 0 is rejection off.
    pub(crate) top_k: u32,
    pub(crate) levels: Vec<Level>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Level {
    pub(crate) level: u32,
    pub(crate) candidates: u32,
    /// Indices of the categories that went on.
    pub(crate) survivors: Vec<u32>,
    /// Indices of the categories that were rejected.
    pub(crate) rejected: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) total_ms: f64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) text_cache_hits: u32,
    pub(crate) text_cache_misses: u32,
    pub(crate) vocabulary_cache_hit: bool,
    pub(crate) image_cache_hit: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    /// As in the interface, in small letters: `decode_level_1`.
    pub(crate) stage: String,
    pub(crate) wait_ms: f64,
    pub(crate) duration_ms: f64,
}

/// Paths of the files of the result, as far as they are written.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) mask: Option<PathBuf>,
    pub(crate) report: Option<PathBuf>,
}

impl Report {
    /// The report on `picture`.
    pub(crate) fn new(picture: String, answer: v1::SegmentResponse, files: Files) -> Self {
        let size = answer.image_size.unwrap_or_default();
        Self {
            picture,
            width: size.width,
            height: size.height,
            model: Model { name: answer.model_name, digest: answer.model_digest },
            request_id: answer.request_id,
            categories: answer.categories.into_iter().map(category).collect(),
            unlabelled_pixels: answer.unlabelled_pixels,
            rejection: rejection(answer.rejection.unwrap_or_default()),
            latency: latency(answer.latency.unwrap_or_default()),
            files,
        }
    }

    /// The categories that have pixels, the largest first.
    pub(crate) fn found(&self) -> Vec<&Category> {
        let mut found: Vec<_> = self.categories.iter().filter(|category| category.pixels > 0).collect();
        found.sort_by_key(|category| std::cmp::Reverse(category.pixels));
        found
    }

    /// The categories' names by their indices.
    pub(crate) fn names<'a>(&'a self, indices: &'a [u32]) -> impl Iterator<Item = &'a str> {
        let name = |index: &u32| self.categories.get(*index as usize).map(|category| category.name.as_str());
        indices.iter().filter_map(name)
    }

    /// Share of the mask that belongs to no category, 0 to 1.
    pub(crate) fn unlabelled_share(&self) -> f64 {
        let labelled: u64 = self.categories.iter().map(|category| category.pixels).sum();
        self.unlabelled_pixels as f64 / (labelled + self.unlabelled_pixels).max(1) as f64
    }
}

fn category(category: v1::CategoryResult) -> Category {
    Category {
        index: category.index,
        name: category.name,
        pixels: category.pixels,
        area_share: category.area_share,
        mean_score: category.mean_score,
        bounding_box: category.bounding_box.map(|b| [b.x, b.y, b.width, b.height]),
    }
}

fn rejection(rejection: v1::RejectionReport) -> Rejection {
    let level = |level: v1::LevelReport| Level {
        level: level.level,
        candidates: level.candidates,
        survivors: level.survivors,
        rejected: level.rejected,
    };
    Rejection { top_k: rejection.top_k, levels: rejection.levels.into_iter().map(level).collect() }
}

fn latency(latency: v1::LatencyReport) -> Latency {
    let stage = |stage: v1::StageLatency| Stage {
        stage: stage.stage().as_str_name().trim_start_matches("STAGE_").to_lowercase(),
        wait_ms: milliseconds(stage.queue_wait),
        duration_ms: milliseconds(stage.duration),
    };
    Latency {
        total_ms: milliseconds(latency.total),
        stages: latency.stages.into_iter().map(stage).collect(),
        text_cache_hits: latency.text_cache_hits,
        text_cache_misses: latency.text_cache_misses,
        vocabulary_cache_hit: latency.vocabulary_cache_hit,
        image_cache_hit: latency.image_cache_hit,
    }
}

fn milliseconds(duration: Option<prost_types::Duration>) -> f64 {
    duration.map_or(0.0, |duration| duration.seconds as f64 * 1e3 + f64::from(duration.nanos) / 1e6)
}
