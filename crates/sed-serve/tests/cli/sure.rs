//! `segment` with the embedded model: contrast words, thresholds, planes of scores, unsure pairs.

use serde_json::{Value, json};

use crate::{
    eval::{answer, example},
    support::{index_map, run, text},
};

/// Segments the farm without files and returns the report.
fn farm(words: &str, more: &[&str]) -> Value {
    let picture = example("farm.png");
    let how = ["segment", text(&picture), "--words", words, "--no-output", "--json"];
    run(&[&how[..], more].concat()).good().json().remove(0)
}

fn share(report: &Value, category: usize) -> f64 {
    report["categories"][category]["area_share"].as_f64().unwrap()
}

#[test]
fn one_word_has_contrast_words_and_the_output_says_so() {
    let (alone, off) = (farm("cow", &[]), farm("cow", &["--contrast", "off"]));
    assert_eq!((share(&off, 0), &off["contrast"]), (1.0, &Value::Null));
    assert!((0.001..0.2).contains(&share(&alone, 0)), "{alone}");
    let names = alone["contrast"]["names"].as_array().unwrap();
    assert!(names.len() > 16 && names.len() <= 64, "{names:?}");
    assert!(alone["contrast"]["pixels"].as_u64().unwrap() > 0);
    assert_eq!(alone["categories"].as_array().unwrap().len(), 1);

    // Five words, or words of one's own.
    assert_eq!(farm("cow, pig, dog, cat, horse", &[])["contrast"], Value::Null);
    let own = farm("cow", &["--contrast", "sky, grass, road"]);
    assert_eq!(own["contrast"]["names"], json!(["sky", "grass", "road"]));

    let picture = example("farm.png");
    let how = ["segment", text(&picture), "--words", "cow", "--no-output"];
    let table = run(&how).good().stdout;
    for part in ["contrast words compete with yours", "--contrast off", "unlabelled"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let table = run(&[&how[..], &["--contrast", "auto"]].concat()).good().stdout;
    assert!(table.contains("compete with yours") && !table.contains("--contrast off"), "{table}");
}

#[test]
fn a_threshold_of_one_category_leaves_the_others_alone() {
    let words = "sky, grass, road, tree, house";
    let (all, cut) = (farm(words, &[]), farm(words, &["--threshold", "sky=1"]));
    assert!(share(&all, 0) > 0.1 && share(&cut, 0) == 0.0);
    for other in 1..5 {
        assert_eq!(all["categories"][other], cut["categories"][other]);
    }
    // That of a category goes before the general one.
    let kept = farm(words, &["--threshold", "1", "--threshold", "sky=0"]);
    assert_eq!(kept["categories"][0], all["categories"][0]);
    assert_eq!(share(&kept, 1), 0.0);
}

#[test]
fn planes_are_files_beside_the_mask() {
    let folder = tempfile::tempdir().unwrap();
    let picture = example("farm.png");
    let words = ["--words", "sky, grass, road, tree, house", "--output", text(folder.path()), "--json"];
    let formats = "overlay,index-png,score-png,runner-up-png,margin-png,score-raw,margin-raw";
    let planes = ["--format", formats, "--fade-unsure"];
    let report = run(&[&["segment", text(&picture)][..], &words, &planes].concat()).good().json().remove(0);
    assert_eq!(report["files"]["planes"].as_array().unwrap().len(), 5);

    let file = |ending: &str| folder.path().join(format!("farm.{ending}"));
    let (width, height, best) = index_map(&file("mask.png"));
    let (.., second) = index_map(&file("runner-up.png"));
    assert!(best.iter().zip(&second).all(|(best, second)| best != second));
    let [scores, margins] =
        ["score.png", "margin.png"].map(|ending| image::open(file(ending)).unwrap().to_luma8());
    assert_eq!(scores.dimensions(), (width, height));
    assert!(scores.iter().zip(margins.iter()).all(|(score, margin)| margin <= score));
    for raw in ["score.f16", "margin.f16"] {
        assert_eq!(std::fs::metadata(file(raw)).unwrap().len(), 2 * u64::from(width * height));
    }

    // Results are no pictures to segment.
    std::fs::copy(&picture, folder.path().join("farm.png")).unwrap();
    let again = run(&["segment", text(folder.path()), "--words", "sky", "--no-output", "--json"]).good();
    assert_eq!(again.json().len(), 1);
}

#[test]
fn words_for_the_same_thing_are_unsure_and_synonyms_of_it_are_one_category() {
    let report = farm("grass, lawn, sky, road, mountain, tree", &[]);
    let pairs = report["ambiguities"].as_array().unwrap();
    let pair = pairs.iter().find(|pair| pair["first"] == "grass" && pair["second"] == "lawn");
    let pair = pair.unwrap_or_else(|| panic!("{pairs:?}"));
    assert!(pair["mean_margin"].as_f64().unwrap() < 0.1 && pair["pixels"].as_u64().unwrap() > 0);

    let picture = example("farm.png");
    let how = ["segment", text(&picture), "--words", "grass, lawn, sky, road, mountain", "--no-output"];
    let table = run(&how).good().stdout;
    assert!(table.contains("unsure  grass or lawn: "), "{table}");

    let found = |mode: &str| answer(&picture, &["grass|lawn", "sky"], &["--synonyms", mode]).2;
    let (mean, best) = (found("mean"), found("best"));
    let grass = |map: &[u8]| map.iter().filter(|index| **index == 0).count() * 5 > map.len();
    assert!(grass(&mean) && grass(&best));
}
