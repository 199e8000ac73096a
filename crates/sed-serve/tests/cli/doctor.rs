//! `doctor` on sound and on faulty set-ups.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Outcome, nano, run, sed_serve, text};

/// The verdict on one thing.
#[track_caller]
fn verdict(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}"))["verdict"]
        .clone()
}

#[test]
fn a_sound_model_on_a_free_port_is_healthy() {
    let model = nano("sed_nano.safetensors");
    let arguments = [
        "doctor",
        "--json",
        "--model",
        text(&model),
        "--listen",
        "127.0.0.1:0",
        "--ops-listen",
        "127.0.0.1:0",
    ];
    let report = run(&arguments).good().json().remove(0);
    assert_eq!(report["healthy"], json!(true));
    for name in [
        "device",
        "threads",
        "memory",
        "model",
        "digest",
        "run",
        "words",
        "settings",
        "port",
        "operations port",
        "open files",
    ] {
        assert_eq!(verdict(&report, name), "good", "{name}");
    }
    let checks = report["checks"].as_array().unwrap();
    let words = checks.iter().find(|check| check["name"] == "words").unwrap()["found"].as_str().unwrap();
    for name in ["ade20k-847", "pascal-voc-20"] {
        let line = words.lines().find(|line| line.starts_with(&format!("{name}: "))).expect(words);
        assert!(line.contains("predicted "), "{line}");
    }
}

#[test]
fn a_taken_port_and_a_damaged_model_are_wrong() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let model = nano("img_a.png");
    let outcome = run(&["doctor", "--json", "--model", text(&model), "--listen", &address]);
    assert_eq!(outcome.code, 1);
    let report = outcome.json().remove(0);
    assert_eq!(report["healthy"], json!(false));
    assert_eq!([verdict(&report, "model"), verdict(&report, "port")], [json!("wrong"), json!("wrong")]);

    let model = nano("sed_nano.pth");
    let outcome = run(&["doctor", "--quick", "--model", text(&model), "--listen", &address]);
    assert_eq!(outcome.code, 1);
    let table = outcome.stdout;
    assert!(table.contains("choose another port with --listen"), "{table}");
}

#[test]
fn settings_that_contradict_themselves_are_wrong() {
    let model = nano("sed_nano.pth");
    let doctor = |variables: [(&str, &str); 2]| {
        let mut command = sed_serve(&["doctor", "--quick", "--json", "--model", text(&model)]);
        Outcome::of(command.env("SED_OPS_LISTEN", "off").envs(variables))
    };
    let outcome = doctor([("SED_MAX_TOP_K", "0"), ("SED_LISTEN", "127.0.0.1:0")]);
    assert_eq!(outcome.code, 1);
    assert_eq!(verdict(&outcome.json().remove(0), "settings"), "wrong");

    // A slip of the pen is no reason not to serve.
    let outcome = doctor([("SED_MAX_TOPK", "4"), ("SED_LISTEN", "127.0.0.1:0")]).good();
    assert_eq!(verdict(&outcome.json().remove(0), "environment"), "warning");
}

#[test]
fn a_model_that_is_not_there_is_said_once() {
    let outcome = run(&["doctor", "--quick", "--json", "--model", "/no/such.pth", "--ops-listen", "off"]);
    let report = outcome.json().remove(0);
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == "model").unwrap()["found"].as_str().unwrap();
    assert_eq!(found.matches("No such file or directory").count(), 1, "{found}");
}
