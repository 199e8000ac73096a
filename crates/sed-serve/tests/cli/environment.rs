//! Variables that are set to an empty text, as templates and compose files leave them.

use crate::support::{Outcome, nano, run, sed_serve, text};

/// Every variable that a command's help names.
fn variables(command: &str) -> Vec<String> {
    let help = run(&[command, "--help"]).good().stdout;
    let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split('=').next());
    named.map(str::to_owned).collect()
}

#[test]
fn empty_variables_count_as_unset() {
    let settings = run(&["serve", "--print-config"]).good().stdout;
    let keys = settings.lines().filter_map(|line| line.split_once(" = "));
    let mut empty: Vec<String> = keys.map(|(key, _)| format!("SED_{}", key.to_uppercase())).collect();
    empty.extend(variables("serve"));
    assert!(["SED_MODEL", "SED_THREADS", "SED_TOKENS"].iter().all(|name| empty.iter().any(|n| n == name)));
    let mut command = sed_serve(&["serve", "--print-config"]);
    let outcome = Outcome::of(command.envs(empty.iter().map(|name| (name, "")))).good();
    assert_eq!(outcome.stdout, settings);

    let (picture, model) = (nano("img_b.png"), nano("sed_nano.safetensors"));
    let how = ["--words", "cat", "--no-output", "--model", text(&model)];
    let mut command = sed_serve(&[&["segment", text(&picture)][..], &how].concat());
    let others = ["SED_TOKEN", "SED_MODEL_CONFIG", "SED_LOG_FORMAT", "RUST_LOG"];
    Outcome::of(command.envs(others.map(|name| (name, "")))).good();

    let mut command = sed_serve(&["health", "--timeout", "0.2"]);
    let outcome = Outcome::of(command.env("SED_LISTEN", ""));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("http://127.0.0.1:50051"), "{}", outcome.stderr);
}

#[test]
fn a_variable_that_is_set_still_counts() {
    let outcome = Outcome::of(sed_serve(&["serve", "--print-config"]).env("SED_LOG_FORMAT", "prose"));
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("prose"), "{}", outcome.stderr);
}
