//! Attention of tokens over their own prefixes, for texts that share prefixes.

use candle_core::{Result, Tensor, bail};

use super::wing::in_wing_of;
use crate::specs::PrefixChains;

/// Scaled dot-product attention of each row of `queries [rows, width]` over the keys that `chains` names for
/// it, in `heads` heads of `width / heads`: `softmax(q · k / sqrt(width / heads)) · v`, as `[rows, width]`.
///
/// Keys and values come side by side, `[keys, 2 * width]`, from two tensors that are numbered one after the
/// other: `shared` (for example prefixes that are kept between calls) and `own`.
///
/// # Errors
/// When shapes do not agree, a row has no key, or a chain names a key that is not there.
pub fn prefix_attention(
    queries: &Tensor,
    shared: Option<&Tensor>,
    own: &Tensor,
    chains: &PrefixChains,
    heads: usize,
) -> Result<Tensor> {
    let (rows, width) = queries.dims2()?;
    let keys = shared.map_or(Ok(0), |shared| shared.dim(0))? + own.dim(0)?;
    if shared.into_iter().chain([own]).any(|tensor| tensor.rank() != 2 || tensor.dims()[1] != 2 * width) {
        bail!("prefix attention: keys and values must be {} wide together", 2 * width);
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        bail!("prefix attention: {heads} heads do not divide a width of {width}");
    }
    chains.check(rows, keys)?;
    in_wing_of!(queries.device(), prefix_attention(queries, shared, own, chains, heads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (q, own) = (tensor(&[0.0; 8], &[2, 4]), tensor(&[0.0; 16], &[2, 8]));
        let attend = |rows: &[&[u32]], heads| {
            let mut chains = PrefixChains::default();
            rows.iter().for_each(|keys| chains.push(keys.iter().copied()));
            prefix_attention(&q, None, &own, &chains, heads).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(attend(&[&[0], &[0, 1]], 2), Ok(()));
        assert!(attend(&[&[0], &[2]], 2).unwrap_err().contains("not among the 2"));
        assert!(attend(&[&[0], &[]], 2).unwrap_err().contains("none of them empty"));
        assert!(attend(&[&[0]], 2).unwrap_err().contains("2 rows"));
        assert!(attend(&[&[0], &[1]], 3).unwrap_err().contains("do not divide"));
    }
}
