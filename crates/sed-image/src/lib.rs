//! Bytes to pixels to masks: decoding, resizing, mask encodings and overlays.
//!
//! Plain synchronous functions that spread their work over the current rayon pool; run them inside the
//! pool that should carry them. Every input is bounded by limits that the caller gives, and every
//! malformed one ends in an [`ImageError`].

#![forbid(unsafe_code)]

pub mod decode;
mod error;
pub mod mask;
mod overlay;
mod png_out;
pub mod resize;
mod rgb;

pub use decode::{DecodeLimits, Decoded, ImageFormat, ImageHeader, Orientation, decode, probe};
pub use error::{ImageError, Result};
pub use mask::{IndexMap, UNLABELLED};
pub use overlay::{FONT_REGULAR, FONT_SEMI_BOLD, OverlayOptions, overlay, overlay_png};
pub use png_out::encode_png;
pub use resize::{NetworkInput, ResizeMode, fill_network_input, network_input, resize_antialiased};
pub use rgb::RgbImage;
