//! `vocabulary`: words registered, prepared and checked, with a server and without.

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{Outcome, nano, run, text},
};

/// Runs an action and returns its JSON objects.
#[track_caller]
fn vocabulary(arguments: &[&str]) -> Vec<Value> {
    run(&[&["vocabulary"][..], arguments, &["--json"]].concat()).good().json()
}

#[test]
fn words_are_registered_prepared_listed_and_removed() {
    let server = Server::start();
    let url = server.url();
    let at = ["--server", url.as_str()];
    let created =
        vocabulary(&[&["create", "--words", "cat|kitty, dog", "--prepare"][..], &at].concat()).remove(0);
    let name = created["name"].as_str().unwrap();
    assert!(name.starts_with("voc-"), "{created}");
    assert_eq!((&created["existed"], &created["categories"]), (&json!(false), &json!(2)));
    assert_eq!((&created["prepared_phrases"], &created["warnings"]), (&json!(3), &json!([])));

    let listed = || vocabulary(&[&["list"][..], &at].concat()).into_iter().find(|one| one["name"] == name);
    let one = listed().unwrap();
    assert_eq!(
        (&one["phrases"], &one["embedded_phrases"], &one["built_in"]),
        (&json!(3), &json!(3), &json!(false))
    );
    let prepared = vocabulary(&[&["prepare", name][..], &at].concat()).remove(0);
    assert_eq!((&prepared["phrases"], &prepared["known"]), (&json!(3), &json!(3)));
    assert_eq!(prepared["devices"].as_array().unwrap().len(), 1);
    let picture = nano("img_a.png");
    let how = ["segment", text(&picture), "--vocabulary", name, "--no-output", "--json"];
    let report = run(&[&how[..], &at].concat()).good().json().remove(0);
    assert_eq!(report["latency"]["text_cache_misses"], 0);

    // Mode and contrast words make another vocabulary of the same words.
    let more = ["create", "--words", "cat|kitty, dog", "--synonyms", "best", "--contrast", "sky, grass"];
    let other = vocabulary(&[&more[..], &at].concat()).remove(0);
    assert_ne!(other["name"], name);
    assert_eq!(other["contrast_words"], 2);

    assert_eq!(
        vocabulary(&[&["delete", name][..], &at].concat()),
        [json!({ "name": name, "deleted": true })]
    );
    assert_eq!(listed(), None);
    let refused = run(&[&["vocabulary", "delete", "pascal-voc-20"][..], &at].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("VOCABULARY_BUILT_IN"), "{}", refused.stderr);

    let table = run(&[&["vocabulary", "list"][..], &at].concat()).good().stdout;
    assert!(table.contains("pascal-voc-20 ") && table.contains("registered"), "{table}");
}

#[test]
fn a_server_prepares_lists_by_name_and_refuses_unknown_ones() {
    let server = Server::start();
    let url = server.url();
    let at = ["--server", url.as_str()];
    let prepared = vocabulary(&[&["prepare", "pascal-voc-20", "pascal-context-59"][..], &at].concat());
    let phrases: Vec<u64> = prepared.iter().map(|one| one["phrases"].as_u64().unwrap()).collect();
    assert!(prepared.len() == 2 && phrases[0] >= 20 && phrases[1] >= 59, "{prepared:?}");
    let table = run(&[&["vocabulary", "prepare", "pascal-voc-20"][..], &at].concat()).good().stdout;
    assert!(table.contains("of them known before"), "{table}");
    let checked = vocabulary(&[&["check", "pascal-voc-20"][..], &at].concat()).remove(0);
    assert!(checked["warnings"].is_array(), "{checked}");

    let refused = run(&[&["vocabulary", "prepare", "no-such"][..], &at].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("VOCABULARY_NOT_FOUND"), "{}", refused.stderr);
    let nowhere = run(&["vocabulary", "prepare", "pascal-voc-20", "--server", "http://127.0.0.1:1"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("cannot reach http://127.0.0.1:1"), "{}", nowhere.stderr);
}

#[test]
fn a_folder_is_filled_without_a_server_and_a_server_finds_it_full() {
    let folder = tempfile::tempdir().unwrap();
    let model = nano("sed_nano.pth");
    let into = ["--model", text(&model), "--text-cache-dir", text(folder.path())];
    let files = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().ends_with(".text")).count()
    };
    let filled = vocabulary(&[&["prepare", "pascal-voc-20", "pascal-context-59"][..], &into].concat());
    let phrases: Vec<u64> = filled.iter().map(|one| one["phrases"].as_u64().unwrap()).collect();
    assert!(phrases[0] >= 20 && phrases[1] >= 59, "{filled:?}");
    let held = files();
    assert!(held as u64 >= phrases[1], "{held} files");
    // What the folder holds is not written again.
    vocabulary(&[&["prepare", "pascal-voc-20"][..], &into].concat());
    assert_eq!(files(), held);

    let cache = folder.path().to_owned();
    let server = Server::start_with(|command| command.env("SED_TEXT_CACHE_DIR", cache));
    let url = server.url();
    run(&["vocabulary", "prepare", "pascal-voc-20", "--server", &url]).good();
    assert_eq!(files(), held);
}

#[test]
fn words_need_a_place_to_be_prepared_in() {
    let outcome = run(&["vocabulary", "prepare", "pascal-voc-20"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("--server") && outcome.stderr.contains("--text-cache-dir"));
    let folder = tempfile::tempdir().unwrap();
    let model = nano("sed_nano.pth");
    let into = ["--model", text(&model), "--text-cache-dir", text(folder.path()), "--contrast", "auto"];
    let outcome = run(&[&["vocabulary", "prepare", "--words", "cat"][..], &into].concat());
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("needs a server"), "{}", outcome.stderr);
    let outcome = run(&["vocabulary", "create", "no-such", "--server", "http://127.0.0.1:1"]);
    assert!(outcome.stderr.contains("there are ade20k-150,"), "{}", outcome.stderr);
}

#[test]
fn faults_of_words_are_named_and_the_closest_pairs_printed() {
    let model = nano("sed_nano.safetensors");
    let check = |words: &str, more: &[&str]| -> Outcome {
        let how = ["vocabulary", "check", "--words", words, "--model", text(&model)];
        run(&[&how[..], more].concat())
    };
    let sound = check("cat, dog, cow", &["--pairs", "2", "--json"]).good().json().remove(0);
    assert_eq!(sound["findings"], json!([]));
    let pairs = sound["closest"]["pairs"].as_array().unwrap();
    let similarities: Vec<f64> = pairs.iter().map(|pair| pair["similarity"].as_f64().unwrap()).collect();
    assert!(pairs.len() == 2 && similarities[0] >= similarities[1], "{sound}");
    let threshold = sound["closest"]["threshold"].as_f64().unwrap();
    assert!(pairs.iter().all(|pair| pair["alike"] == (pair["similarity"].as_f64().unwrap() >= threshold)));

    let long = vec!["word"; 90].join(" ");
    let outcome = check(&format!("cat, CAT, {long}"), &["--pairs", "0"]);
    assert_eq!(outcome.code, 1);
    for part in ["`CAT` is the same as `cat` (category 0)", "has 90 tokens, its prompts have room for"] {
        assert!(outcome.stdout.contains(part), "no {part:?} in\n{}", outcome.stdout);
    }
    let doubled = check("cat, CAT, dog", &["--json"]);
    assert_eq!(doubled.code, 1);
    let pairs = doubled.json().remove(0)["closest"]["pairs"].as_array().unwrap().clone();
    assert!(pairs.len() == 1 && pairs[0]["first"] == 0 && pairs[0]["second"] == 2, "{pairs:?}");
    let table = check("cat, dog, cow", &[]).good().stdout;
    for part in ["3 categories", "no word is cut, doubled or empty", "the closest pairs"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let named = run(&["vocabulary", "check", "ade20k-847", "--pairs", "0", "--model", text(&model)]);
    assert_eq!(named.code, 0, "published lists may hold doubles: {}", named.stdout);
}
