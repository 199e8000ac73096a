//! The model without any server, on the device of the flags.

use anyhow::Result;
use sed_bench::{mix::Picture, model::BareModel};

use crate::{args::ModelArgs, opened_model::OpenedModel};

/// Loads an opened model onto the first device of the flags, and prepares pictures for it.
pub(crate) fn load(opened: OpenedModel, args: &ModelArgs, pictures: &[Picture]) -> Result<BareModel> {
    let device = args.one_device()?;
    let OpenedModel { checkpoint, config } = opened;
    Ok(BareModel::load((&checkpoint, config), (&device, args.dtype.into()), pictures)?)
}
