//! Attention of tokens over their own prefixes.

use candle_core::{Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::memory::Output;
use crate::specs::PrefixChains;

/// Warps of a block; each attends for one head of one row.
const WARPS: usize = 4;

/// As [`crate::prefix_attention`], which has checked the arguments; in the dtype of `queries`.
pub(crate) fn prefix_attention(
    queries: &Tensor,
    shared: Option<&Tensor>,
    own: &Tensor,
    chains: &PrefixChains,
    heads: usize,
) -> Result<Tensor> {
    let (rows, width) = queries.dims2()?;
    let (device, dtype) = (queries.device(), queries.dtype());
    if rows == 0 {
        return Ok(Output::like(queries)?.into_tensor());
    }
    let longest = chains.longest();
    let scores = WARPS * longest * size_of::<f32>();
    if scores > 48 * 1024 {
        bail!("prefix attention: a chain of {longest} keys is too long for this device");
    }
    let (starts, keys) = chains.starts_and_keys();
    let (starts, keys) = (Tensor::new(starts, device)?, Tensor::new(keys, device)?);
    let queries = queries.contiguous()?;
    let shared = shared.map(|x| x.to_dtype(dtype)?.contiguous()).transpose()?;
    let own = own.to_dtype(dtype)?.contiguous()?;
    let mut y = Output::like(&queries)?;
    Launch::new("prefix_attention", dtype, [(rows * heads).div_ceil(WARPS), 1, 1], WARPS * WARP)?
        .shared(scores)
        .input(&queries)?
        .optional(shared.as_ref())?
        .input(&own)?
        .input(&starts)?
        .input(&keys)?
        .output(&mut y)?
        .i32(rows)?
        .i32(width)?
        .i32(heads)?
        .i32(shared.as_ref().map_or(Ok(0), |shared| shared.dim(0))?)?
        .i32(longest)?
        .run(device)?;
    Ok(y.into_tensor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (width, heads) in [(16, 2), (66, 3), (128, 2), (10, 10)] {
            let rows = 45;
            let mut chains = PrefixChains::default();
            for row in 0..rows as u32 {
                chains.push((0..row % 40).map(|i| (row * 7 + i * 5) % (9 + row)).chain([9 + row]));
            }
            let queries = tensor(&random(rows * width, 1), &[rows, width]);
            let shared = tensor(&random(9 * 2 * width, 2), &[9, 2 * width]);
            let own = tensor(&random(rows * 2 * width, 3), &[rows, 2 * width]);
            for dtype in DTYPES {
                let (q, s, o) =
                    (on_device(&queries, dtype), on_device(&shared, dtype), on_device(&own, dtype));
                let want = crate::prefix_attention(&q.rounded, Some(&s.rounded), &o.rounded, &chains, heads)
                    .unwrap();
                let got = prefix_attention(&q.tensor, Some(&s.tensor), &o.tensor, &chains, heads).unwrap();
                assert_near(&got, &want, dtype, &format!("{width} {heads}"));
            }
        }
    }
}
