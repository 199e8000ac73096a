//! Bytes to pixels to masks: decoding, resizing, mask encodings and overlays.
//!
//! Plain synchronous functions that spread their work over the current rayon pool; run them inside the
//! pool that should carry them. Every input is bounded by limits that the caller gives, and every
//! malformed one ends in an [`ImageError`].

#![forbid(unsafe_code)]

pub mod decode;
mod error;
mod format;
pub mod mask;
mod overlay;
mod png_out;
pub mod resize;
mod rgb;

pub use decode::{DecodeLimits, Decoded, ImageHeader, Orientation, decode, probe};
pub use error::{ImageError, Result};
pub use format::ImageFormat;
pub use mask::{GreyMap, IndexMap, UNLABELLED};
pub use overlay::{FONT_REGULAR, FONT_SEMI_BOLD, OverlayCategory, OverlayOptions, overlay, overlay_png};
pub use png_out::encode_png;
pub use resize::{NetworkInput, ResizeMode, network_input, resize_antialiased};
pub use rgb::RgbImage;
