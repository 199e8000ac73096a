//! `serve`, and `segment` as its client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    time::{Duration, Instant},
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

    // A refusal is printed with its reason.
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

#[test]
fn health_waits_until_a_server_serves() {
    // No other test listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let begun = Instant::now();
    let outcome = run(&["health", "--server", &url, "--wait", "0.5"]);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains(&format!("error: {url} is not serving after ")), "{}", outcome.stderr);
    let waits = format!("waiting for {url} to serve: cannot reach {url}");
    assert_eq!(outcome.stderr.matches(&waits).count(), 1, "{}", outcome.stderr);

    // Begun before the server is.
    let mut command = sed_serve(&["health", "--server", &url, "--wait", "--json"]);
    let mut health = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(health.stderr.take().unwrap());
    log.read_line(&mut line).unwrap();
    assert!(line.starts_with(&waits), "{line}");
    let server = Server::start_at(free);
    assert_eq!(server.url(), url);
    let mut printed = String::new();
    health.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(printed.contains("\"serving\":true"), "{printed}");
    assert!(health.wait().unwrap().success());

    // Waiting does not help.
    for wrong in [["--service", "no.such.Service"], ["--server", "ftp://127.0.0.1:1"]] {
        let server = if wrong[0] == "--service" { &["--server", &url][..] } else { &[] };
        let outcome = run(&[&["health", "--wait", "600"][..], server, &wrong].concat());
        assert_eq!(outcome.code, 1);
        assert!(!outcome.stderr.contains("waiting for"), "{}", outcome.stderr);
    }
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

#[test]
fn errors_name_their_cause_once() {
    let outcome = run(&["serve", "--model", "/no/such.pth"]);
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stderr.matches("No such file or directory").count(), 1, "{}", outcome.stderr);
    let mut command =
        sed_serve(&["serve", "--model", text(&nano("sed_nano.pth")), "--listen", "127.0.0.1:0"]);
    let outcome = Outcome::of(command.env("SED_OPS_LISTEN", "off").env("SED_TOKENS", "/no/such"));
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stderr.matches("No such file or directory").count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot read tokens /no/such"), "{}", outcome.stderr);
}

/// The lines of a server's log, as they come.
#[cfg(unix)]
fn lines(server: &mut Server) -> std::sync::mpsc::Receiver<String> {
    let log = std::io::BufReader::new(server.log());
    let (line, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || std::io::BufRead::lines(log).try_for_each(|next| line.send(next.unwrap())));
    lines
}

#[cfg(unix)]
#[track_caller]
fn wait_for(lines: &std::sync::mpsc::Receiver<String>, said: &str) -> String {
    let longest = std::time::Duration::from_secs(60);
    loop {
        let line = lines.recv_timeout(longest).unwrap_or_else(|_| panic!("the log never says {said:?}"));
        if line.contains(said) {
            return line;
        }
    }
}

#[cfg(unix)]
#[test]
fn sighup_does_not_end_a_server_that_has_no_files_to_read_again() {
    let mut server = Server::start_with(|command| command.stderr(std::process::Stdio::piped()));
    let lines = lines(&mut server);
    for _ in 0..2 {
        server.ask_to_read_again();
        wait_for(&lines, "SIGHUP ignored");
    }
    run(&["health", "--server", &server.url()]).good();
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(unix)]
#[test]
fn tokens_that_become_a_pipe_hold_up_neither_reloads_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let write = |secret: &str| std::fs::write(&tokens, format!("cli = \"{secret}\"\n")).unwrap();
    write("0123456789abcdef");
    let mut server = Server::start_with(|command| {
        command
            .env("SED_TOKENS", &tokens)
            .env("SED_TLS_RELOAD_SECONDS", "0.05")
            .stderr(std::process::Stdio::piped())
    });
    let lines = lines(&mut server);
    std::fs::remove_file(&tokens).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&tokens).status().unwrap().success());
    let line = wait_for(&lines, "is no regular file");
    assert!(line.contains("what was read before stays"), "{line}");
    let ask = |secret: &str| {
        let (picture, url) = (nano("img_b.png"), server.url());
        let ask = ["segment", text(&picture), "--words", "cat", "--no-output", "--server", &url];
        Outcome::of(sed_serve(&ask).env("SED_TOKEN", secret))
    };
    ask("0123456789abcdef").good();

    std::fs::remove_file(&tokens).unwrap();
    write("fedcba9876543210");
    wait_for(&lines, "read again, because they changed");
    ask("fedcba9876543210").good();

    std::fs::remove_file(&tokens).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&tokens).status().unwrap().success());
    wait_for(&lines, "is no regular file");
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_is_raised_and_judged() {
    let model = nano("sed_nano.pth");
    let program = env!("CARGO_BIN_EXE_sed-serve");
    // As systemd and many shells have it, and a hard limit below what the connections need.
    let limited = |limits: &str, command: &str| {
        let script = format!("{limits}; exec {program} {command} --model {}", text(&model));
        let mut shell = std::process::Command::new("bash");
        shell.env_clear().args(["-c", &script]).env("SED_LISTEN", "127.0.0.1:0").env("SED_OPS_LISTEN", "off");
        shell.env("SED_BATCH_IMAGES", "1").env("SED_BATCH_PAIRS", "16");
        shell
    };
    let raised = "ulimit -Sn 128 && ulimit -Hn 1000";
    let mut command = limited(raised, "serve --json");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut server = Server::of(command);
    let lines = lines(&mut server);
    let line = wait_for(&lines, "raised the limit of open files");
    assert!(line.contains("before=128") && line.contains("1000"), "{line}");
    let line = wait_for(&lines, "too few open files");
    assert!(line.contains("needed=4352") && line.contains("--max-connections"), "{line}");
    assert_eq!(server.terminate(), Some(0));

    let verdict = |limits: &str| {
        let report = Outcome::of(&mut limited(limits, "doctor --quick --json")).json().remove(0);
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "open files").unwrap()["verdict"].clone()
    };
    assert_eq!(verdict(raised), "warning");
    assert_eq!(verdict("ulimit -Sn 128 && ulimit -Hn 4352"), "good");
}
