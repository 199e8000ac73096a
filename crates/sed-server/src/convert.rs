//! Conversions of the engine's types to the interface's.

use std::time::Duration;

use sed_engine::{
    CacheReport, CategoryPlace, Level, ModelInfo, Phrase, RejectionReport, Stage, StageTiming, SynonymMode,
    Vocabulary, VocabularyWarning,
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

/// Converts warnings about the words that a caller wrote; `field` returns the place of a phrase in the
/// request.
pub(crate) fn warnings<'a>(
    warnings: impl IntoIterator<Item = &'a VocabularyWarning>,
    field: impl Fn(Phrase) -> Field,
) -> Vec<v1::Warning> {
    let convert = |warning: &VocabularyWarning| {
        let (reason, values) = facts(warning);
        v1::Warning {
            reason: reason.into(),
            field: field(warning.phrase()).to_string(),
            message: warning.to_string(),
            metadata: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    };
    warnings.into_iter().map(convert).collect()
}

/// The reason of a warning, and its values by name.
fn facts(warning: &VocabularyWarning) -> (v1::WarningReason, Vec<(&'static str, String)>) {
    match warning {
        VocabularyWarning::NameRepeated { first, second, .. } => {
            let value = |asked, place: &CategoryPlace| match place {
                CategoryPlace::Asked(index) => (asked, index.to_string()),
                CategoryPlace::Contrast(index) => ("contrast", index.to_string()),
            };
            let values = vec![value("first", first), value("second", second)];
            (v1::WarningReason::CategoryNameRepeated, values)
        }
        VocabularyWarning::PhraseCut { tokens, room, .. } => {
            let values = vec![("tokens", tokens.to_string()), ("room", room.to_string())];
            (v1::WarningReason::PhraseCut, values)
        }
        VocabularyWarning::Alike { first, second, similarity, threshold, .. } => {
            let values = vec![
                ("first", first.to_string()),
                ("second", second.to_string()),
                ("similarity", similarity.to_string()),
                ("threshold", threshold.to_string()),
            ];
            (v1::WarningReason::CategoriesAlike, values)
        }
    }
}

pub(crate) fn synonym_mode(mode: SynonymMode) -> v1::SynonymMode {
    match mode {
        SynonymMode::Mean => v1::SynonymMode::Mean,
        SynonymMode::Best => v1::SynonymMode::Best,
    }
}

/// The report on the contrast words of a vocabulary, if it has any.
pub(crate) fn contrast_report(vocabulary: &Vocabulary, pixels: u64) -> Option<v1::ContrastReport> {
    let words = vocabulary.contrast();
    let names = || words.iter().map(|category| category.name.clone()).collect();
    (!words.is_empty()).then(|| v1::ContrastReport { names: names(), pixels })
}

/// Converts the rejection report; the rejected categories are included only with `list_rejected`.
pub(crate) fn rejection_report(report: RejectionReport, list_rejected: bool) -> v1::RejectionReport {
    let level = |level: sed_engine::LevelReport| v1::LevelReport {
        level: level.level.number(),
        candidates: level.candidates,
        survivors: level.survivors,
        rejected: if list_rejected { level.rejected } else { Vec::new() },
        contrast_candidates: level.contrast_candidates,
        contrast_survivors: level.contrast_survivors,
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

#[cfg(test)]
mod tests {
    use sed_engine::{Category, Directions, Vocabulary, VocabularyLimits, advice, fake::FakeReader};

    use super::*;
    use crate::field::CategoryList;

    #[test]
    fn a_pair_that_is_alike_is_reported_at_its_second_name() {
        let words = ["couch", "sofa", "sky", "tree", "car"].map(Category::new).to_vec();
        let words = Vocabulary::new(words, &VocabularyLimits::default(), &FakeReader).unwrap();
        let axis = |axis: usize| (0..5).map(|at| f32::from(u8::from(at == axis))).collect::<Vec<f32>>();
        let mut rows: Vec<Vec<f32>> = (0..5).map(axis).collect();
        (rows[1][0], rows[1][1]) = (0.8, 0.6);
        let found = advice(&words, &Directions::new(&rows, 5), None);
        let warnings = warnings(&found, |phrase| Field::Phrase(CategoryList::Registered, phrase));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let warning = &warnings[0];
        assert_eq!(warning.reason(), v1::WarningReason::CategoriesAlike);
        assert_eq!(warning.field, "categories.categories[1].name");
        assert!(warning.message.contains("`couch` and `sofa`"), "{}", warning.message);
        let mut values: Vec<_> =
            warning.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        values.sort_unstable();
        assert_eq!(
            values,
            [("first", "0"), ("second", "1"), ("similarity", "0.800"), ("threshold", "0.750")]
        );
    }
}
