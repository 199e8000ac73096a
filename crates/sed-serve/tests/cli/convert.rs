//! `convert`, and what it wrote in use.

use serde_json::Value;

use crate::support::{Outcome, index_map, nano, run, text};

fn segment(model: &str, output: &str) -> Value {
    let picture = nano("img_b.png");
    let words = ["--words", "cat, bus|coach, sky", "--model", model, "--output", output, "--json"];
    run(&[&["segment", text(&picture)][..], &words].concat()).good().json().remove(0)
}

#[test]
fn a_converted_checkpoint_has_the_same_digest_and_gives_the_same_map() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (models, before, after) = (path("models"), path("before"), path("after"));
    let original = nano("sed_nano.pth");

    let outcome: Outcome = run(&["convert", text(&original), "--output", text(&models), "--json"]);
    let converted = outcome.good().json().remove(0);
    let weights = converted["weights"].as_str().unwrap();
    assert!(models.join("config.json").exists());

    let [first, second] = [(text(&original), &before), (weights, &after)]
        .map(|(model, output)| segment(model, text(output))["model"].clone());
    assert_eq!(first, second);
    assert_eq!(first["digest"], converted["digest"]);
    assert_eq!(index_map(&before.join("img_b.mask.png")), index_map(&after.join("img_b.mask.png")));

    // The file's own digest is in the form that `sha256sum --check` reads; `doctor` checks it.
    let checked =
        run(&["doctor", "--model", weights, "--listen", "127.0.0.1:0", "--ops-listen", "off"]).good().stdout;
    assert!(checked.contains(".safetensors.sha256"), "{checked}");
}

#[test]
fn nothing_is_written_when_the_checkpoint_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("models");
    let outcome = run(&["convert", text(&nano("img_a.png")), "--output", text(&output)]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("is not a checkpoint"), "{}", outcome.stderr);
    assert!(!output.exists());
}
