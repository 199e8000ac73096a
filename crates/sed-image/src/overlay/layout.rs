//! Sizes that follow from the picture's, and the colours of the overlay's own parts.

/// Background of the legend.
pub(super) const PANEL: [u8; 3] = [0x16, 0x18, 0x1d];

/// Names and headings.
pub(super) const INK: [u8; 3] = [0xf1, 0xf3, 0xf6];

/// Less important text and marks: shares, and lines that stand for no category of their own.
pub(super) const MUTED: [u8; 3] = [0x9b, 0xa3, 0xaf];

/// The empty part of a bar.
pub(super) const TRACK: [u8; 3] = [0x2a, 0x2e, 0x36];

/// Lengths in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Metrics {
    /// Size of text.
    pub(super) em: f32,
    /// Width of a region's border on each side of the line.
    pub(super) border: f32,
}

impl Metrics {
    /// For a picture of `width` × `height`: text grows with the picture, slower than it does.
    pub(super) fn of(width: u32, height: u32) -> Self {
        let side = (width as f32 * height as f32).sqrt();
        Self {
            em: (side.powf(0.82) / 11.5).clamp(13.0, 44.0).round(),
            border: (side / 680.0).clamp(1.0, 3.0),
        }
    }
}
