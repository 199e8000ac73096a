//! Mask encodings by their names.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sed_client::MaskEncoding;

/// Encodings of the mask itself.
const MASKS: [(&str, MaskEncoding); 5] = [
    ("index-png", MaskEncoding::IndexPng),
    ("rle", MaskEncoding::CocoRle),
    ("polygons", MaskEncoding::Polygons),
    ("raw", MaskEncoding::Raw),
    ("score-maps", MaskEncoding::ScoreMaps),
];
/// Encodings of how sure every pixel is.
const PLANES: [(&str, MaskEncoding); 5] = [
    ("score-png", MaskEncoding::ScorePng),
    ("score-raw", MaskEncoding::ScoreRaw),
    ("runner-up-png", MaskEncoding::RunnerUpPng),
    ("margin-png", MaskEncoding::MarginPng),
    ("margin-raw", MaskEncoding::MarginRaw),
];

/// Parses the name of any encoding.
pub(crate) fn any_encoding() -> impl TypedValueParser<Value = MaskEncoding> {
    one_of([MASKS, PLANES].concat())
}

/// Parses the name of a plane of scores, runners-up or margins.
pub(crate) fn plane_encoding() -> impl TypedValueParser<Value = MaskEncoding> {
    one_of(PLANES.to_vec())
}

fn one_of(named: Vec<(&'static str, MaskEncoding)>) -> impl TypedValueParser<Value = MaskEncoding> {
    let names = PossibleValuesParser::new(named.iter().map(|(name, _)| *name));
    names.try_map(move |text| {
        let found = named.iter().find(|(name, _)| *name == text).map(|(_, encoding)| *encoding);
        // Only the names in the list come here.
        found.ok_or("unknown encoding")
    })
}
