//! The usual layout of a dataset: a folder of pictures, and one of labels with the same names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sed_client::v1;

use super::{
    case::{Case, Meaning},
    label::ENDINGS,
};
use crate::pictures;

/// Finds the first `limit` pictures of a folder, each with its label in `labels`, in which `first_label` is
/// the first category of `vocabulary`.
pub(super) fn find(
    folder: &Path,
    labels: &Path,
    vocabulary: &v1::Vocabulary,
    first_label: u16,
    limit: Option<usize>,
) -> Result<Vec<Case>> {
    if !labels.is_dir() {
        bail!("the folder of labels {} is not there", labels.display());
    }
    let mut pictures = pictures::find(&[folder.to_owned()])?;
    pictures.truncate(limit.unwrap_or(usize::MAX));
    let case = |picture: PathBuf| {
        let label = label_of(&picture, labels)?;
        let meaning = Meaning::Vocabulary { first_label };
        Ok(Case { picture, label, vocabulary: vocabulary.clone(), meaning })
    };
    pictures.into_iter().map(case).collect()
}

fn label_of(picture: &Path, labels: &Path) -> Result<PathBuf> {
    let stem = pictures::stem(picture);
    let mut named = ENDINGS.iter().map(|ending| labels.join(format!("{stem}.{ending}")));
    named.find(|label| label.is_file()).with_context(|| {
        let (picture, labels) = (picture.display(), labels.display());
        format!("{picture} has no label: there is no {stem}.png (or .tif) in {labels}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_names_of_their_pictures() {
        let root = tempfile::tempdir().unwrap();
        let (pictures, labels) = (root.path().join("images"), root.path().join("labels"));
        for path in ["images/a.1.jpg", "images/b.png", "labels/a.1.png", "labels/b.tif"] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(path), "").unwrap();
        }
        let find = |limit| find(&pictures, &labels, &v1::Vocabulary::default(), 1, limit);
        let found: Vec<PathBuf> = find(None).unwrap().into_iter().map(|case| case.label).collect();
        assert_eq!(found, ["a.1.png", "b.tif"].map(|name| labels.join(name)));
        assert_eq!(find(Some(1)).unwrap().len(), 1);

        std::fs::remove_file(labels.join("b.tif")).unwrap();
        let error = find(None).unwrap_err().to_string();
        assert!(error.contains("b.png has no label: there is no b.png (or .tif) in"), "{error}");
        std::fs::remove_dir_all(&labels).unwrap();
        assert!(find(None).unwrap_err().to_string().contains("is not there"));
    }
}
