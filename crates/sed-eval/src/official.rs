//! The datasets of SED's own evaluation, where its scripts put them, and how it counts their labels.
//!
//! Source of folders and values: `datasets/README.md`, `datasets/prepare_*.py` and
//! `sed/data/datasets/register_*.py` in github.com/xb534/SED at commit db20d93, which are those of CAT-Seg. The
//! value 65535 of PASCAL Context 459 is that of SAN
//! (github.com/MendelXu/SAN, `san/data/datasets/register_pcontext.py`).

use std::path::{Path, PathBuf};

use sed_client::named;

use crate::{
    background,
    case::Numbers,
    dataset::{Layout, Pairs, of_pairs},
    error::{Error, Result},
    names::NameList,
    plan::Plan,
};

/// A dataset of the official evaluation.
#[derive(Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name, which is that of its vocabulary.
    pub name: &'static str,
    /// Its name in the paper's tables.
    pub short: &'static str,
    pictures: &'static str,
    /// Folders of labels, of which the first that exists counts.
    labels: &'static [&'static str],
    /// The values of pixels that do not count.
    ignored: &'static [u16],
    /// The script that writes the labels.
    script: &'static str,
    /// True where the folder of pictures holds those of other parts, too.
    shares_pictures: bool,
}

/// All datasets, in the order of the paper's tables.
pub static DATASETS: [Dataset; 7] = [
    Dataset {
        name: "ade20k-847",
        short: "A-847",
        pictures: "ADE20K_2021_17_01/images_detectron2/validation",
        labels: &["ADE20K_2021_17_01/annotations_detectron2/validation"],
        ignored: &[65_535],
        script: "prepare_ade20k_full.py",
        shares_pictures: false,
    },
    Dataset {
        name: "pascal-context-459",
        short: "PC-459",
        pictures: "VOCdevkit/VOC2010/JPEGImages",
        labels: &["VOCdevkit/VOC2010/annotations_detectron2/pc459_val"],
        ignored: &[459, 65_535],
        script: "prepare_pascal_context_459.py",
        shares_pictures: true,
    },
    Dataset {
        name: "ade20k-150",
        short: "A-150",
        pictures: "ADEChallengeData2016/images/validation",
        labels: &["ADEChallengeData2016/annotations_detectron2/validation"],
        ignored: &[255],
        script: "prepare_ade20k_150.py",
        shares_pictures: false,
    },
    Dataset {
        name: "pascal-context-59",
        short: "PC-59",
        pictures: "VOCdevkit/VOC2010/JPEGImages",
        labels: &["VOCdevkit/VOC2010/annotations_detectron2/pc59_val"],
        ignored: &[255],
        script: "prepare_pascal_context_59.py",
        shares_pictures: true,
    },
    Dataset {
        name: "pascal-voc-20",
        short: "PAS-20",
        pictures: "VOCdevkit/VOC2012/JPEGImages",
        labels: &["VOCdevkit/VOC2012/annotations_detectron2/val", "VOCdevkit/VOC2012/annotations_detectron2"],
        ignored: &[255],
        script: "prepare_voc.py",
        shares_pictures: true,
    },
    Dataset {
        name: "pascal-voc-20b",
        short: "PAS-20b",
        pictures: "VOCdevkit/VOC2012/JPEGImages",
        labels: &[
            "VOCdevkit/VOC2012/annotations_detectron2_bg/val",
            "VOCdevkit/VOC2012/annotations_detectron2_bg",
        ],
        ignored: &[255],
        script: "prepare_voc.py",
        shares_pictures: true,
    },
    Dataset {
        name: "coco-stuff-171",
        short: "COCO-Stuff",
        pictures: "coco-stuff/images/val2017",
        labels: &["coco-stuff/annotations_detectron2/val2017"],
        ignored: &[255],
        script: "prepare_coco_stuff.py",
        shares_pictures: false,
    },
];

/// Files of a dataset that have no other half and are left out, as in the official evaluation.
#[derive(Debug, Default)]
pub struct Bare {
    /// Pictures without a label; none where the folder holds those of other parts, too.
    pub pictures: Vec<PathBuf>,
    /// Labels without a picture.
    pub labels: Vec<PathBuf>,
}

impl Dataset {
    /// Reports whether the labels of this dataset are below `root`.
    pub fn is_in(&self, root: &Path) -> bool {
        self.labels(root).is_some()
    }

    fn labels(&self, root: &Path) -> Option<PathBuf> {
        self.labels.iter().map(|folder| root.join(folder)).find(|folder| folder.is_dir())
    }

    /// Returns the folders of pictures and labels below `root`, the folder that the scripts know as
    /// `$DETECTRON2_DATASETS`.
    ///
    /// # Errors
    /// One of them does not exist.
    pub fn folders(&self, root: &Path) -> Result<(PathBuf, PathBuf)> {
        let pictures = root.join(self.pictures);
        if !pictures.is_dir() {
            return Err(Error::NoDataset { name: self.name, half: "pictures", folder: pictures, script: "" });
        }
        let Some(labels) = self.labels(root) else {
            let (folder, script) = (root.join(self.labels[0]), self.script);
            return Err(Error::NoDataset { name: self.name, half: "labels", folder, script });
        };
        Ok((pictures, labels))
    }

    /// Plans to score the first `limit` pictures of this dataset, or those of a list, below `root`.
    /// Pictures and labels without each other are left out.
    ///
    /// # Errors
    /// The folder of pictures or labels does not exist, they have no name in common, or a name of the list is
    /// that of no picture.
    pub fn plan(
        &self,
        root: &Path,
        list: Option<NameList>,
        is_picture: fn(&Path) -> bool,
        limit: Option<usize>,
    ) -> Result<(Plan, Bare)> {
        let (pictures, labels) = self.folders(root)?;
        let has_list = list.is_some();
        let layout = Layout {
            pictures,
            labels,
            picture_suffix: String::new(),
            label_suffix: String::new(),
            list,
            is_picture,
        };
        let Pairs { pairs, bare_pictures, bare_labels } = layout.pairs()?;
        if pairs.is_empty() {
            let Layout { pictures, labels, .. } = layout;
            return Err(Error::NoPairs { name: self.name, pictures, labels });
        }
        let vocabulary = named(self.name);
        let background = background::of(&vocabulary);
        let numbers = Numbers { first: 0, background, ignored: Some(self.ignored) };
        let bare = Bare {
            pictures: if self.shares_pictures { Vec::new() } else { bare_pictures },
            // A list leaves pictures out on purpose.
            labels: if has_list { Vec::new() } else { bare_labels },
        };
        Ok((of_pairs(pairs, &vocabulary, &numbers, limit), bare))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::paper;

    #[test]
    fn every_dataset_is_found_where_its_script_puts_it() {
        let root = tempfile::tempdir().unwrap();
        let make = |file: PathBuf| {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        };
        let plan = |dataset: &Dataset| dataset.plan(root.path(), None, |_| true, None);
        for dataset in &DATASETS {
            assert!(!dataset.is_in(root.path()));
            let pictures = root.path().join(dataset.pictures);
            if !pictures.is_dir() {
                let error = plan(dataset).unwrap_err().to_string();
                assert!(error.contains(dataset.name) && error.contains(dataset.pictures), "{error}");
            }
            ["a.jpg", "b.jpg"].iter().for_each(|name| make(pictures.join(name)));
            let error = plan(dataset).unwrap_err().to_string();
            assert!(error.contains(dataset.labels[0]) && error.contains(dataset.script), "{error}");
            for folder in dataset.labels.iter().rev() {
                let labels = root.path().join(folder);
                ["a.png", "c.png"].iter().for_each(|name| make(labels.join(name)));
                let (plan, bare) = plan(dataset).unwrap();
                assert_eq!(plan.cases[0].label, labels.join("a.png"));
                assert_eq!(plan.pictures(), 1);
                assert_eq!(bare.pictures.len(), usize::from(!dataset.shares_pictures));
                assert_eq!(bare.labels.first(), Some(&labels.join("c.png")));
            }
        }
    }

    #[test]
    fn the_papers_datasets_are_among_them() {
        let reported: Vec<&str> = DATASETS
            .iter()
            .filter(|dataset| paper::rows(dataset.name).next().is_some())
            .map(|dataset| dataset.short)
            .collect();
        assert_eq!(reported, ["A-847", "PC-459", "A-150", "PC-59", "PAS-20"]);
    }
}
