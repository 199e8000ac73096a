//! The result for one picture in the form in which it is printed.

use std::path::PathBuf;

use serde::Serialize;

/// The result for one picture, as it is printed and written to files.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The picture's file.
    pub(crate) picture: String,
    /// The facts of the answer.
    #[serde(flatten)]
    pub(crate) answer: sed_client::Report,
    pub(crate) files: Files,
    /// True if the contrast words were this program's choice.
    #[serde(skip)]
    pub(crate) usual_contrast: bool,
}

/// Paths of the files of the result, as far as they are written.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) mask: Option<PathBuf>,
    pub(crate) report: Option<PathBuf>,
    /// Scores, runners-up and margins.
    pub(crate) planes: Vec<PathBuf>,
    /// The folder with a PNG for each category.
    pub(crate) categories: Option<PathBuf>,
    /// The PNG of COCO's panoptic format.
    pub(crate) panoptic: Option<PathBuf>,
    /// Arrays of numpy.
    pub(crate) arrays: Vec<PathBuf>,
}
