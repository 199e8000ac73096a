//! Answers without what differs between two answers to the same request.

use sed_proto::{inference::ModelInferResponse, v1};

/// Parameters of an answer of the Open Inference Protocol that say when and how it was made.
const OF_THE_MOMENT: [&str; 5] =
    ["request_id", "milliseconds", "queue_milliseconds", "image_cache_hit", "vocabulary_cache_hit"];

/// The answer without its times, its caches, its request's id, and the similarities that it has where time is
/// left.
pub(crate) fn timeless(answer: &v1::SegmentResponse) -> v1::SegmentResponse {
    let mut answer = v1::SegmentResponse { request_id: String::new(), latency: None, ..answer.clone() };
    answer.ambiguities.iter_mut().for_each(|ambiguity| ambiguity.text_similarity = None);
    answer
}

/// The same of the Open Inference Protocol.
pub(crate) fn timeless_infer(answer: &ModelInferResponse) -> ModelInferResponse {
    let mut answer = ModelInferResponse { id: String::new(), ..answer.clone() };
    answer.parameters.retain(|name, _| !OF_THE_MOMENT.contains(&name.as_str()));
    answer
}

/// Compares an answer with what the request got alone.
///
/// # Errors
/// The fields that differ.
pub(crate) fn compare(answer: &v1::SegmentResponse, reference: &v1::SegmentResponse) -> Result<(), String> {
    let answer = timeless(answer);
    if answer == *reference {
        return Ok(());
    }
    let differences = [
        ("image_size", answer.image_size != reference.image_size),
        ("mask_size", answer.mask_size != reference.mask_size),
        ("masks", answer.masks != reference.masks),
        ("categories", answer.categories != reference.categories),
        ("unlabelled_pixels", answer.unlabelled_pixels != reference.unlabelled_pixels),
        ("overlay_png", answer.overlay_png != reference.overlay_png),
        ("rejection", answer.rejection != reference.rejection),
        ("image_id", answer.image_id != reference.image_id),
        ("warnings", answer.warnings != reference.warnings),
        ("ambiguities", answer.ambiguities != reference.ambiguities),
        ("contrast", answer.contrast != reference.contrast),
    ];
    let named: Vec<_> =
        differences.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect();
    Err(format!("the answer differs from the one that the request got alone, in {}", named.join(", ")))
}

/// The same of the Open Inference Protocol.
///
/// # Errors
/// The answers differ.
pub(crate) fn compare_infer(
    answer: &ModelInferResponse,
    reference: &ModelInferResponse,
) -> Result<(), String> {
    if timeless_infer(answer) == *reference {
        return Ok(());
    }
    Err("the answer differs from the one that the request got alone".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_the_moment_may_differ() {
        let reference = v1::SegmentResponse { unlabelled_pixels: 3, ..Default::default() };
        let later = v1::SegmentResponse {
            request_id: "again".into(),
            latency: Some(v1::LatencyReport::default()),
            ..reference.clone()
        };
        assert_eq!(compare(&later, &reference), Ok(()));
        let other = v1::SegmentResponse { unlabelled_pixels: 4, ..later };
        assert!(compare(&other, &reference).unwrap_err().ends_with("in unlabelled_pixels"));
    }
}
