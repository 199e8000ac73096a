//! `SCORE_MAPS`: for each surviving category the scores at the model's own size.

use sed_proto::v1::{self, ErrorReason, MaskEncoding, mask::Content};

use super::form::{Form, Source};
use crate::{field::Field, request_error::RequestError};

/// Score maps. They are paid for with the engine's result.
pub(super) struct ScoreMapForm;

impl Form for ScoreMapForm {
    fn encoding(&self) -> MaskEncoding {
        MaskEncoding::ScoreMaps
    }

    fn needs_scores(&self) -> bool {
        true
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let maps = source.score_maps.ok_or_else(|| {
            let message = "the model gave no scores";
            RequestError::new(ErrorReason::Internal, Field::MaskEncodings, message)
        })?;
        let bytes: Vec<u8> = maps.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        Ok(Content::ScoreMaps(v1::ScoreMaps {
            width: maps.width,
            height: maps.height,
            category_indices: maps.categories.clone(),
            scores: bytes.into(),
        }))
    }
}
