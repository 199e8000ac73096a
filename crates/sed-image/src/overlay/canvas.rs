//! A picture that is drawn on.

use crate::error::Result;
use crate::rgb::RgbImage;

/// A colour with opacity 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Paint {
    pub(super) rgb: [u8; 3],
    pub(super) opacity: f32,
}

impl Paint {
    pub(super) const fn solid(rgb: [u8; 3]) -> Self {
        Self { rgb, opacity: 1.0 }
    }
}

/// A rectangle in pixels, with fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

impl Rect {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// An RGB picture with the few shapes that an overlay needs; everything is clipped to it.
#[derive(Debug)]
pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Self {
        Self { width, height, pixels: rgb.repeat(width as usize * height as usize) }
    }

    pub(super) fn of(image: RgbImage) -> Self {
        Self { width: image.width(), height: image.height(), pixels: image.into_pixels() }
    }

    pub(super) fn into_image(self) -> Result<RgbImage> {
        RgbImage::new(self.width, self.height, self.pixels)
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// Copies `other` to the top left corner.
    pub(super) fn place(&mut self, other: &Self) {
        let (from, to) = (other.width as usize * 3, self.width as usize * 3);
        let bytes = from.min(to);
        for (to, from) in self.pixels.chunks_exact_mut(to).zip(other.pixels.chunks_exact(from)) {
            to[..bytes].copy_from_slice(&from[..bytes]);
        }
    }

    /// Mixes `paint` into pixel (x, y), of which it covers a share of 0 to 1.
    pub(super) fn mix(&mut self, x: i32, y: i32, paint: Paint, covered: f32) {
        if x < 0 || y < 0 || x >= self.width as i32 || y >= self.height as i32 {
            return;
        }
        let share = (paint.opacity * covered).clamp(0.0, 1.0);
        let at = (y as usize * self.width as usize + x as usize) * 3;
        for (pixel, colour) in self.pixels[at..at + 3].iter_mut().zip(paint.rgb) {
            *pixel = (f32::from(*pixel) + (f32::from(colour) - f32::from(*pixel)) * share).round() as u8;
        }
    }

    /// Fills a rectangle with rounded corners, its edges smoothed.
    pub(super) fn fill_rounded(&mut self, rect: Rect, radius: f32, paint: Paint) {
        let radius = radius.min(rect.width / 2.0).min(rect.height / 2.0).max(0.0);
        let (half_width, half_height) = (rect.width / 2.0, rect.height / 2.0);
        let (centre_x, centre_y) = (rect.x + half_width, rect.y + half_height);
        let columns = rect.x.floor() as i32..(rect.x + rect.width).ceil() as i32;
        for y in rect.y.floor() as i32..(rect.y + rect.height).ceil() as i32 {
            for x in columns.clone() {
                // Signed distance from the pixel's centre to the outline.
                let dx = (x as f32 + 0.5 - centre_x).abs() - (half_width - radius);
                let dy = (y as f32 + 0.5 - centre_y).abs() - (half_height - radius);
                let outside = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
                let covered = (0.5 - outside).clamp(0.0, 1.0);
                if covered > 0.0 {
                    self.mix(x, y, paint, covered);
                }
            }
        }
    }
}
