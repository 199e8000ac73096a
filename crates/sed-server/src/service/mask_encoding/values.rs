//! `SCORE_PNG`, `SCORE_RAW`, `MARGIN_PNG` and `MARGIN_RAW`: a value of 0 to 1 for every pixel.

use sed_image::mask::grey;
use sed_proto::v1::{MaskEncoding, mask::Content};

use super::{
    form::{Form, Source},
    own_fault,
    planes::{Plane, Planes},
};
use crate::request_error::RequestError;

/// The plane that a form is made of.
#[derive(Clone, Copy)]
pub(super) enum Values {
    Scores,
    Margins,
}

impl Values {
    fn of(self, planes: &Planes) -> &Plane {
        match self {
            Self::Scores => &planes.scores,
            Self::Margins => &planes.margins,
        }
    }
}

/// A grey PNG of 8 bits.
pub(super) struct ValuePng(pub(super) Values);

impl Form for ValuePng {
    fn encoding(&self) -> MaskEncoding {
        match self.0 {
            Values::Scores => MaskEncoding::ScorePng,
            Values::Margins => MaskEncoding::MarginPng,
        }
    }

    /// The values in 8 bits, rows with their filters, and a file that does not shrink, which grows by
    /// doubling.
    fn bytes_of_size(&self, pixels: u64) -> u64 {
        4 * pixels
    }

    fn needs_sureness(&self) -> bool {
        true
    }

    fn is_compressed(&self) -> bool {
        true
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let plane = self.0.of(source.planes()?).to_grey();
        let png = plane.and_then(|plane| grey::encode(&plane)).map_err(|error| own_fault(&error))?.into();
        Ok(match self.0 {
            Values::Scores => Content::ScorePng(png),
            Values::Margins => Content::MarginPng(png),
        })
    }
}

/// Floats of 16 bits, little endian.
pub(super) struct RawValues(pub(super) Values);

/// Bytes of a float.
const VALUE: u64 = 2;

impl Form for RawValues {
    fn encoding(&self) -> MaskEncoding {
        match self.0 {
            Values::Scores => MaskEncoding::ScoreRaw,
            Values::Margins => MaskEncoding::MarginRaw,
        }
    }

    fn bytes_of_size(&self, pixels: u64) -> u64 {
        VALUE * pixels
    }

    fn least_content(&self, pixels: u64) -> u64 {
        VALUE * pixels
    }

    fn needs_sureness(&self) -> bool {
        true
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let bytes = self.0.of(source.planes()?).to_bytes().into();
        Ok(match self.0 {
            Values::Scores => Content::RawScores(bytes),
            Values::Margins => Content::RawMargins(bytes),
        })
    }
}
