#![allow(missing_docs)]
use crate::device::{copy, room};
use crate::*;
use candle_core::{Result, Tensor, bail};

#[derive(Debug, Clone)]
pub struct RejectionRule {
    pub top_k: Tensor,
    pub groups: Option<Tensor>,
    pub starts: Tensor,
}

fn host(x: &Tensor) -> Vec<usize> {
    x.to_vec1::<u32>().unwrap().into_iter().map(|v| v as usize).collect()
}
fn padded(x: &Tensor, capacity: usize) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let live = shape[0];
    shape[0] = capacity;
    let y = room(x.device(), x.dtype(), &shape)?;
    copy(&x.contiguous()?, &y.narrow(0, 0, live)?)?;
    Ok(y)
}
impl ConvNextBlock {
    pub fn forward_pairs(&self, x: &Tensor, _: &DevicePairs) -> Result<Tensor> {
        self.forward(x)
    }
}
impl Conv2d {
    pub fn forward_pairs(&self, x: &Tensor, a: Activation, _: &DevicePairs) -> Result<Tensor> {
        self.forward(x, a)
    }
}
impl ClassAttention {
    pub fn forward_pairs(&self, x: &Tensor, pairs: &DevicePairs) -> Result<Tensor> {
        let offsets = host(&pairs.offsets);
        let live = offsets[offsets.len() - 1];
        padded(&self.forward(&x.narrow(0, 0, live)?, &offsets)?, pairs.capacity())
    }
}
impl SkipFusion {
    pub fn forward_pairs(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guide: &Tensor,
        pairs: &DevicePairs,
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        let offsets = host(&pairs.offsets);
        let live = offsets[offsets.len() - 1];
        let guides = (0..pairs.image_count()).map(|i| guide.narrow(0, i, 1)).collect::<Result<Vec<_>>>()?;
        let images = host(&pairs.images)[..live].to_vec();
        let f = self.forward(
            &x.narrow(0, 0, live)?,
            &cost.narrow(0, 0, live)?,
            &guides.iter().collect::<Vec<_>>(),
            &images,
            outputs,
        )?;
        let pad = |x: Option<Tensor>| x.map(|x| padded(&x, pairs.capacity())).transpose();
        Ok(Fused { features: pad(f.features)?, cost_guidance: pad(f.cost_guidance)?, logits: pad(f.logits)? })
    }
}
pub fn cost_map_batch(images: &Tensor, vocabularies: &[&Tensor]) -> Result<Tensor> {
    let mut parts = vec![];
    for (i, v) in vocabularies.iter().enumerate() {
        let rows = (0..v.dim(0)?).map(|r| v.get(r)).collect::<Result<Vec<_>>>()?;
        parts.push(cost_map(
            &[&images.narrow(0, i, 1)?],
            &rows.iter().collect::<Vec<_>>(),
            &vec![0; rows.len()],
        )?);
    }
    Tensor::cat(&parts, 0)
}
pub fn reject(
    logits: &Tensor,
    before: &DevicePairs,
    rule: &RejectionRule,
    after: &DevicePairs,
) -> Result<Tensor> {
    let offsets = host(&before.offsets);
    let live = offsets[offsets.len() - 1];
    let survivors = host(&before.survivors);
    let top = host(&rule.top_k);
    let starts = host(&rule.starts);
    let groups = rule.groups.as_ref().map(host);
    let images = top.len();
    let (mut rows, mut out) = (vec![], vec![0u32]);
    let (mut im, mut sv, mut wanted) = (vec![], vec![], 0u32);
    for i in 0..images {
        let range = offsets[i]..offsets[i + 1];
        let n = range.len();
        let kept: Vec<usize> = if top[i] == 0 || n == 0 {
            range.clone().collect()
        } else {
            let own = logits.narrow(0, range.start, n)?;
            let g: Option<Vec<u32>> =
                groups.as_ref().map(|g| range.clone().map(|p| g[starts[i] + survivors[p]] as u32).collect());
            let k = match &g {
                None => top[i].min(n),
                Some(g) => {
                    let mut d = g.clone();
                    d.dedup();
                    top[i].min(d.len())
                }
            };
            top_k_union(&own, &[0, n], &[k], g.as_deref())?
                .remove(0)
                .into_iter()
                .map(|r| r + range.start)
                .collect()
        };
        wanted += kept.len() as u32;
        for r in kept {
            if rows.len() < after.capacity() {
                rows.push(r as u32);
                im.push(i as u32);
                sv.push(survivors[r] as u32);
            }
        }
        out.push(rows.len() as u32);
    }
    let _ = live;
    let put = |x: &[u32], to: &Tensor| -> Result<()> {
        if x.is_empty() {
            return Ok(());
        }
        copy(&Tensor::new(x, logits.device())?, &to.narrow(0, 0, x.len())?)
    };
    im.resize(after.capacity(), 0);
    sv.resize(after.capacity(), 0);
    rows.resize(after.capacity(), 0);
    put(&out, &after.offsets)?;
    put(&im, &after.images)?;
    put(&sv, &after.survivors)?;
    put(&[wanted], &after.wanted)?;
    Tensor::new(rows, logits.device())
}
pub fn gather_pairs(x: &[&Tensor], rows: &Tensor, after: &DevicePairs) -> Result<Vec<Tensor>> {
    let live = host(&after.offsets)[after.image_count()];
    if host(rows).len() != after.capacity() {
        bail!("rows");
    }
    let rows = host(rows)[..live].to_vec();
    x.iter().map(|x| padded(&gather_rows(x, &rows)?, after.capacity())).collect()
}
