//! Text in the embedded fonts.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use super::canvas::{Canvas, Paint};

/// A weight of the embedded family; `assets/fonts/README.md` names its origin and licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

/// The family's regular weight, a TrueType file; `assets/fonts/README.md` names its origin and licence.
pub const FONT_REGULAR: &[u8] = include_bytes!("../../assets/fonts/inter-regular.ttf");
/// The family's semi-bold weight, a TrueType file.
pub const FONT_SEMI_BOLD: &[u8] = include_bytes!("../../assets/fonts/inter-semibold.ttf");

/// A weight at a size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Face {
    pub(super) weight: Weight,
    /// Size of the em square in pixels.
    pub(super) size: f32,
}

/// Longest name drawn, in characters; longer ones would be cut at any width.
const MOST_CHARACTERS: usize = 120;

/// A name as it can be drawn: one line, no control characters, bounded length.
pub(super) fn printable(name: &str) -> String {
    let mut line: String = name
        .trim()
        .chars()
        .take(MOST_CHARACTERS)
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .collect();
    if line.is_empty() {
        line.push('–');
    }
    line
}

impl Face {
    pub(super) fn new(weight: Weight, size: f32) -> Self {
        Self { weight, size }
    }

    /// Advance width of `text` in pixels.
    pub(super) fn width(self, text: &str) -> f32 {
        let font = self.font().as_scaled(self.scale());
        text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum()
    }

    /// Distance from the baseline to the middle of small letters and capitals, for centring a line.
    pub(super) fn middle(self) -> f32 {
        // Half of the family's capital height, 1490 of 2048 units.
        self.size * 0.3637
    }

    /// `text`, cut with an ellipsis where it is wider than `most` pixels.
    pub(super) fn fitted(self, text: &str, most: f32) -> String {
        if self.width(text) <= most {
            return text.to_owned();
        }
        let mut cut: Vec<char> = text.chars().collect();
        while let Some(_dropped) = cut.pop() {
            let candidate: String = cut.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width(&candidate) <= most {
                return candidate;
            }
        }
        "…".to_owned()
    }

    /// Draws `text` with its baseline beginning at (x, y).
    pub(super) fn draw(self, canvas: &mut Canvas, x: f32, y: f32, text: &str, paint: Paint) {
        let font = self.font();
        let scaled = font.as_scaled(self.scale());
        let mut pen = x;
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            let glyph = Glyph { id, scale: self.scale(), position: point(pen, y) };
            pen += scaled.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, covered| {
                canvas.mix(corner.x as i32 + dx as i32, corner.y as i32 + dy as i32, paint, covered);
            });
        }
    }

    /// The rasteriser's scale: it measures from the lowest descender to the highest ascender, not the em.
    fn scale(self) -> PxScale {
        let font = self.font();
        let em = font.units_per_em().unwrap_or(2048.0);
        PxScale::from(self.size * font.height_unscaled() / em)
    }

    fn font(self) -> &'static FontRef<'static> {
        static REGULAR: OnceLock<FontRef<'static>> = OnceLock::new();
        static SEMI_BOLD: OnceLock<FontRef<'static>> = OnceLock::new();
        let (cell, bytes): (_, &'static [u8]) = match self.weight {
            Weight::Regular => (&REGULAR, FONT_REGULAR),
            Weight::SemiBold => (&SEMI_BOLD, FONT_SEMI_BOLD),
        };
        #[expect(clippy::expect_used, reason = "the bytes are part of the program and a test reads them")]
        cell.get_or_init(|| FontRef::try_from_slice(bytes).expect("the embedded font is sound"))
    }
}
