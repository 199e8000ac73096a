//! `eval` over thresholds, and with questions of a single word, on the embedded model.

use serde_json::{Value, json};

use crate::{
    eval::{Dataset, WORDS, answer, assert_near, scene},
    support::{run, text},
};

#[test]
fn precision_and_recall_are_counted_over_thresholds() {
    // Every second pixel of the label is that of the answer, every other one the next category.
    let changed = |at: usize, category: u8| u16::from((category + (at % 2) as u8) % WORDS.len() as u8);
    let dataset = Dataset::new(changed);
    let words = WORDS.join(",");
    let how = ["--words", &words, "--thresholds"];
    let run = dataset.eval(&[&how[..], &["--json"]].concat()).good().json().remove(0)["thresholds"][0].take();
    assert_eq!((&run["pictures"], &run["words"]), (&json!(2), &json!(WORDS.len())));
    let points = run["all"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 20);
    assert_near(&points[0]["precision"], 50.0);
    assert_near(&points[0]["recall"], 50.0);
    let recalls: Vec<f64> = points.iter().map(|point| point["recall"].as_f64().unwrap()).collect();
    assert!(recalls.is_sorted_by(|low, high| low >= high) && recalls[19] < 50.0, "{recalls:?}");
    let names: Vec<&Value> = run["categories"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, WORDS);
    for category in run["categories"].as_array().unwrap() {
        let labelled = category["labelled_pixels"].as_u64().unwrap();
        assert_eq!(labelled > 0, !category["points"][0]["recall"].is_null(), "{category}");
    }

    let table = dataset.eval(&[&how[..], &["--per-category"]].concat()).good().stdout;
    for part in ["threshold", "0.95", "best F1 at", "precision at 0", "50.00", "sky"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn a_threshold_of_the_curve_is_that_of_a_request() {
    let dataset = Dataset::new(|_, category| u16::from(category));
    let words = WORDS.join(",");
    let measured = |more: &[&str], key: &str| {
        let how = [&["--words", &words, "--json"][..], more].concat();
        dataset.eval(&how).good().json().remove(0)[key].take()
    };
    let curve = measured(&["--thresholds"], "thresholds");
    let at_half = curve[0]["all"]["points"][10].clone();
    assert_near(&at_half["threshold"], 0.5);
    // A score within the rounding of 16 bits may lie on either side.
    let accuracy = measured(&["--threshold", "0.5"], "dataset")["pixel_accuracy"].as_f64().unwrap();
    let recall = at_half["recall"].as_f64().unwrap();
    assert!((recall - accuracy).abs() < 0.1, "{recall} and {accuracy}");
}

#[test]
fn one_word_claims_all_without_contrast_words() {
    let root = tempfile::tempdir().unwrap();
    let list = ["sky", "grass", "tree", "elephant", "airplane", "cup", "fish", "guitar", "snow", "car"];
    let (_, _, label) = answer(&crate::eval::example("farm.png"), &list[..3], &[]);
    let words = json!({ "10": list, "objects": 0, "present": 3, "categories": list });
    scene(&root.path().join("trained"), 0, "farm.png", &label, &words);
    let how = ["eval", text(root.path()), "--single"];
    let scores = run(&[&how[..], &["--json"]].concat()).good().json().remove(0);
    let [row] = &scores["single"].as_array().unwrap()[..] else { panic!("one condition") };
    assert_eq!((&row["condition"], &row["pictures"]), (&json!("trained"), &json!(1)));
    assert_eq!((&row["present"], &row["absent"]), (&json!(3), &json!(3)));
    assert_near(&row["without"]["absent_taken"], 100.0);
    let figure = |way: &str, figure: &str| row[way][figure].as_f64().unwrap_or_else(|| panic!("{row}"));
    assert!(figure("with", "absent_taken") < 50.0, "{row}");
    assert!(figure("with", "stuff_miou") > figure("without", "stuff_miou"), "{row}");

    let table = run(&how).good().stdout;
    for part in ["trained", "3 + 3", "absent taken", "100.00"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn scenes_are_asked_with_synonyms_and_with_contrast_words() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("synonyms");
    let (_, _, label) = answer(&crate::eval::example("farm.png"), &["sky", "grass"], &[]);
    let words =
        json!({ "2": ["heavens", "meadow"], "objects": 0, "present": 2, "categories": ["sky", "grass"] });
    scene(&folder, 0, "farm.png", &label, &words);
    let accuracy = |more: &[&str]| {
        let how = [&["eval", text(root.path()), "--json"][..], more].concat();
        let scores = run(&how).good().json().remove(0);
        scores["scenes"][0]["pixel_accuracy"].as_f64().unwrap()
    };
    let [alone, mean, best] = [&[][..], &["--synonyms", "mean"], &["--synonyms", "best"]].map(accuracy);
    assert!(alone > 50.0 && mean > 50.0 && best > 50.0, "{alone} {mean} {best}");
    assert!(alone != mean && alone != best, "the names of the categories change nothing: {alone}");
    // What is neither sky nor grass is labelled as one of them: contrast words cost accuracy here.
    assert!(accuracy(&["--contrast", "auto"]) < accuracy(&["--contrast", "off"]));
}
