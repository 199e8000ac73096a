//! The usual layout of a dataset: a folder of pictures, and one of labels with the same names.

use std::path::{Path, PathBuf};

use sed_client::v1;

use crate::{
    case::{Case, Meaning},
    error::{Error, Result},
    label::ENDINGS,
    plan::Plan,
};

/// Plans to score pictures, each with its label in `labels`, in which `first_label` is the first category of
/// `vocabulary`.
///
/// # Errors
/// The folder of labels, or the label of a picture, does not exist.
pub fn plan(
    pictures: Vec<PathBuf>,
    labels: &Path,
    vocabulary: &v1::Vocabulary,
    first_label: u16,
) -> Result<Plan> {
    if !labels.is_dir() {
        return Err(Error::NoLabels(labels.to_owned()));
    }
    let case = |picture: PathBuf| {
        let label = label_of(&picture, labels)?;
        let meaning = Meaning::Vocabulary { first_label };
        Ok(Case { picture, label, vocabulary: vocabulary.clone(), meaning })
    };
    let cases = pictures.into_iter().map(case).collect::<Result<_>>()?;
    Ok(Plan { condition: None, words: None, cases, names: None })
}

fn label_of(picture: &Path, labels: &Path) -> Result<PathBuf> {
    let stem = picture.file_stem().unwrap_or(picture.as_os_str()).to_string_lossy().into_owned();
    let mut named = ENDINGS.iter().map(|ending| labels.join(format!("{stem}.{ending}")));
    let found = named.find(|label| label.is_file());
    found.ok_or_else(|| Error::NoLabel { picture: picture.to_owned(), stem, labels: labels.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_names_of_their_pictures() {
        let root = tempfile::tempdir().unwrap();
        let labels = root.path().join("labels");
        let pictures = ["images/a.1.jpg", "images/b.png"].map(|name| root.path().join(name));
        for path in ["images/a.1.jpg", "images/b.png", "labels/a.1.png", "labels/b.tif"] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(path), "").unwrap();
        }
        let found = || plan(pictures.to_vec(), &labels, &v1::Vocabulary::default(), 1);
        let cases: Vec<PathBuf> = found().unwrap().cases.into_iter().map(|case| case.label).collect();
        assert_eq!(cases, ["a.1.png", "b.tif"].map(|name| labels.join(name)));

        std::fs::remove_file(labels.join("b.tif")).unwrap();
        let error = found().unwrap_err().to_string();
        assert!(error.contains("b.png has no label: there is no b.png (or .tif) in"), "{error}");
        std::fs::remove_dir_all(&labels).unwrap();
        assert!(found().unwrap_err().to_string().contains("is not there"));
    }
}
