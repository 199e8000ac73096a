//! All stages behind the encoder, one after the other.

use sed_model::{DecodeRequest, Level, PairBatch, SedModel};

/// Runs the cost map and the three decoder levels; with the decoded batch come the survivors of every
/// image (second index) after each of the four stages (first index).
pub fn decode_all(model: &SedModel, requests: &[DecodeRequest<'_>]) -> (PairBatch, Vec<Vec<Vec<u32>>>) {
    let survivors =
        |pairs: &PairBatch| (0..requests.len()).map(|image| pairs.survivors(image).to_vec()).collect();
    let mut pairs = model.cost_map(requests).unwrap();
    let mut kept: Vec<Vec<Vec<u32>>> = vec![survivors(&pairs)];
    for level in Level::ALL {
        pairs = model.decode_level(level, pairs).unwrap();
        kept.push(survivors(&pairs));
    }
    (pairs, kept)
}
