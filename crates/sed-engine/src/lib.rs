//! Requests to ragged batches to stages to results.
