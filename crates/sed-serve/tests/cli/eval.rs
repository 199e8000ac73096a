//! `eval` on the embedded model: its own answers as labels, and labels that differ from them by a known amount.

use std::{
    fs::{copy, create_dir_all, write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Outcome, index_map, run, text};

pub(crate) const WORDS: [&str; 6] = ["sky", "grass", "sea", "sand", "tree", "cow"];

/// A picture that comes with the model.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/sed-tiny/examples").join(name)
}

/// The answer of `segment` without contrast words: width, height and the word of every pixel.
pub(crate) fn answer(picture: &Path, words: &[&str], more: &[&str]) -> (u32, u32, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let words = words.join(",");
    let how = ["segment", text(picture), "--words", &words, "--output", text(folder.path())];
    run(&[&how[..], &["--contrast", "off"], more].concat()).good();
    let name = picture.file_stem().unwrap().to_str().unwrap();
    index_map(&folder.path().join(format!("{name}.mask.png")))
}

/// A dataset of two pictures whose labels are the answers, changed by `change` and kept in 16 bits.
pub(crate) struct Dataset {
    root: TempDir,
    /// Answer and label of every pixel.
    pixels: Vec<(u8, u16)>,
}

impl Dataset {
    pub(crate) fn new(change: impl Fn(usize, u8) -> u16) -> Self {
        let root = tempfile::tempdir().unwrap();
        ["pictures", "labels"].iter().for_each(|folder| create_dir_all(root.path().join(folder)).unwrap());
        let mut pixels = Vec::new();
        for name in ["farm.png", "beach.png"] {
            let (width, height, indices) = answer(&example(name), &WORDS, &[]);
            let label: Vec<u16> =
                indices.iter().enumerate().map(|(at, category)| change(at, *category)).collect();
            pixels.extend(indices.into_iter().zip(label.iter().copied()));
            copy(example(name), root.path().join("pictures").join(name)).unwrap();
            let label = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, label).unwrap();
            label.save(root.path().join("labels").join(name)).unwrap();
        }
        Self { root, pixels }
    }

    /// A path below the folder of the dataset.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Answer and label of every pixel.
    pub(crate) fn pixels(&self) -> &[(u8, u16)] {
        &self.pixels
    }

    pub(crate) fn eval(&self, more: &[&str]) -> Outcome {
        let [pictures, labels] = ["pictures", "labels"].map(|folder| self.root.path().join(folder));
        run(&[&["eval", text(&pictures), "--labels", text(&labels)][..], more].concat())
    }

    /// detectron2's figures from its matrix: rows are answers, columns labels, the last of each is no category.
    fn figures(&self, first_label: u16) -> [f64; 4] {
        let n = WORDS.len();
        let mut matrix = vec![vec![0.0; n + 1]; n + 1];
        for (answer, label) in &self.pixels {
            let label = usize::from(label.wrapping_sub(first_label)).min(n);
            matrix[usize::from(*answer)][label] += 1.0;
        }
        let right = |c: usize| matrix[c][c];
        let labelled = |c: usize| (0..n).map(|row| matrix[row][c]).sum::<f64>();
        let predicted = |c: usize| matrix[c][..n].iter().sum::<f64>();
        let iou = |c: usize| right(c) / (labelled(c) + predicted(c) - right(c));
        let there: Vec<usize> = (0..n).filter(|c| labelled(*c) > 0.0).collect();
        let all: f64 = there.iter().map(|c| labelled(*c)).sum();
        let sum = |of: &dyn Fn(usize) -> f64| there.iter().map(|c| of(*c)).sum::<f64>();
        let mean = |of: &dyn Fn(usize) -> f64| sum(of) / there.len() as f64;
        let weighted = sum(&|c| iou(c) * labelled(c) / all);
        [mean(&iou), weighted, mean(&|c| right(c) / labelled(c)), sum(&right) / all]
            .map(|share| 100.0 * share)
    }
}

#[track_caller]
pub(crate) fn assert_near(got: &Value, want: f64) {
    assert!((got.as_f64().unwrap() - want).abs() < 1e-9, "{got} is not {want}");
}

#[test]
fn the_models_own_answers_are_all_right() {
    let dataset = Dataset::new(|_, category| u16::from(category));
    let words = WORDS.join(",");
    let scores = dataset.eval(&["--words", &words, "--json"]).good().json().remove(0);
    let run = &scores["dataset"];
    for figure in ["miou", "frequency_weighted_iou", "mean_accuracy", "pixel_accuracy"] {
        assert_near(&run[figure], 100.0);
    }
    assert_eq!((&run["pictures"], &run["ignored_pixels"], &run["words"]), (&json!(2), &json!(0), &json!(6)));
    let names: Vec<&str> = run["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|category| category["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, WORDS);
    assert_eq!(run["survivors"].as_array().unwrap().len(), 3);
    assert!(
        run["mean_latency_ms"].as_f64().unwrap() > 0.0 && run["images_per_second"].as_f64().unwrap() > 0.0
    );
    assert!(scores["model"]["digest"].as_str().unwrap().starts_with("sha256:"));

    let table = dataset.eval(&["--words", &words, "--limit", "1", "--per-category"]).good().stdout;
    for part in ["sed-tiny", "mean IoU", "100.00", "of 6 categories", "of 1 pictures", "category", "sky "] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn other_labels_give_the_figures_of_the_matrix() {
    // Counted from 3; in odd columns the next category, and every seventh pixel is none.
    let first = 3;
    let changed = |at: usize, category: u8| match at {
        at if at % 14 == 0 => 0,
        at if at % 14 == 7 => 9,
        at if at % 2 == 1 => first + (u16::from(category) + 1) % WORDS.len() as u16,
        _ => first + u16::from(category),
    };
    let dataset = Dataset::new(changed);
    let words = WORDS.join(",");
    let how = ["--words", &words, "--first-label", "3", "--jobs", "1", "--json"];
    let run = dataset.eval(&how).good().json().remove(0)["dataset"].take();
    let [miou, weighted, accuracy, pixels] = dataset.figures(first);
    assert_near(&run["miou"], miou);
    assert_near(&run["frequency_weighted_iou"], weighted);
    assert_near(&run["mean_accuracy"], accuracy);
    assert_near(&run["pixel_accuracy"], pixels);
    // Of seven pixels in a row three or four are in even columns, one is ignored.
    assert!((pixels - 50.0).abs() < 0.1, "{pixels}");
    let ignored = dataset.pixels.iter().filter(|(_, label)| [0, 9].contains(label)).count();
    assert_eq!(run["ignored_pixels"], json!(ignored));
}

#[test]
fn one_broken_picture_is_named_and_counted_and_the_others_are_scored() {
    let dataset = Dataset::new(|_, category| u16::from(category));
    let [pictures, labels] = ["pictures", "labels"].map(|folder| dataset.root.path().join(folder));
    // A broken picture with a sound label, a sound picture with a broken label; and what macOS leaves beside them.
    write(pictures.join("broken.png"), "no picture").unwrap();
    copy(labels.join("farm.png"), labels.join("broken.png")).unwrap();
    copy(example("farm.png"), pictures.join("unlabelled.png")).unwrap();
    write(labels.join("unlabelled.png"), "no label").unwrap();
    ["._farm.png", ".beach.png"].iter().for_each(|name| write(pictures.join(name), "hidden").unwrap());

    let words = WORDS.join(",");
    let outcome = dataset.eval(&["--words", &words, "--json"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("2 of 4 pictures failed and are left out"), "{}", outcome.stderr);
    for (file, said) in [("pictures/broken.png", "image.encoded"), ("pictures/unlabelled.png", "the label")] {
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains(file)).collect();
        assert!(lines.len() == 1 && lines[0].contains(said), "{file}: {}", outcome.stderr);
    }
    let run = outcome.json().remove(0)["dataset"].take();
    assert_eq!(run["pictures"], 2);
    assert_near(&run["miou"], 100.0);
    let failed: Vec<&str> =
        run["failed"].as_array().unwrap().iter().map(|one| one["picture"].as_str().unwrap()).collect();
    assert!(failed.len() == 2 && failed[0].ends_with("broken.png") && failed[1].ends_with("unlabelled.png"));

    let outcome = dataset.eval(&["--words", &words]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains("of 2 pictures, 2 failed") && outcome.stdout.contains("100.00"));
    // A request that would fail with every picture ends the run at once.
    let outcome = dataset.eval(&["--vocabulary", "no-such"]);
    assert_eq!((outcome.code, outcome.stderr.matches("VOCABULARY_NOT_FOUND").count()), (1, 1));
    assert!(outcome.stdout.is_empty());
}

/// A JPEG with an EXIF orientation: a picture as it is stored, and the same upside down.
fn turned(picture: &Path, path: &Path, orientation: u8) {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::open(picture).unwrap().to_rgb8().write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let mut exif = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    write(path, [&jpeg[..2], &exif, &jpeg[2..]].concat()).unwrap();
}

#[test]
fn a_picture_that_lies_otherwise_than_its_label_is_said_and_can_be_taken_as_stored() {
    let root = tempfile::tempdir().unwrap();
    let [pictures, labels] = ["pictures", "labels"].map(|folder| root.path().join(folder));
    [&pictures, &labels].iter().for_each(|folder| create_dir_all(folder).unwrap());
    // The label is the answer to the picture as it is stored.
    let stored = root.path().join("farm.jpg");
    turned(&example("farm.png"), &stored, 1);
    let (width, height, label) = answer(&stored, &WORDS, &[]);
    image::GrayImage::from_raw(width, height, label).unwrap().save(labels.join("farm.png")).unwrap();
    turned(&example("farm.png"), &pictures.join("farm.jpg"), 3);

    let words = WORDS.join(",");
    let eval = |more: &[&str]| {
        let how = ["eval", text(&pictures), "--labels", text(&labels), "--words", &words, "--json"];
        let outcome = run(&[&how[..], more].concat()).good();
        let run = outcome.json().remove(0)["dataset"].take();
        (run["pixel_accuracy"].as_f64().unwrap(), run["turned"].clone(), outcome.stderr)
    };
    let (accuracy, turned, said) = eval(&[]);
    assert!(accuracy < 90.0, "{accuracy}");
    let farm = pictures.join("farm.jpg");
    assert_eq!(turned, json!([text(&farm)]));
    assert!(said.contains("1 of the pictures") && said.contains(text(&farm)), "{said}");
    assert!(said.contains("--exif ignore"), "{said}");

    let (same, _, said) = eval(&["--exif", "apply"]);
    assert_eq!((same, said.contains("--exif")), (accuracy, false), "{said}");
    let (accuracy, turned, said) = eval(&["--exif", "ignore"]);
    assert_eq!((accuracy, turned), (100.0, json!([])));
    assert!(!said.contains("turned"), "{said}");
}

/// Writes a scene from a picture.
pub(crate) fn scene(folder: &Path, index: usize, picture: &str, label: &[u8], words: &Value) {
    create_dir_all(folder).unwrap();
    let path = |ending: &str| folder.join(format!("{index:03}.{ending}"));
    copy(example(picture), path("png")).unwrap();
    let (width, height) = image::image_dimensions(example(picture)).unwrap();
    image::GrayImage::from_raw(width, height, label.to_vec()).unwrap().save(path("label.png")).unwrap();
    write(path("json"), words.to_string()).unwrap();
}

#[test]
fn scenes_are_added_up_by_category() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("trained");
    // The first scene is all right. In the second all is cow; what is found of the meadow counts against grass.
    let (_, _, first) = answer(&example("farm.png"), &["sky", "grass"], &[]);
    let stuff = json!({ "2": ["sky", "grass"], "objects": 0, "present": 2, "categories": ["sky", "grass"] });
    scene(&folder, 0, "farm.png", &first, &stuff);
    let (_, _, second) = answer(&example("savanna.png"), &["cow", "meadow"], &[]);
    let cow = json!({ "2": ["cow", "meadow"], "objects": 1, "present": 1, "categories": ["cow", "grass"] });
    scene(&folder, 1, "savanna.png", &vec![0; second.len()], &cow);

    let count = |pixels: &[u8], word: u8| pixels.iter().filter(|pixel| **pixel == word).count() as f64;
    let (sky, grass) = (count(&first, 0), count(&first, 1));
    let (right, wrong) = (count(&second, 0), count(&second, 1));
    assert!(sky > 0.0 && grass > 0.0 && wrong > 0.0, "the scenes show nothing: {sky} {grass} {wrong}");

    let scores = run(&["eval", text(root.path()), "--json"]).good().json().remove(0);
    let [found] = &scores["scenes"].as_array().unwrap()[..] else { panic!("one condition at one count") };
    assert_eq!((&found["condition"], &found["words"]), (&json!("trained"), &json!(2)));
    let (grass_iou, cow_iou) = (100.0 * grass / (grass + wrong), 100.0 * right / (right + wrong));
    assert_near(&found["stuff_miou"], (100.0 + grass_iou) / 2.0);
    assert_near(&found["object_miou"], cow_iou);
    assert_near(&found["miou"], (100.0 + grass_iou + cow_iou) / 3.0);
    assert_near(&found["pixel_accuracy"], 100.0 * (sky + grass + right) / (sky + grass + right + wrong));

    let table = run(&["eval", text(&folder), "--words-count", "2", "--per-category"]).good().stdout;
    for part in ["trained", "objects", "stuff", "2.0 → 2.0 → 2.0", "grass"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let outcome = run(&["eval", text(root.path()), "--words-count", "40"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("no list of 40 words with categories; there are [2]"),
        "{}",
        outcome.stderr
    );
    let outcome = run(&["eval", text(root.path()), "--rejection", "1"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("evaluate.py --write"), "{}", outcome.stderr);
}

#[test]
fn rejection_is_compared_to_the_full_path() {
    let root = tempfile::tempdir().unwrap();
    let words = ["sky", "grass", "sea", "sand", "tree", "cow", "car", "cup", "fish", "lamp"];
    let [full, least] = ["0", "1"].map(|top_k| answer(&example("farm.png"), &words, &["--top-k", top_k]).2);
    let list = json!({ "300": words, "objects": 0, "present": 0, "categories": [] });
    scene(root.path(), 0, "farm.png", &full, &list);
    let scores = run(&["eval", text(root.path()), "--rejection", "1,1000", "--json"]).good().json().remove(0);
    let rows = scores["rejection"].as_array().unwrap();
    let top_ks: Vec<&Value> = rows.iter().map(|row| &row["top_k"]).collect();
    assert_eq!(top_ks, [0, 1, 1000]);
    let same = full.iter().zip(&least).filter(|(full, least)| full == least).count();
    let same = 100.0 * same as f64 / full.len() as f64;
    // The label is the full path's own answer.
    for (row, want) in rows.iter().zip([100.0, same, 100.0]) {
        assert_near(&row["agreement"], want);
        assert_near(&row["pixel_accuracy"], want);
        for figure in ["decoder_ms", "whole_ms", "decoder_speedup", "speedup"] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    assert_eq!(rows[0]["survivors"], json!([10.0, 10.0, 10.0]));
    assert_eq!(rows[2]["survivors"], rows[0]["survivors"]);
    let survivors: Vec<f64> =
        rows[1]["survivors"].as_array().unwrap().iter().map(|mean| mean.as_f64().unwrap()).collect();
    assert!(survivors.is_sorted_by(|left, right| left >= right) && survivors[2] >= 1.0, "{survivors:?}");

    let table = run(&["eval", text(root.path()), "--rejection", "1"]).good().stdout;
    assert!(table.contains("agreement") && table.contains("10.0 → 10.0 → 10.0"), "{table}");
}

#[test]
fn what_is_wrong_with_a_dataset_is_said_with_its_file() {
    let root = tempfile::tempdir().unwrap();
    let [pictures, labels] = ["pictures", "labels"].map(|folder| root.path().join(folder));
    [&pictures, &labels].iter().for_each(|folder| create_dir_all(folder).unwrap());
    copy(example("farm.png"), pictures.join("farm.png")).unwrap();
    let refused = |words: [&str; 2], want: &str| {
        let outcome = run(&[&["eval", text(&pictures), "--labels", text(&labels)][..], &words].concat());
        assert_eq!(outcome.code, 1, "{}", outcome.stdout);
        assert!(outcome.stderr.contains(want), "no {want:?} in {}", outcome.stderr);
    };
    let cat = ["--words", "cat, sky"];
    refused(cat, "farm.png has no label: there is no farm.png (or .tif) in");

    let label = labels.join("farm.png");
    image::GrayImage::new(3, 2).save(&label).unwrap();
    refused(cat, "farm.png is 3 × 2 and the picture");
    refused(["--vocabulary", "no-such"], "VOCABULARY_NOT_FOUND");
    image::RgbImage::new(3, 2).save(&label).unwrap();
    refused(cat, "it holds colours");

    let (width, height) = image::image_dimensions(example("farm.png")).unwrap();
    image::GrayImage::from_pixel(width, height, image::Luma([200])).save(&label).unwrap();
    refused(cat, "no pixel of any label is in the vocabulary");
    write(pictures.join("farm.png"), "no picture").unwrap();
    refused(cat, "pictures/farm.png: image.encoded");
}

#[test]
fn words_belong_to_labels_and_labels_need_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = text(folder.path());
    let outcome = run(&["eval", folder]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("holds no scenes"), "{}", outcome.stderr);
    let wrong: [&[&str]; 9] = [
        &["--words", "cat"],
        &["--labels", folder],
        &["--first-label", "1"],
        &["--labels", folder, "--words", "cat", "--rejection", "1"],
        &["--rejection", "1,0"],
        &["--rejection", "1", "--top-k", "2"],
        &["--thresholds", "--threshold", "0.5"],
        &["--thresholds", "--single"],
        &["--labels", folder, "--words", "cat", "--single"],
    ];
    for arguments in wrong {
        let outcome = run(&[&["eval", folder][..], arguments].concat());
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("--help"), "{}", outcome.stderr);
    }
}
