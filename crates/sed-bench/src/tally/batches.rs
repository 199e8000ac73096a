//! Sizes of the server's launches, as the answers report them.

use serde::Serialize;

/// The launches of one stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    /// Estimated number of launches.
    launches: f64,
    images: f64,
    pairs: f64,
    most_images: u32,
    most_pairs: u32,
}

/// Mean and largest size of the launches of one stage.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BatchSizes {
    /// Images, in the mean.
    pub mean_images: f64,
    /// Images, at most.
    pub max_images: u32,
    /// Pairs of an image and a category, in the mean.
    pub mean_pairs: f64,
    /// Pairs, at most.
    pub max_pairs: u32,
}

impl Batches {
    /// Adds the launch of `images` images and `pairs` pairs that one request was part of.
    ///
    /// A launch of eight images is reported in eight answers. Each counts as an eighth of it, so that large
    /// launches do not count more often than small ones.
    pub(crate) fn add(&mut self, images: u32, pairs: u32) {
        let share = 1.0 / f64::from(images.max(1));
        self.launches += share;
        self.images += share * f64::from(images);
        self.pairs += share * f64::from(pairs);
        self.most_images = self.most_images.max(images);
        self.most_pairs = self.most_pairs.max(pairs);
    }

    /// Means over launches; `None` without launches.
    pub(crate) fn sizes(&self) -> Option<BatchSizes> {
        (self.launches > 0.0).then(|| BatchSizes {
            mean_images: self.images / self.launches,
            max_images: self.most_images,
            mean_pairs: self.pairs / self.launches,
            max_pairs: self.most_pairs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_counts_once_however_many_requests_were_in_it() {
        let mut batches = Batches::default();
        assert!(batches.sizes().is_none());
        (0..4).for_each(|_| batches.add(4, 100));
        batches.add(1, 20);
        batches.add(1, 30);
        let sizes = batches.sizes().unwrap();
        assert!((sizes.mean_images - 2.0).abs() < 1e-9, "(4 + 1 + 1) / 3: {sizes:?}");
        assert!((sizes.mean_pairs - 50.0).abs() < 1e-9, "(100 + 20 + 30) / 3: {sizes:?}");
        assert_eq!((sizes.max_images, sizes.max_pairs), (4, 100));
    }
}
