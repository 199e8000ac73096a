//! The datasets of the official evaluation: their flags, and the work that they ask for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{
    ArgGroup, Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use sed_eval::{
    NameList, Plan,
    official::{Bare, DATASETS, Dataset},
};

use crate::pictures;

/// The variable by which the official scripts know the folder of datasets.
const DATA: &str = "DETECTRON2_DATASETS";
/// Rejection of the paper's fast inference.
const FAST_TOP_K: u32 = 8;

/// Flags of the official evaluation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Official evaluation")]
#[command(group(ArgGroup::new("Official").args(["dataset", "table"])))]
pub(super) struct OfficialArgs {
    /// Score this dataset by the official protocol.
    #[arg(long, value_name = "NAME", value_parser = parser())]
    pub(super) dataset: Option<&'static Dataset>,

    /// Score all of these datasets that are there, and print one Markdown table beside the figures of SED's authors.
    #[arg(long, conflicts_with = "per_category")]
    pub(super) table: bool,

    /// The folder of all datasets. [default: that of the variable DETECTRON2_DATASETS]
    #[arg(long, value_name = "ROOT", requires = "Official")]
    data: Option<PathBuf>,

    /// Rejection with top_k 8, as the paper's fast inference; without it rejection is off.
    #[arg(long, requires = "Official", conflicts_with = "top_k")]
    pub(super) fast: bool,
}

/// A dataset with the plan to score it.
pub(super) type Planned = (&'static Dataset, Plan);

fn parser() -> impl TypedValueParser<Value = &'static Dataset> {
    let names = PossibleValuesParser::new(DATASETS.each_ref().map(|dataset| dataset.name));
    names.try_map(|name| DATASETS.iter().find(|dataset| dataset.name == name).ok_or("no such dataset"))
}

impl OfficialArgs {
    /// Reports whether the official protocol is asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.table || self.dataset.is_some()
    }

    /// The protocol's rejection; 0 is off.
    pub(super) fn top_k(&self) -> u32 {
        if self.fast { FAST_TOP_K } else { 0 }
    }

    /// Plans a dataset: its first `limit` pictures, or those of a list.
    pub(super) fn plan(
        &self,
        dataset: &Dataset,
        list: Option<NameList>,
        limit: Option<usize>,
    ) -> Result<Plan> {
        let (plan, bare) = dataset.plan(&self.root()?, list, pictures::is_picture, limit)?;
        warn_of(dataset, &bare);
        Ok(plan)
    }

    /// Plans all datasets that are there, with the first `limit` pictures of each.
    pub(super) fn all(&self, limit: Option<usize>) -> Result<Vec<Planned>> {
        let root = self.root()?;
        let there = DATASETS.iter().filter(|dataset| dataset.is_in(&root));
        let plans: Vec<Planned> =
            there.map(|dataset| Ok((dataset, self.plan(dataset, None, limit)?))).collect::<Result<_>>()?;
        if plans.is_empty() {
            bail!(
                "none of the datasets of the official evaluation is in {}; `sed-serve eval --help` lists \
                 their folders",
                root.display()
            );
        }
        Ok(plans)
    }

    /// The folder of all datasets.
    pub(super) fn root(&self) -> Result<PathBuf> {
        let root = self.data.clone().or_else(|| {
            let variable = std::env::var_os(DATA).filter(|folder| !folder.is_empty());
            variable.map(PathBuf::from)
        });
        root.with_context(|| format!("name the folder of datasets with --data, or set {DATA} to it"))
    }
}

/// Warns of files that have no other half.
fn warn_of(dataset: &Dataset, bare: &Bare) {
    let halves = [("pictures", "label", &bare.pictures), ("labels", "picture", &bare.labels)];
    for (half, other, files) in halves {
        if let Some(first) = files.first() {
            tracing::warn!(
                "{} {half} of {}, such as {}, have no {other} and are left out, as the official evaluation does",
                files.len(),
                dataset.name,
                first.display()
            );
        }
    }
}
