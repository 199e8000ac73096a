//! `segment` on the reduced model: the index maps, reports and files of the reference outputs.

use serde_json::{Value, json};

use crate::support::{assert_same_map, five_categories, index_map, nano, official_words, run, text};

/// Segments the picture of the five-category case with a checkpoint and returns the report.
fn segment(checkpoint: &str, top_k: &str, output: &std::path::Path) -> Value {
    let words = official_words(output);
    let outcome = run(&[
        "segment",
        text(&nano("img_b.png")),
        "--model",
        text(&nano(checkpoint)),
        "--words-file",
        text(&words),
        "--official-words",
        "--resize",
        "official",
        "--top-k",
        top_k,
        "--output",
        text(output),
        "--json",
    ]);
    outcome.good().json().remove(0)
}

#[test]
fn the_official_checkpoint_gives_the_reference_maps() {
    for (top_k, mode) in [("0", "normal"), ("2", "fast2")] {
        let folder = tempfile::tempdir().unwrap();
        let report = segment("sed_nano.pth", top_k, folder.path());
        let known = &five_categories()["modes"][mode];

        let near_ties = known["argmax_pixels_with_gap_below_1e-4"].as_u64().unwrap();
        let want = nano(&format!("sed_nano.c5.{mode}.argmax.png"));
        assert_same_map(&folder.path().join("img_b.mask.png"), &want, near_ties);

        let survivors: Vec<Value> = report["rejection"]["levels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|level| level["survivors"].clone())
            .collect();
        let all = json!([0, 1, 2, 3, 4]);
        let want = match &known["kept_after_level"] {
            Value::Array(levels) => levels.clone(),
            _ => vec![all.clone(), all.clone(), all],
        };
        assert_eq!(survivors, want, "{mode}");
    }
}

#[test]
fn files_and_report_agree() {
    let folder = tempfile::tempdir().unwrap();
    let report = segment("sed_nano.safetensors", "2", folder.path());

    let written = std::fs::read(folder.path().join("img_b.report.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), report);

    let (width, height, pixels) = index_map(&folder.path().join("img_b.mask.png"));
    assert_eq!((&report["width"], &report["height"]), (&json!(width), &json!(height)));
    for category in report["categories"].as_array().unwrap() {
        let index = category["index"].as_u64().unwrap();
        let counted = pixels.iter().filter(|pixel| u64::from(**pixel) == index).count();
        assert_eq!(category["pixels"], json!(counted), "{category}");
    }
    assert_eq!(report["categories"][1]["name"], "bus");

    // The picture, enlarged to be readable, with a legend.
    let overlay = image::open(folder.path().join("img_b.overlay.png")).unwrap();
    assert!(overlay.width() > width && overlay.height() >= height);
}

#[test]
fn the_table_names_what_was_found_and_how_long_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(&[
        "segment",
        text(&nano("img_a.png")),
        "--model",
        text(&nano("sed_nano.safetensors")),
        "--words",
        "cat|kitty, grass, sky",
        "--contrast",
        "off",
        "--top-k",
        "1",
        "--output",
        text(folder.path()),
    ]);
    let table = outcome.good().stdout;
    for part in ["133 × 100", "category", "rejection  top_k 1", "level 3", "decode level 3", "total", "mask"]
    {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    assert!(["cat ", "grass ", "sky "].iter().any(|name| table.contains(name)), "{table}");
    assert!(!table.contains('\u{1b}'), "colours in a pipe:\n{table}");
}

#[test]
fn a_high_threshold_leaves_pixels_without_category() {
    let outcome = run(&[
        "segment",
        text(&nano("img_a.png")),
        "--model",
        text(&nano("sed_nano.safetensors")),
        "--words",
        "cat, grass",
        "--threshold",
        "1",
        "--no-output",
        "--json",
    ]);
    let report = outcome.good().json().remove(0);
    assert_eq!(report["unlabelled_pixels"], json!(133 * 100));
    assert_eq!(report["files"]["mask"], Value::Null);
}

#[test]
fn one_broken_picture_does_not_keep_the_others_from_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, output) = (folder.path().join("pictures"), folder.path().join("results"));
    std::fs::create_dir(&pictures).unwrap();
    std::fs::copy(nano("img_a.png"), pictures.join("a.png")).unwrap();
    std::fs::write(pictures.join("broken.png"), "no picture").unwrap();
    std::fs::copy(nano("img_b.png"), pictures.join("c.png")).unwrap();

    let model = nano("sed_nano.safetensors");
    let words = ["--words", "cat, sky", "--output", text(&output), "--model", text(&model)];
    let outcome = run(&[&["segment", text(&pictures)][..], &words].concat());
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("broken.png: image.encoded: the image is text"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 of 3 pictures failed"), "{}", outcome.stderr);
    assert!(output.join("a.mask.png").exists() && output.join("c.mask.png").exists());
}
