//! Multiply-accumulates of the text tower.

use crate::config::SedConfig;
use crate::text_tower::TextRows;

/// The count for one prompt as the official code computes it: every column of the context, whatever the
/// prompt's length.
pub fn text_per_prompt(config: &SedConfig) -> u64 {
    let columns = config.text.context_length as u64;
    let rows =
        TextRows { rows: columns, keys: columns * columns, ends: columns, end_keys: columns * columns };
    let (width, depth) = (config.text.width as u64, config.embed_dim as u64);
    // All columns go through the last block too; one is projected.
    text_rearranged(config, &rows) - (columns - 1) * width * depth
}

/// The count for phrases as they are computed here, without the prefixes of the templates, which are computed
/// once when a model is loaded: see [`crate::text_tower::TextTower::rows_of`].
pub fn text_rearranged(config: &SedConfig, rows: &TextRows) -> u64 {
    let (width, depth) = (config.text.width as u64, config.embed_dim as u64);
    let square = width * width;
    // Per row: query, key, value and output projections, and the perceptron; per key: its product with the query,
    // and its value's share of the sum.
    let block = 12 * square * rows.rows + 2 * width * rows.keys;
    // The last block is read at the ends only; every row gives it a key and a value.
    let last = 2 * square * rows.rows + 10 * square * rows.ends + 2 * width * rows.end_keys;
    (config.text.layers as u64 - 1) * block + last + rows.ends * width * depth
}
