//! Pairs whose number the host does not know.

use candle_core::{DType, Result, Tensor, bail};

/// The (image, category) pairs of a batch as a device knows them. Between a rejection and the end of a submission the
/// host has only their largest number, the capacity: tensors of pairs have so many rows, of which the first
/// [`DevicePairs::live`] count. All tensors are u32.
#[derive(Debug, Clone)]
pub struct DevicePairs {
    /// `[images + 1]`: the rows of image i are `offsets[i] .. offsets[i + 1]`. The last is the number of pairs, at
    /// most the capacity.
    pub offsets: Tensor,
    /// `[capacity]`: the image of every pair; 0 in rows that do not count.
    pub images: Tensor,
    /// `[capacity]`: every pair's index into the vocabulary of its image; 0 in rows that do not count.
    pub survivors: Tensor,
    /// `[1]`: the pairs that there would be with a larger capacity. Where they are more than the capacity, results
    /// are of no use.
    pub wanted: Tensor,
}

impl DevicePairs {
    /// Number of words of the four tensors together.
    pub fn words(images: usize, capacity: usize) -> usize {
        images + 1 + 2 * capacity + 1
    }

    /// The four tensors as views of one, `block [words]`, in the order of the fields.
    ///
    /// # Errors
    /// When the block is not of [`DevicePairs::words`] values of u32.
    pub fn within(block: &Tensor, images: usize, capacity: usize) -> Result<Self> {
        if block.dtype() != DType::U32 || block.dims() != [Self::words(images, capacity)] {
            bail!("pairs: a block of {:?} for {images} images and {capacity} pairs", block.shape());
        }
        let part = |first, count| block.narrow(0, first, count);
        Ok(Self {
            offsets: part(0, images + 1)?,
            images: part(images + 1, capacity)?,
            survivors: part(images + 1 + capacity, capacity)?,
            wanted: part(images + 1 + 2 * capacity, 1)?,
        })
    }

    /// Number of images.
    pub fn image_count(&self) -> usize {
        self.offsets.elem_count() - 1
    }

    /// Rows that tensors of pairs have.
    pub fn capacity(&self) -> usize {
        self.images.elem_count()
    }

    /// `[1]`: the number of pairs, for kernels.
    ///
    /// # Errors
    /// Never, unless the fields were made by hand.
    pub fn live(&self) -> Result<Tensor> {
        self.offsets.narrow(0, self.image_count(), 1)
    }

    /// Checks that `x` has a row for every pair.
    pub(crate) fn check(&self, x: &Tensor) -> Result<()> {
        if x.dims().first() != Some(&self.capacity()) {
            bail!("pairs: {:?} has not one row for each of {} pairs", x.shape(), self.capacity());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn tables_lie_in_one_block() {
        let words = DevicePairs::words(2, 3);
        let block = Tensor::from_vec((0..words as u32).collect::<Vec<_>>(), words, &Device::Cpu).unwrap();
        let pairs = DevicePairs::within(&block, 2, 3).unwrap();
        assert_eq!((pairs.image_count(), pairs.capacity(), words), (2, 3, 10));
        assert_eq!(pairs.live().unwrap().to_vec1::<u32>().unwrap(), [2]);
        assert_eq!(pairs.survivors.to_vec1::<u32>().unwrap(), [6, 7, 8]);
        assert_eq!(pairs.wanted.to_vec1::<u32>().unwrap(), [9]);
        assert!(DevicePairs::within(&block, 2, 4).is_err());
    }
}
