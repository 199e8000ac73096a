//! Attention of tokens over their own prefixes, for texts that share prefixes.

use candle_core::{Result, Tensor};

use super::memory::{cpu_values, from_values};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::{Isa, Lanes, kernel};
use crate::specs::PrefixChains;

/// Rows that one task attends for.
const ROW_BLOCK: usize = 32;

/// Inputs of every row's attention. Keys are numbered through `shared` first and then `own`.
struct Job<'a> {
    queries: &'a [f32],
    shared: &'a [f32],
    own: &'a [f32],
    chains: &'a PrefixChains,
    width: usize,
    heads: usize,
}

impl Job<'_> {
    /// The key of number `index`, followed by its value.
    #[inline(always)]
    fn key_value(&self, index: u32) -> *const f32 {
        let start = index as usize * 2 * self.width;
        let both = match start.checked_sub(self.shared.len()) {
            None => &self.shared[start..start + 2 * self.width],
            Some(start) => &self.own[start..start + 2 * self.width],
        };
        both.as_ptr()
    }
}

/// As [`crate::prefix_attention`], which has checked the arguments.
pub(crate) fn prefix_attention(
    queries: &Tensor,
    shared: Option<&Tensor>,
    own: &Tensor,
    chains: &PrefixChains,
    heads: usize,
) -> Result<Tensor> {
    let (rows, width) = queries.dims2()?;
    let shared = shared.map(cpu_values).transpose()?;
    let (queries, own) = (cpu_values(queries)?, cpu_values(own)?);
    let shared = shared.as_deref().unwrap_or_default();
    let job = Job { queries: &queries, shared, own: &own, chains, width, heads };
    from_values(attend(&job, Isa::best()), (rows, width))
}

fn attend(job: &Job<'_>, isa: Isa) -> Vec<f32> {
    let longest = job.chains.longest();
    let mut out = vec![0.0; job.queries.len()];
    parallel::chunks(&mut out, ROW_BLOCK * job.width, |block, out| {
        with_scratch(longest, |scores| {
            let first = block * ROW_BLOCK;
            // SAFETY: `out` holds the rows from `first` on, `scores` one value for each key of a row.
            unsafe {
                run_attend_rows(
                    isa,
                    job,
                    first,
                    out.len() / job.width,
                    out.as_mut_ptr(),
                    scores.as_mut_ptr(),
                );
            }
        });
    });
    out
}

/// Attends for `rows` rows from `first` on.
///
/// # Safety
/// `out` must be valid for `rows` rows of `job.width` values, `scores` for the longest chain.
#[inline(always)]
unsafe fn attend_rows<L: Lanes>(job: &Job<'_>, first: usize, rows: usize, out: *mut f32, scores: *mut f32) {
    let dim = job.width / job.heads;
    let scale = 1.0 / (dim as f32).sqrt();
    for row in 0..rows {
        let chain = job.chains.row(first + row);
        let query = job.queries[(first + row) * job.width..][..job.width].as_ptr();
        for head in (0..job.width).step_by(dim) {
            // SAFETY: `query`, every key and value, and the row of `out` have `dim` values at `head`;
            // `scores` has room for the chain.
            unsafe {
                let scores = std::slice::from_raw_parts_mut(scores, chain.len());
                for (score, &key) in scores.iter_mut().zip(chain) {
                    *score = dot::<L>(query.add(head), job.key_value(key).add(head), dim) * scale;
                }
                softmax(scores);
                let out = out.add(row * job.width + head);
                for i in (0..dim).step_by(L::WIDTH) {
                    let mut sum = L::splat(0.0);
                    for (&score, &key) in scores.iter().zip(chain) {
                        let value = L::load_upto(job.key_value(key).add(job.width + head + i), dim - i);
                        sum = L::fma(L::splat(score), value, sum);
                    }
                    L::store_upto(out.add(i), sum, dim - i);
                }
            }
        }
    }
}

/// # Safety
/// Both pointers must be valid for `n` values.
#[inline(always)]
unsafe fn dot<L: Lanes>(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: all loads stay within `n` values.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in (0..n).step_by(L::WIDTH) {
            sum = L::fma(L::load_upto(a.add(i), n - i), L::load_upto(b.add(i), n - i), sum);
        }
        L::sum(sum)
    }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

kernel! {
    /// [`attend_rows`] on a chosen instruction set.
    unsafe fn run_attend_rows(job: &Job<'_>, first: usize, rows: usize, out: *mut f32, scores: *mut f32) = attend_rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    /// The definition, in f64.
    fn naive(job: &Job<'_>) -> Vec<f32> {
        let dim = job.width / job.heads;
        let keys = [job.shared, job.own].concat();
        let mut out = Vec::new();
        for (row, query) in job.queries.chunks(job.width).enumerate() {
            let chain = job.chains.row(row);
            for head in 0..job.heads {
                let at = |key: u32, part: usize, i: usize| {
                    f64::from(keys[(key as usize * 2 + part) * job.width + head * dim + i])
                };
                let scores: Vec<f64> = chain
                    .iter()
                    .map(|&key| {
                        (0..dim).map(|i| f64::from(query[head * dim + i]) * at(key, 0, i)).sum::<f64>()
                    })
                    .map(|score| (score / (dim as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                out.extend((0..dim).map(|i| {
                    let weighted = chain.iter().zip(&scores).map(|(&key, score)| score / sum * at(key, 1, i));
                    weighted.sum::<f64>() as f32
                }));
            }
        }
        out
    }

    /// A chain of every length up to 20, over 9 shared keys and as many own keys as rows.
    fn chains(rows: usize) -> PrefixChains {
        let mut chains = PrefixChains::default();
        for row in 0..rows as u32 {
            chains.push((0..row % 20).map(|i| (row * 7 + i * 5) % (9 + row)).chain([9 + row]));
        }
        chains
    }

    #[test]
    fn equals_the_definition() {
        for (width, heads) in [(16, 2), (64, 1), (66, 3), (128, 2), (10, 10)] {
            let rows = 75;
            let (queries, shared) = (random(rows * width, 1), random(9 * 2 * width, 2));
            let own: Vec<f32> = random(rows * 2 * width, 3).iter().map(|v| v * 3.0).collect();
            let chains = chains(rows);
            let job = Job { queries: &queries, shared: &shared, own: &own, chains: &chains, width, heads };
            let want = naive(&job);
            for isa in Isa::available() {
                assert_close(&attend(&job, isa), &want, 2e-6, &format!("{isa:?} {width} {heads}"));
            }
            let (q, s) = (tensor(&queries, &[rows, width]), tensor(&shared, &[9, 2 * width]));
            let got =
                prefix_attention(&q, Some(&s), &tensor(&own, &[rows, 2 * width]), &chains, heads).unwrap();
            assert_close(&cpu_values(&got).unwrap(), &want, 2e-6, "tensor");
        }
    }

    #[test]
    fn without_shared_keys_the_own_ones_start_at_zero() {
        let values = random(3 * 8, 4);
        let mut chains = PrefixChains::default();
        (0..3).for_each(|row| chains.push([row]));
        let (q, own) = (tensor(&values[..12], &[3, 4]), tensor(&values, &[3, 8]));
        let got = prefix_attention(&q, None, &own, &chains, 2).unwrap();
        // One key: its value, whatever the score.
        let want: Vec<f32> = values.chunks(8).flat_map(|both| both[4..].to_vec()).collect();
        assert_close(&cpu_values(&got).unwrap(), &want, 0.0, "values");
    }
}
