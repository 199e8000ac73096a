//! The facts of an answer beside its masks, as plain data.

use std::time::Duration;

use sed_proto::v1;
use serde::{Deserialize, Serialize};

/// The result for one picture.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Width of the upright picture in pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// The model that answered.
    pub model: Model,
    /// The request's id, or the server's where it had none.
    pub request_id: String,
    /// One entry for every category, in the order of the words.
    pub categories: Vec<Category>,
    /// Pixels of the mask without a category.
    pub unlabelled_pixels: u64,
    /// The contrast words, if the request has any.
    pub contrast: Option<Contrast>,
    /// The pairs of categories between which the model could hardly choose, the largest part of the picture
    /// first; only if the request asks for them.
    pub ambiguities: Vec<Ambiguity>,
    /// The categories that went into each decoder level.
    pub rejection: Rejection,
    /// The time on the server.
    pub latency: Latency,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// SHA-256 of its weights.
    pub digest: String,
}

/// One category of the request in the mask.
#[derive(Clone, Debug, Serialize)]
pub struct Category {
    /// Its index in the words, counted from 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Pixels of the mask that have it.
    pub pixels: u64,
    /// Share of the mask, 0 to 1.
    pub area_share: f32,
    /// Mean score of its pixels, 0 to 1.
    pub mean_score: f32,
    /// x, y, width, height; absent where the category has no pixels.
    pub bounding_box: Option<[u32; 4]>,
}

/// The contrast words of a request. Their pixels are unlabelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contrast {
    /// Their names.
    pub names: Vec<String>,
    /// Pixels of the mask at which one of them was best.
    pub pixels: u64,
}

/// Two categories between which the model could hardly choose in a noticeable part of the picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ambiguity {
    /// Index of the first category in the words.
    pub first_index: u32,
    /// Its name.
    pub first: String,
    /// Index of the second category in the words.
    pub second_index: u32,
    /// Its name.
    pub second: String,
    /// Pixels at which one of them is best and the other second best, by a small margin.
    pub pixels: u64,
    /// Share of the mask, 0 to 1.
    pub area_share: f32,
    /// Mean difference of their scores over these pixels, 0 to 1.
    pub mean_margin: f32,
    /// Cosine similarity of their text embeddings, -1 to 1; absent if the server had it not in time.
    pub text_similarity: Option<f32>,
}

/// The work of rejection.
#[derive(Clone, Debug, Serialize)]
pub struct Rejection {
    /// 0 is rejection off.
    pub top_k: u32,
    /// Decoder levels 1 to 3.
    pub levels: Vec<Level>,
}

/// Rejection before one decoder level.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// The level, counted from 1.
    pub level: u32,
    /// Number of categories before it.
    pub candidates: u32,
    /// Indices of the categories that went on.
    pub survivors: Vec<u32>,
    /// Indices of the categories that were rejected.
    pub rejected: Vec<u32>,
    /// Number of contrast words before it; they are not among the candidates.
    pub contrast_candidates: u32,
    /// Number of contrast words that went on.
    pub contrast_survivors: u32,
}

/// The time on the server, and the caches that saved some.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// From the arrival of the request to the finished answer, in milliseconds.
    pub total_ms: f64,
    /// The stages that the request went through.
    pub stages: Vec<Stage>,
    /// Phrases whose embeddings were cached.
    pub text_cache_hits: u32,
    /// Phrases that were embedded.
    pub text_cache_misses: u32,
    /// True if the whole vocabulary was cached.
    pub vocabulary_cache_hit: bool,
    /// True if the picture's features were cached.
    pub image_cache_hit: bool,
}

/// One stage of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// As in the interface, in small letters: `decode_level_1`.
    pub stage: String,
    /// Time in its queue, in milliseconds.
    pub wait_ms: f64,
    /// Time of its work, in milliseconds.
    pub duration_ms: f64,
}

impl Latency {
    /// The time from the cost map to the index map, in milliseconds: the part that rejection shortens.
    pub fn decoder_ms(&self) -> f64 {
        let counts = |stage: &&Stage| {
            matches!(stage.stage.as_str(), "cost_map" | "finish") || stage.stage.starts_with("decode_level")
        };
        self.stages.iter().filter(counts).map(|stage| stage.duration_ms).sum()
    }
}

impl Report {
    /// The categories that have pixels, the largest first.
    pub fn found(&self) -> Vec<&Category> {
        let mut found: Vec<_> = self.categories.iter().filter(|category| category.pixels > 0).collect();
        found.sort_by_key(|category| std::cmp::Reverse(category.pixels));
        found
    }

    /// The categories' names by their indices.
    pub fn names<'a>(&'a self, indices: &'a [u32]) -> impl Iterator<Item = &'a str> {
        let name = |index: &u32| self.categories.get(*index as usize).map(|category| category.name.as_str());
        indices.iter().filter_map(name)
    }

    /// Pixels of the mask.
    pub fn pixels(&self) -> u64 {
        let labelled: u64 = self.categories.iter().map(|category| category.pixels).sum();
        labelled + self.unlabelled_pixels
    }

    /// Share of the mask that belongs to no category, 0 to 1.
    pub fn unlabelled_share(&self) -> f64 {
        self.unlabelled_pixels as f64 / self.pixels().max(1) as f64
    }
}

impl From<v1::SegmentResponse> for Report {
    fn from(answer: v1::SegmentResponse) -> Self {
        let size = answer.image_size.unwrap_or_default();
        let ambiguities = answer.ambiguities.into_iter().map(|one| ambiguity(one, &answer.categories));
        Self {
            width: size.width,
            height: size.height,
            ambiguities: ambiguities.collect(),
            contrast: answer.contrast.map(|v1::ContrastReport { names, pixels }| Contrast { names, pixels }),
            model: Model { name: answer.model_name, digest: answer.model_digest },
            request_id: answer.request_id,
            categories: answer.categories.into_iter().map(category).collect(),
            unlabelled_pixels: answer.unlabelled_pixels,
            rejection: rejection(answer.rejection.unwrap_or_default()),
            latency: latency(answer.latency.unwrap_or_default()),
        }
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

fn ambiguity(ambiguity: v1::Ambiguity, categories: &[v1::CategoryResult]) -> Ambiguity {
    let name =
        |index: u32| categories.get(index as usize).map(|category| category.name.clone()).unwrap_or_default();
    let (first_index, second_index) = (ambiguity.first_index, ambiguity.second_index);
    Ambiguity {
        first_index,
        first: name(first_index),
        second_index,
        second: name(second_index),
        pixels: ambiguity.pixels,
        area_share: ambiguity.area_share,
        mean_margin: ambiguity.mean_margin,
        text_similarity: ambiguity.text_similarity,
    }
}

fn rejection(rejection: v1::RejectionReport) -> Rejection {
    let level = |level: v1::LevelReport| Level {
        level: level.level,
        candidates: level.candidates,
        survivors: level.survivors,
        rejected: level.rejected,
        contrast_candidates: level.contrast_candidates,
        contrast_survivors: level.contrast_survivors,
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
    duration.map_or(0.0, |duration| span(duration).as_secs_f64() * 1e3)
}

/// A span of time of the interface; a negative one, which no server sends, counts as none.
pub(crate) fn span(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
