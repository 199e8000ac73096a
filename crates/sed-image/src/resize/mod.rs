//! Pixels to the network's input: both ways of the reference, exact.

mod antialias;
mod bilinear;
mod shortest_edge;

pub use antialias::resize_antialiased;
pub use shortest_edge::shortest_edge_size;

use crate::error::{ImageError, Result};
use crate::rgb::RgbImage;

/// Mean of each channel (R, G, B) on the 0..255 scale, subtracted first. From the reference's configuration.
const CLIP_PIXEL_MEAN: [f32; 3] = [122.770_94, 116.746_01, 104.093_735];

/// Standard deviation of each channel (R, G, B) on the 0..255 scale. From the reference's configuration.
const CLIP_PIXEL_STD: [f32; 3] = [68.500_53, 66.632_16, 70.323_166];

/// The way in which an image is resized to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResizeMode {
    /// Straight to S × S by bilinear interpolation without antialiasing, as the paper states.
    #[default]
    Direct,
    /// As the official evaluation: first to a short side of 640 (8-bit, antialiased), then as
    /// [`ResizeMode::Direct`].
    TwoStep,
}

/// The network's input for one image.
#[derive(Clone, PartialEq)]
pub struct NetworkInput {
    /// Side S of the square input, in pixels.
    pub side: u32,
    /// Normalised pixels, [S, S, 3] row-major, channels last.
    pub data: Vec<f32>,
    /// Width and height before the last step: of the short-side resize in [`ResizeMode::TwoStep`], S × S in
    /// [`ResizeMode::Direct`]. See [`NetworkInput::output_crop`].
    pub resized: (u32, u32),
}

impl NetworkInput {
    /// An input of pixels `[side, side, 3]` that come from no picture.
    pub fn new(side: u32, data: Vec<f32>) -> Self {
        Self { side, data, resized: (side, side) }
    }

    /// Width and height of the part of an M × M output map (`map_side` = M) that the official
    /// post-processing stretches over the image: it cuts the map to [`NetworkInput::resized`], which takes
    /// away something only for very long images (a short side below M after the resize).
    pub fn output_crop(&self, map_side: u32) -> (u32, u32) {
        (self.resized.0.min(map_side), self.resized.1.min(map_side))
    }
}

impl std::fmt::Debug for NetworkInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkInput({0}x{0}, from {1:?})", self.side, self.resized)
    }
}

/// Brings `image` to the network's size S = `size` and normalises it.
///
/// # Errors
/// [`ImageError::Option`] when `size` is 0 or above 4096.
pub fn network_input(image: &RgbImage, size: u32, mode: ResizeMode) -> Result<NetworkInput> {
    if !(1..=4096).contains(&size) {
        let expected = "it must be 1 to 4096";
        return Err(ImageError::Option { name: "size", actual: size.to_string(), expected });
    }
    match mode {
        ResizeMode::Direct => Ok(NetworkInput::new(size, bilinear::normalised(image, size))),
        ResizeMode::TwoStep => {
            let (width, height) = shortest_edge_size(image.width(), image.height());
            let resized = resize_antialiased(image, width, height)?;
            let data = bilinear::normalised(&resized, size);
            Ok(NetworkInput { side: size, data, resized: (width, height) })
        }
    }
}
