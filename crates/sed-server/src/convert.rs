//! Conversions of the engine's types to the interface's.

use std::time::Duration;

use sed_engine::{
    CacheReport, Level, ModelInfo, Phrase, RejectionReport, Stage, StageTiming, Vocabulary, VocabularyWarning,
};
use sed_proto::v1;

use crate::{cpu_pool::Done, field::Field};

/// Converts a span of time; one too long for the interface becomes the longest.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}

pub(crate) fn model_info(model: &ModelInfo) -> v1::ModelInfo {
    v1::ModelInfo {
        name: model.name.clone(),
        digest: model.digest.clone(),
        dtype: model.dtype.clone(),
        device: model.device.clone(),
        input_side: model.input_side as u32,
        map_side: model.map_side as u32,
    }
}

/// The warnings of a vocabulary that a caller wrote; `field` returns the place of a phrase in the request.
pub(crate) fn warnings(vocabulary: &Vocabulary, field: impl Fn(Phrase) -> Field) -> Vec<v1::Warning> {
    let warning = |warning: &VocabularyWarning| {
        let (reason, phrase) = match warning {
            VocabularyWarning::NameRepeated { second, .. } => {
                (v1::WarningReason::CategoryNameRepeated, Phrase { category: *second, synonym: None })
            }
            VocabularyWarning::PhraseCut { phrase, .. } => (v1::WarningReason::PhraseCut, *phrase),
        };
        v1::Warning {
            reason: reason.into(),
            field: field(phrase).to_string(),
            message: warning.to_string(),
            ..Default::default()
        }
    };
    vocabulary.warnings().iter().map(warning).collect()
}

/// Converts the rejection report; the rejected categories are included only with `list_rejected`.
pub(crate) fn rejection_report(report: RejectionReport, list_rejected: bool) -> v1::RejectionReport {
    let level = |level: sed_engine::LevelReport| v1::LevelReport {
        level: level.level.number(),
        candidates: level.candidates,
        survivors: level.survivors,
        rejected: if list_rejected { level.rejected } else { Vec::new() },
        ..Default::default()
    };
    v1::RejectionReport {
        top_k: report.rejection.top_k(),
        levels: report.levels.into_iter().map(level).collect(),
    }
}

/// Builds the latency report: the engine's stages between the two on the CPU. `decode` is `None` for an image
/// that was given by its id.
pub(crate) fn latency_report(
    total: Duration,
    decode: Option<&Done<()>>,
    timings: Vec<StageTiming>,
    mask_encoding: &Done<()>,
    caches: CacheReport,
) -> v1::LatencyReport {
    let mut stages: Vec<_> = decode.map(|done| cpu_stage(v1::Stage::ImageDecode, done)).into_iter().collect();
    stages.extend(timings.into_iter().map(device_stage));
    stages.push(cpu_stage(v1::Stage::MaskEncoding, mask_encoding));
    v1::LatencyReport {
        total: Some(duration(total)),
        stages,
        text_cache_hits: caches.text_hits,
        text_cache_misses: caches.text_misses,
        vocabulary_cache_hit: caches.vocabulary_hit,
        image_cache_hit: caches.image_hit,
    }
}

fn cpu_stage(stage: v1::Stage, done: &Done<()>) -> v1::StageLatency {
    v1::StageLatency {
        stage: stage.into(),
        queue_wait: Some(duration(done.wait)),
        duration: Some(duration(done.duration)),
        batches: Vec::new(),
    }
}

fn device_stage(timing: StageTiming) -> v1::StageLatency {
    let stage = match timing.stage {
        Stage::TextEmbedding => v1::Stage::TextEmbedding,
        Stage::Encode => v1::Stage::Encode,
        Stage::CostMap => v1::Stage::CostMap,
        Stage::Decode(Level::One) => v1::Stage::DecodeLevel1,
        Stage::Decode(Level::Two) => v1::Stage::DecodeLevel2,
        Stage::Decode(Level::Three) => v1::Stage::DecodeLevel3,
        Stage::Finish => v1::Stage::Finish,
    };
    let batch = |batch: sed_engine::BatchTiming| v1::Batch {
        images: batch.images,
        pairs: batch.pairs,
        device_time: Some(duration(batch.device_time)),
    };
    v1::StageLatency {
        stage: stage.into(),
        queue_wait: Some(duration(timing.queue_wait)),
        duration: Some(duration(timing.duration)),
        batches: timing.batches.into_iter().map(batch).collect(),
    }
}
