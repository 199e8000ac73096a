//! `eval` on datasets of the official evaluation. `tests/eval` compares all of them with scikit-learn.

use std::fs::{create_dir_all, write};

use serde_json::json;

use crate::{
    eval::{answer, assert_near, example},
    support::{Outcome, run, sed_serve, text},
};

const BACKGROUND: u8 = 20;

#[test]
fn the_background_of_voc_is_one_category() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("VOCdevkit/VOC2012");
    let [pictures, labels] = ["JPEGImages", "annotations_detectron2_bg/val"].map(|part| folder.join(part));
    [&pictures, &labels].iter().for_each(|folder| create_dir_all(folder).unwrap());
    for name in ["farm", "winter"] {
        let picture = image::open(example(&format!("{name}.png"))).unwrap().to_rgb8();
        picture.save(pictures.join(format!("{name}.jpg"))).unwrap();
    }
    // The label is the answer of the same words, the background as one; every fifth pixel does not count.
    let words: Vec<String> =
        serde_json::from_str(include_str!("../../../sed-model/assets/vocabularies/pascal-voc-20b.json"))
            .unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let how = ["--resize", "official", "--top-k", "0"];
    let (width, height, indices) = answer(&pictures.join("farm.jpg"), &words, &how);
    assert!(indices.iter().any(|category| *category > BACKGROUND));
    let value = |(at, category): (usize, &u8)| if at % 5 == 0 { 255 } else { (*category).min(BACKGROUND) };
    let label = indices.iter().enumerate().map(value).collect();
    image::GrayImage::from_raw(width, height, label).unwrap().save(labels.join("farm.png")).unwrap();

    let data = ["--dataset", "pascal-voc-20b", "--data", text(root.path())];
    let by_flags = ["--vocabulary", "pascal-voc-20b", "--labels", text(&labels)];
    let farm = pictures.join("farm.jpg");
    let by_flags = [&[text(&farm)][..], &by_flags, &how].concat();
    for arguments in [&data[..], &by_flags] {
        let run = run(&[&["eval", "--json"], arguments].concat()).good().json().remove(0)["dataset"].take();
        assert_near(&run["miou"], 100.0);
        assert_eq!((&run["pictures"], &run["words"]), (&json!(1), &json!(59)));
        assert_eq!(run["categories"].as_array().unwrap().len(), 21);
        assert_eq!(run["categories"][20]["name"], "background");
    }
    let table = run(&[&["eval"], &data[..]].concat()).good().stdout;
    assert!(
        table.contains("39 of them count as background") && table.contains("of 21 categories"),
        "{table}"
    );

    // A label of another dataset is a damaged one.
    image::GrayImage::from_pixel(width, height, image::Luma([30])).save(labels.join("winter.png")).unwrap();
    let outcome = run(&[&["eval"], &data[..]].concat());
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("neither a category (0 to 20) nor ignored (255)"), "{}", outcome.stderr);
    let said = "1 of 2 pictures failed and are left out of the figures: winter.jpg";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    let strict = run(&[&["eval", "--strict", "--jobs", "1"], &data[..]].concat());
    assert_eq!((strict.code, strict.stdout.as_str()), (1, ""));
    assert!(strict.stderr.contains("winter.jpg: the label"), "{}", strict.stderr);

    let mut by_variable = sed_serve(&["eval", "--table"]);
    let outcome = Outcome::of(by_variable.env("DETECTRON2_DATASETS", root.path()));
    assert_eq!(outcome.code, 1);
    let table = "| pascal-voc-20b (PAS-20b) | 1 | 7 of 21 | 100.00 | 100.00 | 100.00 | 100.00 | – | – |";
    assert!(outcome.stdout.contains(table), "{}", outcome.stdout);
}

#[test]
fn flags_that_contradict_the_protocol_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = text(folder.path());
    let list = format!("{folder}/val.txt");
    write(&list, "a\n").unwrap();
    let voc = ["--dataset", "pascal-voc-20", "--data", folder];
    let wrong: [&[&str]; 12] = [
        &[],
        &["--dataset", "voc", "--data", folder],
        &[&[folder], &voc[..]].concat(),
        &[&["--table"], &voc[..]].concat(),
        &[&["--labels", folder], &voc[..]].concat(),
        &[&["--words", "cat"], &voc[..]].concat(),
        &[&["--fast", "--top-k", "2"], &voc[..]].concat(),
        &[&["--single"], &voc[..]].concat(),
        &[folder, "--fast"],
        &[folder, "--data", folder],
        &[folder, "--list", &list],
        &["--table", "--data", folder, "--thresholds"],
    ];
    for arguments in wrong {
        let outcome = run(&[&["eval"], arguments].concat());
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("--help"), "{}", outcome.stderr);
    }
}
