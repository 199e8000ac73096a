//! Weights, sums and checks of class attention.

use candle_core::{Result, Tensor, bail};

/// The tensors of the layer, in torch's layouts; C channels.
#[derive(Debug, Clone, Copy)]
pub struct ClassAttentionWeights<'a> {
    /// `[C]`, `[C]`: the norm before attention.
    pub norm1: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub query: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub key: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub value: (&'a Tensor, &'a Tensor),
    /// `[C]`, `[C]`: the norm before the feed-forward layer.
    pub norm2: (&'a Tensor, &'a Tensor),
    /// `[4C, C]`, `[4C]`
    pub expand: (&'a Tensor, &'a Tensor),
    /// `[C, 4C]`, `[C]`
    pub contract: (&'a Tensor, &'a Tensor),
}

impl ClassAttentionWeights<'_> {
    /// Returns query, key and value side by side, `[3C, C]`, and their biases, `[3C]`.
    pub(crate) fn qkv(&self) -> Result<(Tensor, Tensor)> {
        let (hidden, channels) = self.expand.0.dims2()?;
        let qkv = Tensor::cat(&[self.query.0, self.key.0, self.value.0], 0)?;
        if qkv.dims2()? != (3 * channels, channels) || self.contract.0.dims2()? != (channels, hidden) {
            bail!("class attention: projections of {:?} do not fit {channels} channels", qkv.shape());
        }
        Ok((qkv, Tensor::cat(&[self.query.1, self.key.1, self.value.1], 0)?))
    }
}

/// Sums over all categories of an image, for every pixel: of the keys, and of the products of keys and
/// values. Class attention reads nothing else of the other categories. The sums are `C / heads + 1` times as
/// large as one pair's map.
#[derive(Debug, Clone)]
pub struct AttentionSums {
    pub(crate) pixels: usize,
    /// `[1, pixels, C / heads + 1, C]` in f32: products of keys and values, then keys. `None` before the
    /// first part.
    pub(crate) values: Option<Tensor>,
}

impl AttentionSums {
    /// The sums of no categories, for maps of `pixels` pixels.
    pub fn none(pixels: usize) -> Self {
        Self { pixels, values: None }
    }

    /// Returns the pairs of `x [part, height, width, C]`, which the sums must fit for a layer of `channels`
    /// channels.
    pub(crate) fn check(&self, x: &Tensor, channels: usize, heads: usize) -> Result<usize> {
        let (pairs, height, width, _) = attention_dims(x, channels)?;
        let shape = [1, self.pixels, channels / heads + 1, channels];
        if height * width != self.pixels || self.values.as_ref().is_some_and(|sums| sums.dims() != shape) {
            bail!("class attention: sums of {} pixels do not fit maps of {height} x {width}", self.pixels);
        }
        Ok(pairs)
    }
}

/// Returns the sizes of `x [pairs, height, width, C]`, which has `channels` channels.
pub(crate) fn attention_dims(x: &Tensor, channels: usize) -> Result<(usize, usize, usize, usize)> {
    let dims = x.dims4()?;
    if dims.3 != channels {
        bail!("class attention: {} channels, the weights have {channels}", dims.3);
    }
    Ok(dims)
}

/// Fails unless `offsets` cut `pairs` pairs into images.
pub(crate) fn check_offsets(offsets: &[usize], pairs: usize) -> Result<()> {
    let ordered = offsets.windows(2).all(|w| w[0] <= w[1]);
    if offsets.first() != Some(&0) || offsets.last() != Some(&pairs) || !ordered {
        bail!("class attention: offsets {offsets:?} do not cover {pairs} pairs");
    }
    Ok(())
}
