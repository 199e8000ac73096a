//! Depthwise convolution, alone or with the layer norm behind it.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::layer_norm::LayerNorm;
use super::memory::{Output, address};

/// `DEPTHWISE_COLUMNS` of depthwise.cu.
const COLUMNS: usize = 8;
/// `DEPTHWISE_GROUP` of depthwise.cu.
const GROUP: usize = 2 * WARP;
/// Multiprocessors of an H100, for which the rows of a tile are chosen.
const MULTIPROCESSORS: usize = 132;
/// Resident warps of a multiprocessor that keep it busy; with fewer, it waits for memory. Assumed, not measured.
const BUSY_WARPS: usize = 16;
/// Threads of a block whose tiles are narrower.
const NARROW_THREADS: usize = 128;

/// A height of tiles that there is a kernel for.
struct Rows {
    count: usize,
    /// Largest block of its kernels, as depthwise.cu declares them.
    threads: usize,
    /// Warps that a multiprocessor has registers for.
    warps: usize,
    /// Instructions for each value of a 7 × 7 kernel (`tests/gpu/instructions`).
    cost: usize,
    /// Kernels for sizes 3, 5, 7, 9.
    kernels: [Option<&'static str>; 4],
}

/// Tall tiles first: they load a source row for more output rows, but are fewer.
const ROWS: [Rows; 3] = [
    Rows {
        count: 4,
        threads: 512,
        warps: 16,
        cost: 79,
        kernels: [None, Some("depthwise5x4"), Some("depthwise7x4"), Some("depthwise9x4")],
    },
    Rows {
        count: 2,
        threads: 512,
        warps: 20,
        cost: 93,
        kernels: [Some("depthwise3x2"), Some("depthwise5x2"), Some("depthwise7x2"), Some("depthwise9x2")],
    },
    Rows {
        count: 1,
        threads: 768,
        warps: 25,
        cost: 109,
        kernels: [Some("depthwise3x1"), Some("depthwise5x1"), Some("depthwise7x1"), Some("depthwise9x1")],
    },
];

/// The launch of a tiled kernel.
#[derive(Debug, PartialEq)]
struct Tiling {
    kernel: &'static str,
    grid: [usize; 3],
    threads: usize,
    /// Logarithm of a tile's threads; 10 for the whole block.
    lanes_log: usize,
}

impl Tiling {
    /// Chooses the tiles of `x [images, height, width, channels]`: those with which the multiprocessors are done
    /// first, and of equals the tallest. `None` for channels that no tile takes. Results do not depend on the choice:
    /// all tiles sum in the same order.
    fn of(size: usize, shape: (usize, usize, usize, usize)) -> Option<Self> {
        Self::candidates(size, shape).into_iter().min_by_key(|&(time, _)| time).map(|(_, tiling)| tiling)
    }

    /// The tiles that take the channels, tall ones first, with numbers that are in proportion to their times.
    fn candidates(
        size: usize,
        (images, height, width, channels): (usize, usize, usize, usize),
    ) -> Vec<(usize, Self)> {
        let (lanes, lanes_log) = match channels / 2 {
            0..=16 => (16, 4),
            17..=32 => (32, 5),
            pairs => (pairs.next_multiple_of(WARP), 10),
        };
        let mut found = Vec::new();
        for rows in &ROWS {
            let Some(kernel) = rows.kernels[size / 2 - 1] else { continue };
            if lanes > rows.threads || !channels.is_multiple_of(2) {
                continue;
            }
            let tiles = height.div_ceil(rows.count);
            let together = if lanes_log == 10 { 1 } else { (NARROW_THREADS / lanes).min(tiles.max(1)) };
            let threads = (together * lanes).next_multiple_of(WARP);
            let grid = [width.div_ceil(COLUMNS), tiles.div_ceil(threads / lanes), images];
            let (warps, blocks) = (threads / WARP, grid.iter().product::<usize>());
            let busiest = blocks.div_ceil(MULTIPROCESSORS);
            let resident = (rows.warps / warps).clamp(1, busiest.max(1)) * warps;
            let work = busiest * warps * rows.count * rows.cost;
            let time = work * BUSY_WARPS.max(resident) / resident;
            found.push((time, Self { kernel, grid, threads, lanes_log }));
        }
        found
    }
}

/// Kernel and bias on the device, f32.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    /// `[groups, 1 + size², 64]`: the bias and the kernel for every group of 64 channels, the last padded with zeros.
    taps: Tensor,
    channels: usize,
    size: usize,
}

impl DepthwiseConv {
    /// Creates the layer from `weight [channels, 1, size, size]` with a size of 3, 5, 7 or 9, and
    /// `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (channels, one, size, width) = weight.dims4()?;
        if !matches!(size, 3 | 5 | 7 | 9) {
            bail!("depthwise convolution: no kernel of size {size} for this device; 3, 5, 7 or 9");
        }
        if one != 1 || size != width || bias.elem_count() != channels {
            bail!("depthwise convolution: weight {:?} does not fit its bias", weight.shape());
        }
        let rows = |x: &Tensor, length| x.to_dtype(DType::F32)?.reshape((channels, length));
        let taps = Tensor::cat(&[rows(bias, 1)?, rows(weight, size * size)?], 1)?;
        let groups = channels.div_ceil(GROUP);
        let taps = taps.pad_with_zeros(0, 0, groups * GROUP - channels)?;
        let taps = taps.reshape((groups, GROUP, 1 + size * size))?.transpose(1, 2)?.contiguous()?;
        Ok(Self { taps, channels, size })
    }

    /// `x [n, height, width, channels]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_normed(x, None, None)
    }

    /// As [`DepthwiseConv::forward`], with `norm` over the channels of every output pixel. With `live [1]` (u32) only
    /// so many of the n rows count, and the others of the result are not written.
    pub(super) fn forward_normed(
        &self,
        x: &Tensor,
        norm: Option<&LayerNorm>,
        live: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.channels {
            bail!("depthwise convolution: {channels} channels, the kernel has {}", self.channels);
        }
        if live.is_some_and(|live| live.dtype() != DType::U32 || live.elem_count() != 1) {
            bail!("depthwise convolution: the number of rows that count is one u32");
        }
        let x = x.contiguous()?;
        // Two channels are loaded at once, and an image's bytes counted in 32 bits.
        let element = x.dtype().size_in_bytes();
        let fits = address(&x)?.0.is_multiple_of(2 * element as u64)
            && u32::try_from(height * width * channels * element).is_ok();
        let tiling = Tiling::of(self.size, (n, height, width, channels)).filter(|_| fits);
        self.launch(&x, norm, live, tiling)
    }

    /// Runs a tiled kernel, or without a tiling the one for everything. `x` is contiguous.
    fn launch(
        &self,
        x: &Tensor,
        norm: Option<&LayerNorm>,
        live: Option<&Tensor>,
        tiling: Option<Tiling>,
    ) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let mut y = Output::like(x)?;
        let (launch, last) = match tiling {
            Some(Tiling { kernel, grid, threads, lanes_log }) => {
                (Launch::new(kernel, x.dtype(), grid, threads)?, lanes_log)
            }
            None => {
                let shared = norm.map_or(0, |_| COLUMNS * channels * size_of::<f32>());
                if shared > 48 * 1024 {
                    bail!(
                        "depthwise convolution: {channels} channels are too many to normalise in shared memory"
                    );
                }
                let grid = [width.div_ceil(COLUMNS), height, n];
                let threads = channels.next_multiple_of(WARP).min(256);
                (Launch::new("depthwise_any", x.dtype(), grid, threads)?.shared(shared), self.size)
            }
        };
        launch
            .input(x)?
            .input(&self.taps)?
            .optional(norm.map(|norm| &norm.weight))?
            .optional(norm.map(|norm| &norm.bias))?
            .optional(live)?
            .output(&mut y)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(last)?
            .f32(1.0 / channels as f32)
            .f32(norm.map_or(0.0, |norm| norm.eps))
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, device, on_device};
    use crate::testing::{random, tensor};

    /// The layers of both wings for c channels, with random weights.
    struct Layers {
        cpu: (crate::cpu::DepthwiseConv, crate::cpu::LayerNorm),
        conv: DepthwiseConv,
        norm: LayerNorm,
    }

    impl Layers {
        fn new(size: usize, c: usize) -> Self {
            let weight = tensor(&random(c * size * size, 2), &[c, 1, size, size]);
            let v: Vec<Tensor> = (3..6).map(|seed| tensor(&random(c, seed), &[c])).collect();
            let conv = crate::cpu::DepthwiseConv::new(&weight, &v[0]).unwrap();
            let norm = crate::cpu::LayerNorm::new(&v[1], &v[2], 1e-6).unwrap();
            let at = |x: &Tensor| on_device(x, DType::F32).tensor;
            Self {
                cpu: (conv, norm),
                conv: DepthwiseConv::new(&at(&weight), &at(&v[0])).unwrap(),
                norm: LayerNorm::new(&at(&v[1]), &at(&v[2]), 1e-6).unwrap(),
            }
        }

        fn normed(&self, x: &Tensor, live: Option<&Tensor>) -> Tensor {
            self.conv.forward_normed(x, Some(&self.norm), live).unwrap()
        }
    }

    fn input(shape: [usize; 4]) -> Tensor {
        tensor(&random(shape.iter().product(), 1), &shape)
    }

    fn bits(x: &Tensor) -> Vec<u32> {
        let x = x.to_device(&candle_core::Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn equals_the_cpu_with_and_without_norm() {
        for (size, n, h, w, c) in [
            (7, 1, 2, 2, 128),
            (7, 2, 11, 13, 40),
            (9, 1, 5, 31, 16),
            (9, 2, 17, 9, 32),
            (9, 1, 13, 8, 64),
            (7, 1, 3, 2, 1),
            (7, 1, 1, 1, 2),
            (9, 1, 1, 1, 66),
            (9, 1, 9, 8, 290),
            (7, 1, 40, 1, 6),
            (9, 1, 2, 50, 2),
            (3, 1, 1, 20, 33),
            (3, 1, 7, 10, 34),
            (5, 3, 4, 4, 8),
            (5, 1, 6, 20, 130),
            (7, 1, 2, 9, 1025),
            (7, 1, 3, 9, 1536),
        ] {
            let layers = Layers::new(size, c);
            let x = input([n, h, w, c]);
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let what = format!("{size} {n}×{h}×{w}×{c}");
                let want = layers.cpu.0.forward(&x.rounded).unwrap();
                assert_near(&layers.conv.forward(&x.tensor).unwrap(), &want, dtype, &what);
                let want = layers.cpu.1.forward(&want).unwrap();
                // One channel is normalised to zero times anything; its rounding is all that is left.
                if c > 1 {
                    assert_near(&layers.normed(&x.tensor, None), &want, dtype, &what);
                }
            }
        }
    }

    #[test]
    fn rows_behind_those_that_count_change_nothing() {
        for (size, c) in [(9, 32), (7, 96), (5, 5)] {
            let layers = Layers::new(size, c);
            let x = on_device(&input([3, 6, 10, c]), DType::BF16).tensor;
            let all = layers.normed(&x, None);
            for count in [0u32, 2, 3] {
                let live = Tensor::from_slice(&[count], 1, &device()).unwrap();
                let rows = |y: &Tensor| bits(&y.narrow(0, 0, count as usize).unwrap());
                let some = layers.normed(&x, Some(&live));
                if count > 0 {
                    assert_eq!(rows(&some), rows(&all), "{count} of 3, {c} channels");
                }
            }
        }
    }

    #[test]
    fn values_do_not_depend_on_the_batch_or_the_tiles() {
        for (size, c, h, w, heights) in
            [(7, 30, 9, 9, 3), (9, 96, 5, 8, 3), (3, 64, 3, 9, 2), (5, 600, 5, 3, 3)]
        {
            let layers = Layers::new(size, c);
            let x = input([3, h, w, c]);
            for dtype in [DType::F32, DType::BF16] {
                let x = on_device(&x, dtype).tensor;
                let all = layers.normed(&x, None);
                let candidates = Tiling::candidates(size, (3, h, w, c));
                assert_eq!(candidates.len(), heights);
                for (_, tiling) in candidates {
                    let what = format!("{} {c} {dtype:?}", tiling.kernel);
                    let got = layers.conv.launch(&x, Some(&layers.norm), None, Some(tiling)).unwrap();
                    assert_eq!(bits(&got), bits(&all), "{what}");
                }
                for i in 0..3 {
                    let alone = layers.normed(&x.narrow(0, i, 1).unwrap(), None);
                    assert_eq!(bits(&alone), bits(&all.narrow(0, i, 1).unwrap()), "{i} of 3");
                }
            }
        }
    }

    #[test]
    fn tiles_suit_the_shape() {
        let of = |size, shape| Tiling::of(size, shape).unwrap();
        let kernel = |size, shape| of(size, shape).kernel;
        assert_eq!(kernel(7, (1, 192, 192, 128)), "depthwise7x4");
        assert_eq!(kernel(7, (16, 48, 48, 512)), "depthwise7x4");
        assert_eq!(kernel(7, (1, 24, 24, 1024)), "depthwise7x1");
        assert_eq!(kernel(7, (16, 24, 24, 1024)), "depthwise7x2");
        assert_eq!(kernel(7, (16, 24, 24, 1536)), "depthwise7x1");
        let level = of(9, (42, 96, 96, 32));
        assert_eq!(level, Tiling { kernel: "depthwise9x4", grid: [12, 3, 42], threads: 128, lanes_log: 4 });
        for channels in [1, 3, 1537, 1538] {
            assert_eq!(Tiling::of(7, (1, 24, 24, channels)), None);
        }
    }

    #[test]
    fn what_the_tiles_do_not_take_is_refused_or_computed() {
        let layers = Layers::new(3, 1538);
        let x = input([1, 1, 2, 1538]);
        let got = layers.conv.forward(&on_device(&x, DType::F32).tensor).unwrap();
        assert_near(&got, &layers.cpu.0.forward(&x).unwrap(), DType::F32, "1538 channels");
        let x = on_device(&x, DType::F32).tensor;
        assert!(layers.conv.forward_normed(&x, Some(&layers.norm), None).is_err());
    }
}
