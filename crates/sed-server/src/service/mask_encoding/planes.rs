//! Score, runner-up and margin of every pixel, of which masks and the overlay are made.

use sed_engine::{Sureness, f16};
use sed_image::{GreyMap, ImageError, IndexMap};

/// The planes of a mask.
pub(super) struct Planes {
    /// The score of the best category.
    pub(super) scores: Plane,
    /// The second best category.
    pub(super) runner_up: IndexMap,
    /// The score of the best category less that of the second best.
    pub(super) margins: Plane,
}

impl Planes {
    /// The planes of a mask of a width and a height.
    pub(super) fn new((width, height): (u32, u32), sureness: Sureness) -> Result<Self, ImageError> {
        let Sureness { scores, runner_up, margins } = sureness;
        Ok(Self {
            scores: Plane { width, height, values: scores },
            runner_up: IndexMap::new(width, height, runner_up)?,
            margins: Plane { width, height, values: margins },
        })
    }
}

/// A value of 0 to 1 for every pixel, row by row.
pub(super) struct Plane {
    width: u32,
    height: u32,
    pub(super) values: Vec<f16>,
}

impl Plane {
    /// Rounds the values to 8 bits, 0 to 1 as 0 to 255.
    pub(super) fn to_grey(&self) -> Result<GreyMap, ImageError> {
        let grey = |value: &f16| (255.0 * f32::from(*value)).round() as u8;
        GreyMap::new(self.width, self.height, self.values.iter().map(grey).collect())
    }

    /// Two bytes a pixel, little endian.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2 * self.values.len()];
        for (to, value) in bytes.chunks_exact_mut(2).zip(&self.values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(values: &[f32]) -> Result<Planes, ImageError> {
        let values: Vec<f16> = values.iter().copied().map(f16::from_f32).collect();
        let sureness = Sureness { runner_up: vec![1; values.len()], margins: values.clone(), scores: values };
        Planes::new((2, 2), sureness)
    }

    #[test]
    fn values_are_rounded_to_eight_bits() {
        let planes = planes(&[0.0, 0.0021, 0.5, 1.0]).unwrap();
        assert_eq!(planes.scores.to_grey().unwrap().values(), [0, 1, 128, 255]);
        assert_eq!(planes.margins.to_bytes(), [0, 0, 0x4d, 0x18, 0, 0x38, 0, 0x3c]);
        assert_eq!(planes.runner_up.indices(), [1; 4]);
    }

    #[test]
    fn planes_of_another_size_are_refused() {
        assert_eq!(planes(&[0.5; 3]).err().map(|error| error.reason()), Some("MASK_LENGTH"));
    }
}
