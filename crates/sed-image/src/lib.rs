//! Bytes to pixels to masks: decoding, resizing, mask encodings and overlays.
