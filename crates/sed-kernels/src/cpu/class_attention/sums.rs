//! Class attention for an image whose categories come in parts.

use std::borrow::Cow;

use candle_core::{Result, Tensor};

use super::ClassAttention;
use super::tile::{Tile, Work, run_part_tile, run_sums_tile};
use crate::cpu::memory::{SharedMut, cpu_values, from_values, require_cpu, to_vec, written};
use crate::cpu::scratch::with_scratch;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::AttentionSums;

impl ClassAttention {
    /// As [`crate::ClassAttention::add_sums`].
    pub(crate) fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums> {
        self.add_sums_with(x, sums, Isa::best())
    }

    pub(super) fn add_sums_with(&self, x: &Tensor, sums: &AttentionSums, isa: Isa) -> Result<AttentionSums> {
        require_cpu(x, "class attention")?;
        let pairs = sums.check(x, self.norm1.channels(), self.heads)?;
        let x = cpu_values(x)?;
        let pixels = sums.pixels;
        let mut next = sums.values.as_ref().map_or_else(|| Ok(self.zeros(pixels)), to_vec)?;
        let out = SharedMut::new(&mut next);
        let work = Work::for_part(self);
        let x: &[f32] = &x;
        parallel::each(Tile::count(pixels), |tile| {
            with_scratch(work.len(), |scratch| {
                let tile = Tile::new(x, pixels, (0, pairs), tile);
                // SAFETY: tiles write the sums of disjoint pixels; the scratch has `work.len()`.
                unsafe { run_sums_tile(isa, self, tile, out, work, scratch) };
            });
        });
        let channels = self.norm1.channels();
        let values = from_values(next, (1, pixels, channels / self.heads + 1, channels))?;
        Ok(AttentionSums { pixels, values: Some(values) })
    }

    /// As [`crate::ClassAttention::finish_part`].
    pub(crate) fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        self.finish_part_with(x, sums, Isa::best())
    }

    pub(super) fn finish_part_with(&self, x: &Tensor, sums: &AttentionSums, isa: Isa) -> Result<Tensor> {
        require_cpu(x, "class attention")?;
        let pairs = sums.check(x, self.norm1.channels(), self.heads)?;
        let values = cpu_values(x)?;
        let work = Work::for_part(self);
        let values: &[f32] = &values;
        let pixels = sums.pixels;
        let borrowed = sums.values.as_ref().map(cpu_values).transpose()?;
        let sums = borrowed.as_deref().map_or_else(|| Cow::Owned(self.zeros(pixels)), Cow::Borrowed);
        let fill = |tile: usize, out: SharedMut| {
            with_scratch(work.len(), |scratch| {
                let tile = Tile::new(values, pixels, (0, pairs), tile);
                // SAFETY: tiles write disjoint pixels; the scratch has `work.len()`.
                unsafe { run_part_tile(isa, self, tile, &sums, out, work, scratch) };
            });
        };
        // SAFETY: the tiles store every pixel of every pair.
        let y = unsafe {
            written(values.len(), |y| {
                let out = SharedMut::new(y);
                parallel::each(Tile::count(pixels), |tile| fill(tile, out));
            })
        };
        from_values(y, x.shape())
    }

    fn zeros(&self, pixels: usize) -> Vec<f32> {
        let channels = self.norm1.channels();
        vec![0.0; pixels * channels * (channels / self.heads + 1)]
    }
}
