//! `serve`, and `segment` as its client.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::{
    server::Server,
    support::{Outcome, assert_same_map, five_categories, nano, official_words, run, sed_serve, text},
};

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
fn health_tells_by_its_exit_code() {
    let server = Server::start();
    let url = server.url();
    run(&["health", "--server", &url, "--service", ""]).good();
    // A container's health check has the server's own settings and no flags.
    let port = url.rsplit_once(':').unwrap().1;
    let listen = format!("0.0.0.0:{port}");
    let outcome = Outcome::of(sed_serve(&["health", "--json"]).env("SED_LISTEN", listen)).good();
    assert_eq!(outcome.json()[0]["serving"], true);

    let outcome = run(&["health", "--server", &url, "--service", "no.such.Service"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stdout);
    let outcome = run(&["health", "--server", "http://127.0.0.1:1"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("cannot reach http://127.0.0.1:1"), "{}", outcome.stderr);
    // What accepts connections and says nothing is not ready.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let outcome = run(&["health", "--server", &silent, "--timeout", "0.2"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("has not answered"), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn a_second_sigterm_ends_a_server_that_still_drains() {
    let server = Server::start_with(|command| {
        command.stderr(std::process::Stdio::piped()).env("SED_SHUTDOWN_DELAY_SECONDS", "600")
    });
    let mut server = server;
    let log = std::io::BufReader::new(server.log());
    server.ask_to_end();
    // The second one must not come before the first has been seen.
    let seen = std::io::BufRead::lines(log).any(|line| line.unwrap().contains("asked to stop"));
    assert!(seen);
    assert_eq!(server.terminate(), Some(143));
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

#[test]
fn the_operations_port_shows_the_metrics_of_this_process() {
    let server = Server::start();
    let (picture, url) = (nano("img_b.png"), server.url());
    run(&["segment", text(&picture), "--words", "cat", "--no-output", "--server", &url]).good();
    let address = server.ready["ops_address"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("\nsed_requests_total{method=\"Segment\",code=\"OK\"} 1\n"), "{page}");
    assert!(page.contains("\nsed_model_ready 1\n"), "{page}");
    let loading = page.lines().find_map(|line| line.strip_prefix("sed_model_load_seconds ")).unwrap();
    assert!(loading.parse::<f64>().unwrap() > 0.0);
}

#[test]
fn a_taken_operations_port_is_told_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, model) = (taken.local_addr().unwrap().to_string(), nano("sed_nano.pth"));
    let ports = ["--listen", "127.0.0.1:0", "--ops-listen", &address];
    let outcome = run(&[&["serve", "--model", text(&model)][..], &ports].concat());
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("choose another with the setting ops_listen"), "{}", outcome.stderr);
}
