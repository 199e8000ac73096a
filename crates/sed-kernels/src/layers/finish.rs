//! The last step of a submission, for all of its images.

use candle_core::{DType, Result, Tensor, bail};

use super::Wing;
use crate::specs::{DevicePairs, FinishPlan};

/// Finds the best map of every pixel of every image, as [`crate::score_and_upsample`] does for one, in two
/// launches: one makes `logits [capacity, h, w]` (f32) the scores, in place, and counts those that were not
/// finite; one writes the planes. `parameters` holds [`FinishPlan::parameters`] (u32). The results are
/// written to `block`, of [`FinishPlan::words`] words (u32) that may have any values before, from which
/// [`FinishPlan::unpack`] takes them on the host.
///
/// # Errors
/// When a tensor is not of the plan's size, the block does not begin at a multiple of 8 bytes, or the tensors
/// are the CPU's.
pub fn finish_batch(
    logits: &Tensor,
    pairs: &DevicePairs,
    plan: &FinishPlan,
    parameters: &Tensor,
    block: &Tensor,
) -> Result<()> {
    let (rows, columns) = plan.maps();
    if logits.dims() != [plan.capacity(), rows, columns] || logits.dtype() != DType::F32 {
        bail!(
            "finish: logits of {:?}, planned for {} of {rows} × {columns}",
            logits.shape(),
            plan.capacity()
        );
    }
    if (pairs.capacity(), pairs.image_count()) != (plan.capacity(), plan.images()) {
        bail!("finish: other pairs than those that were planned");
    }
    for (name, words, planned) in
        [("parameters", parameters, plan.parameters().len()), ("results", block, plan.words())]
    {
        if words.dims() != [planned] || words.dtype() != DType::U32 {
            bail!("finish: {name} of {:?}, planned for {planned} words", words.shape());
        }
    }
    match Wing::of(logits.device()) {
        Wing::Cuda(()) => crate::cuda::finish_batch(logits, pairs, plan, parameters, block),
        Wing::Cpu(()) => bail!("finish: pairs on the device, but the logits are on the CPU"),
    }
}
