//! The command line itself: exit codes, vocabularies, completions.

use crate::support::{nano, run, text};

#[test]
fn a_wrong_command_line_has_exit_code_2() {
    let picture = nano("img_a.png");
    let picture = text(&picture);
    let wrong: [&[&str]; 16] = [
        &["segment", picture],
        &["segment", picture, "--words", "cat", "--vocabulary", "ade20k-150"],
        &["segment", picture, "--words", "cat,,dog"],
        &["segment", picture, "--words", "cat", "--timeout", "0"],
        &["segment", picture, "--words", "cat", "--threshold", "cat=2"],
        &["segment", picture, "--words", "cat", "--contrast", "a,,b"],
        &["segment", picture, "--words", "cat", "--format", "score"],
        &["segment", picture, "--words", "cat", "--no-output", "--format", "overlay"],
        &["segment", picture, "--words", "cat", "--jobs", "0"],
        &["segment", picture, "--words", "cat", "--no-output", "--fade-unsure"],
        &["vocabulary", "check"],
        &["vocabulary", "check", "pascal-voc-20", "--words", "cat"],
        &["vocabulary", "check", "--words", "cat", "--pairs", "5", "--server", "http://127.0.0.1:1"],
        &["vocabulary", "create", "--words", "cat"],
        &["serve", "--device", "abacus"],
        &["no-such-command"],
    ];
    for arguments in wrong {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}");
        assert!(outcome.stderr.contains("--help"), "{}", outcome.stderr);
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let (picture, model) = (nano("img_a.png"), nano("sed_nano.safetensors"));
    let device = ["--device", "cuda:1", "--model", text(&model), "--words", "cat", "--no-output"];
    let outcome = run(&[&["segment", text(&picture)][..], &device].concat());
    assert_eq!(outcome.code, 1);
    // Built without CUDA, without a driver, or without a second GPU.
    let reasons = ["computes on the cpu only", "no NVIDIA driver answers", "there is no GPU 1"];
    assert!(reasons.iter().any(|reason| outcome.stderr.contains(reason)), "{}", outcome.stderr);
}

#[test]
fn a_vocabulary_that_is_shown_can_be_used_as_a_words_file() {
    let list = run(&["vocabulary", "list"]).good().stdout;
    assert!(list.contains("pascal-voc-20 ") && list.contains("ade20k-847 "), "{list}");
    let longest = list.lines().find(|line| line.starts_with("ade20k-847 ")).unwrap();
    assert!(longest.contains(" 1235 "), "different names and synonyms: {longest}");
    let shown = run(&["vocabulary", "show", "ade20k-150"]).good().stdout;
    assert!(shown.lines().all(|line| line.split('|').all(|phrase| phrase == phrase.trim())), "{shown}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.txt");
    let shown = run(&["vocabulary", "show", "pascal-voc-20"]).good().stdout;
    std::fs::write(&file, &shown).unwrap();
    let (picture, model) = (nano("img_a.png"), nano("sed_nano.safetensors"));
    let how = ["--model", text(&model), "--no-output", "--json"];
    let reports = [["--words-file", text(&file)], ["--vocabulary", "pascal-voc-20"]].map(|words| {
        let arguments = [&["segment", text(&picture)][..], &how, &words].concat();
        run(&arguments).good().json().remove(0)
    });
    assert_eq!(reports[0]["categories"].as_array().unwrap().len(), 20);
    assert_eq!(reports[0]["categories"], reports[1]["categories"]);

    let unknown = run(&["vocabulary", "show", "imagenet"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("there are ade20k-150,"), "{}", unknown.stderr);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&["completions", shell]).good().stdout;
        assert!(script.contains("vocabulary") && script.contains("words-file"), "{shell}");
    }
}
