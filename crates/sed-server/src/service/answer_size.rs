//! The size of an answer against its limit.

use sed_proto::v1::ErrorReason;

use super::mask_encoding::least_content;
use crate::{config::Settings, field::Field, request_error::RequestError, validate::ValidatedOptions};

/// Refuses an answer that is too large for a message. `field` is the option at fault.
pub(crate) fn check_response_size(bytes: usize, limits: &Settings, field: Field) -> Result<(), RequestError> {
    let limit = limits.max_response_bytes;
    if bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "the answer takes {bytes} bytes, more than the limit of {limit}; ask for less, or smaller masks"
    );
    Err(RequestError::new(ErrorReason::OutputTooLarge, field, message).with_limit(limit as u64))
}

/// Refuses masks that make an answer too large whatever they show, before anything is done for them.
pub(super) fn check_masks(
    (width, height): (u32, u32),
    options: &ValidatedOptions,
    limits: &Settings,
) -> Result<(), RequestError> {
    let least = least_content(u64::from(width) * u64::from(height), options);
    check_response_size(usize::try_from(least).unwrap_or(usize::MAX), limits, Field::MaskEncodings)
}
