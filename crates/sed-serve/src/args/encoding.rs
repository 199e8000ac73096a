//! Mask encodings by their names.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sed_client::MaskEncoding;

const ENCODINGS: [(&str, MaskEncoding); 10] = [
    ("index-png", MaskEncoding::IndexPng),
    ("rle", MaskEncoding::CocoRle),
    ("polygons", MaskEncoding::Polygons),
    ("raw", MaskEncoding::Raw),
    ("score-maps", MaskEncoding::ScoreMaps),
    ("score-png", MaskEncoding::ScorePng),
    ("score-raw", MaskEncoding::ScoreRaw),
    ("runner-up-png", MaskEncoding::RunnerUpPng),
    ("margin-png", MaskEncoding::MarginPng),
    ("margin-raw", MaskEncoding::MarginRaw),
];

/// Parses the name of an encoding.
pub(crate) fn any_encoding() -> impl TypedValueParser<Value = MaskEncoding> {
    PossibleValuesParser::new(ENCODINGS.map(|(name, _)| name)).try_map(|text| {
        let found = ENCODINGS.iter().find(|(name, _)| *name == text).map(|(_, encoding)| *encoding);
        // Only the names in the list come here.
        found.ok_or("unknown encoding")
    })
}
