//! The usual layout of a dataset: a folder of pictures, and one of labels with the same names.

use std::path::{Path, PathBuf};

use sed_client::v1;

use crate::{
    background,
    case::{Case, Meaning, Numbers},
    error::{Error, Result},
    find::{self, Named, has_ending},
    label::ENDINGS,
    names::NameList,
    plan::Plan,
};

/// The places of pictures and labels.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder of pictures, which may be in folders of their own, or one picture.
    pub pictures: PathBuf,
    /// The folder of labels, in the same folders as their pictures.
    pub labels: PathBuf,
    /// The end of every picture's name before its ending; others are no pictures.
    pub picture_suffix: String,
    /// That of every label's name.
    pub label_suffix: String,
    /// The pictures that count; `None` is all.
    pub list: Option<NameList>,
    /// Reports by its name whether a file is a picture.
    pub is_picture: fn(&Path) -> bool,
}

/// A picture and its label.
#[derive(Debug)]
pub(crate) struct Pair {
    picture: PathBuf,
    label: PathBuf,
}

/// The pairs of a layout in the order of their names, and files that have no other half.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) bare_pictures: Vec<PathBuf>,
    pub(crate) bare_labels: Vec<PathBuf>,
}

/// Plans to score the pictures of a layout, the first `limit` of them, each with its label, in which
/// `first_label` is the first category of `vocabulary`.
///
/// # Errors
/// A folder does not exist, a picture has no label, or a name of the list no picture.
pub fn plan(
    layout: &Layout,
    vocabulary: &v1::Vocabulary,
    first_label: u16,
    limit: Option<usize>,
) -> Result<Plan> {
    let Pairs { pairs, bare_pictures, .. } = layout.pairs()?;
    if let Some(picture) = bare_pictures.first() {
        let name = find::name(&picture.file_name().unwrap_or_default().to_string_lossy()).to_owned();
        let stem = name.strip_suffix(&layout.picture_suffix).unwrap_or(&name).to_owned();
        return Err(Error::NoLabel {
            picture: picture.clone(),
            stem: stem + &layout.label_suffix,
            labels: layout.labels.clone(),
            bare: bare_pictures.len(),
        });
    }
    let numbers = Numbers { first: first_label, background: background::of(vocabulary), ignored: None };
    Ok(of_pairs(pairs, vocabulary, &numbers, limit))
}

/// The plan for pairs whose labels hold these numbers.
pub(crate) fn of_pairs(
    pairs: Vec<Pair>,
    vocabulary: &v1::Vocabulary,
    numbers: &Numbers,
    limit: Option<usize>,
) -> Plan {
    let case = |Pair { picture, label }| Case {
        picture,
        label,
        vocabulary: vocabulary.clone(),
        meaning: Meaning::Vocabulary(numbers.clone()),
    };
    let cases = pairs.into_iter().take(limit.unwrap_or(usize::MAX)).map(case).collect();
    Plan { condition: None, words: None, cases, names: None, background: numbers.background }
}

impl Layout {
    /// Finds the pictures and their labels.
    pub(crate) fn pairs(&self) -> Result<Pairs> {
        if !self.labels.is_dir() {
            return Err(Error::NoLabels(self.labels.clone()));
        }
        let mut pictures =
            find::files(&self.pictures, &self.labels, &self.picture_suffix, |path| (self.is_picture)(path))?;
        if pictures.is_empty() {
            let (folder, suffix) = (self.pictures.clone(), self.picture_suffix.clone());
            return Err(Error::NoPictures { folder, suffix });
        }
        if let Some(list) = &self.list {
            let suffixes = [self.picture_suffix.as_str(), self.label_suffix.as_str()];
            let known = pictures.keys().map(String::as_str);
            let chosen = list.choose(known, &suffixes, &self.pictures)?;
            let chosen = chosen.into_iter().map(str::to_owned).collect::<Vec<_>>();
            pictures = chosen.into_iter().filter_map(|name| pictures.remove_entry(&name)).collect();
        }
        let is_label = |path: &Path| has_ending(path, &ENDINGS);
        let labels = find::files(&self.labels, &self.pictures, &self.label_suffix, is_label)?;
        Ok(paired(pictures, labels))
    }
}

fn paired(pictures: Named, mut labels: Named) -> Pairs {
    let (mut pairs, mut bare_pictures) = (Vec::new(), Vec::new());
    for (name, pictures) in pictures {
        match labels.remove(&name).and_then(preferred) {
            Some(label) => {
                pairs.extend(pictures.into_iter().map(|picture| Pair { picture, label: label.clone() }));
            }
            None => bare_pictures.extend(pictures),
        }
    }
    Pairs { pairs, bare_pictures, bare_labels: labels.into_values().flatten().collect() }
}

/// Of labels with one name, that with the first of the endings.
fn preferred(labels: Vec<PathBuf>) -> Option<PathBuf> {
    let rank = |label: &PathBuf| ENDINGS.iter().position(|ending| has_ending(label, &[ending]));
    labels.into_iter().min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn layout(root: &Path, files: &[&str]) -> Layout {
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        Layout {
            pictures: root.join("images"),
            labels: root.join("labels"),
            picture_suffix: String::new(),
            label_suffix: String::new(),
            list: None,
            is_picture: |path| has_ending(path, &["jpg", "png"]),
        }
    }

    fn labels(layout: &Layout) -> Result<Vec<String>> {
        let plan = plan(layout, &v1::Vocabulary::default(), 1, None)?;
        let name = |case: &Case| {
            case.label.strip_prefix(&layout.labels).unwrap().to_string_lossy().replace('\\', "/")
        };
        Ok(plan.cases.iter().map(name).collect())
    }

    #[test]
    fn labels_have_the_names_of_their_pictures() {
        let root = tempfile::tempdir().unwrap();
        let files = ["images/a.1.jpg", "images/b.png", "images/deep/b.jpg", "labels/a.1.PNG", "labels/b.TIF"];
        let layout = layout(root.path(), &files);
        let missing = labels(&layout).unwrap_err().to_string();
        assert!(missing.contains("b.jpg has no label: there is no b.png (or .tif) in"), "{missing}");
        fs::create_dir(root.path().join("labels/deep")).unwrap();
        ["b.tiff", "b.png"]
            .iter()
            .for_each(|name| fs::write(root.path().join("labels/deep").join(name), "").unwrap());
        assert_eq!(labels(&layout).unwrap(), ["a.1.PNG", "b.TIF", "deep/b.png"]);
        assert_eq!(plan(&layout, &v1::Vocabulary::default(), 1, Some(2)).unwrap().pictures(), 2);

        let one = Layout { pictures: root.path().join("images/b.png"), ..layout.clone() };
        assert_eq!(labels(&one).unwrap(), ["b.TIF"]);
        fs::remove_dir_all(&layout.labels).unwrap();
        assert!(labels(&layout).unwrap_err().to_string().contains("is not there"));
    }

    #[test]
    fn suffixes_are_left_out_and_a_list_chooses() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            "images/bonn/x_left.png",
            "images/ulm/y_left.png",
            "labels/bonn/x_ids.png",
            "labels/bonn/x_color.png",
            "labels/ulm/y_ids.png",
        ];
        let mut layout = layout(root.path(), &files);
        (layout.picture_suffix, layout.label_suffix) = ("_left".into(), "_ids".into());
        assert_eq!(labels(&layout).unwrap(), ["bonn/x_ids.png", "ulm/y_ids.png"]);
        let list = root.path().join("val.txt");
        fs::write(&list, "ulm/y\n").unwrap();
        layout.list = Some(NameList::read(&list).unwrap());
        assert_eq!(labels(&layout).unwrap(), ["ulm/y_ids.png"]);
        layout.picture_suffix = "_right".into();
        let error = labels(&layout).unwrap_err().to_string();
        assert!(error.contains("holds no pictures whose names end in _right"), "{error}");
    }
}
