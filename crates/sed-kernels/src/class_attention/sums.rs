//! Class attention for an image whose categories come in parts.

use candle_core::{Result, Tensor, bail};

use super::ClassAttention;
use super::tile::{Tile, Work, run_part_tile, run_sums_tile};
use crate::parallel;
use crate::scratch::with_scratch;
use crate::simd::Isa;
use crate::tensor::{SharedMut, cpu_values, from_values, require_cpu, written};

/// Sums over all categories of an image, for every pixel: of the keys, and of the products of keys and
/// values. Class attention reads nothing else of the other categories. The sums are `C / heads + 1` times as
/// large as one pair's map.
#[derive(Debug, Clone)]
pub(crate) struct AttentionSums {
    /// `[pixels][C / heads + 1][C]`: products of keys and values, then keys.
    values: Vec<f32>,
    pixels: usize,
}

impl ClassAttention {
    /// The sums of no categories, for maps of `pixels` pixels.
    pub(crate) fn no_sums(&self, pixels: usize) -> AttentionSums {
        let channels = self.norm1.channels();
        AttentionSums { values: vec![0.0; pixels * channels * (channels / self.heads + 1)], pixels }
    }

    /// The sums with those of one more part of the image's categories, `x [part, height, width, C]`. The
    /// parts together give exactly what [`ClassAttention::forward`] sums up.
    pub(crate) fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums> {
        self.add_sums_with(x, sums, Isa::best())
    }

    pub(super) fn add_sums_with(&self, x: &Tensor, sums: &AttentionSums, isa: Isa) -> Result<AttentionSums> {
        let pairs = self.check_part(x, sums)?;
        let x = cpu_values(x)?;
        let mut next = sums.clone();
        let out = SharedMut::new(&mut next.values);
        let work = Work::for_part(self);
        let x: &[f32] = &x;
        parallel::each(Tile::count(sums.pixels), |tile| {
            with_scratch(work.len(), |scratch| {
                let tile = Tile::new(x, sums.pixels, (0, pairs), tile);
                // SAFETY: tiles write the sums of disjoint pixels; the scratch has `work.len()`.
                unsafe { run_sums_tile(isa, self, tile, out, work, scratch) };
            });
        });
        Ok(next)
    }

    /// The layer for one part of an image's categories, `x [part, height, width, C]` to the same shape, from
    /// the sums over all of them.
    pub(crate) fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        self.finish_part_with(x, sums, Isa::best())
    }

    pub(super) fn finish_part_with(&self, x: &Tensor, sums: &AttentionSums, isa: Isa) -> Result<Tensor> {
        let pairs = self.check_part(x, sums)?;
        let values = cpu_values(x)?;
        let work = Work::for_part(self);
        let values: &[f32] = &values;
        let fill = |tile: usize, out: SharedMut| {
            with_scratch(work.len(), |scratch| {
                let tile = Tile::new(values, sums.pixels, (0, pairs), tile);
                // SAFETY: tiles write disjoint pixels; the scratch has `work.len()`.
                unsafe { run_part_tile(isa, self, tile, &sums.values, out, work, scratch) };
            });
        };
        // SAFETY: the tiles store every pixel of every pair.
        let y = unsafe {
            written(values.len(), |y| {
                let out = SharedMut::new(y);
                parallel::each(Tile::count(sums.pixels), |tile| fill(tile, out));
            })
        };
        from_values(y, x.shape())
    }

    fn check_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<usize> {
        require_cpu(x, "class attention")?;
        let (pairs, height, width, channels) = self.dims(x)?;
        let fits = sums.values.len() == sums.pixels * channels * (channels / self.heads + 1);
        if height * width != sums.pixels || !fits {
            bail!("class attention: sums of {} pixels do not fit maps of {height} x {width}", sums.pixels);
        }
        Ok(pairs)
    }
}
