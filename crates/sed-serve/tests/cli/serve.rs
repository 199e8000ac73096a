//! `serve`, and `segment` as its client.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{Outcome, assert_same_map, five_categories, nano, official_words, run, sed_serve, text};

/// A server in a process of its own, which does not outlive the test.
struct Server {
    process: Child,
    ready: Value,
}

impl Server {
    fn start() -> Self {
        let model = nano("sed_nano.pth");
        let mut command = sed_serve(&["serve", "--model", text(&model), "--listen", "127.0.0.1:0", "--json"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).expect(&line) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.ready["address"].as_str().unwrap())
    }

    /// Asks it to end, and waits.
    #[cfg(unix)]
    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status().unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_client_gets_the_reference_map_and_sigterm_ends_the_server() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let (words, picture) = (official_words(folder.path()), nano("img_b.png"));
    let url = server.url();
    let how = ["--official-words", "--resize", "official", "--top-k", "2", "--json"];
    let files = ["--words-file", text(&words), "--output", text(folder.path()), "--server", &url];
    let outcome = run(&[&["segment", text(&picture)][..], &files, &how].concat());
    let report = outcome.good().json().remove(0);
    assert_eq!(report["model"]["digest"], server.ready["digest"]);
    let near_ties = five_categories()["modes"]["fast2"]["argmax_pixels_with_gap_below_1e-4"].as_u64();
    let mask = folder.path().join("img_b.mask.png");
    assert_same_map(&mask, &nano("sed_nano.c5.fast2.argmax.png"), near_ties.unwrap());

    // What the server refuses is told with its reason.
    let outcome =
        run(&["segment", text(&picture), "--vocabulary", "no-such", "--no-output", "--server", &url]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("VOCABULARY_NOT_FOUND"), "{}", outcome.stderr);

    #[cfg(unix)]
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn an_address_without_server_is_said_to_be_one() {
    let picture = nano("img_b.png");
    let arguments = ["--words", "cat", "--no-output", "--server", "http://127.0.0.1:1"];
    let Outcome { code, stderr, .. } = run(&[&["segment", text(&picture)][..], &arguments].concat());
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot reach http://127.0.0.1:1"), "{stderr}");
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sed.toml");
    std::fs::write(&file, "max_top_k = 30\nmax_synonyms = 30\nmax_phrases = 30\n").unwrap();
    let arguments = ["serve", "--print-config", "--json", "--config", text(&file), "--max-phrases", "10"];
    let mut command = sed_serve(&arguments);
    command.env("SED_MAX_SYNONYMS", "20").env("SED_MAX_PHRASES", "20");
    let settings: Value = serde_json::from_str(&Outcome::of(&mut command).good().stdout).unwrap();
    let found = ["max_top_k", "max_synonyms", "max_phrases"].map(|key| settings[key].as_u64());
    assert_eq!(found, [Some(30), Some(20), Some(10)]);
}
