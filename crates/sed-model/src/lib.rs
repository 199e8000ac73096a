//! The SED network: checkpoint, text tower, encoder, cost map, decoder and category rejection.
