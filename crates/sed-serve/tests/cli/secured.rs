//! A server with TLS and tokens, asked by the command itself.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    server::Server,
    support::{Outcome, nano, run, sed_serve, text},
};

const SECRET: &str = "0123456789abcdef-cli";

/// The files of a server and of its clients.
struct Files {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self { folder: tempfile::tempdir().unwrap(), authority };
        files.write("ca.pem", &files.authority.pem());
        files.write("tokens", &format!("cli = \"{SECRET}\"\n"));
        files.write("token", &format!("{SECRET}\n"));
        for who in ["server", "client"] {
            files.issue(who, |_| {});
        }
        files
    }

    fn issue(&self, who: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{who}.pem"), &certificate.pem());
        self.write(&format!("{who}.key"), &key.serialize_pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The settings of a server that uses all of them.
    fn settings(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("SED_TLS_CERTIFICATE", self.path("server.pem")),
            ("SED_TLS_KEY", self.path("server.key")),
            ("SED_TLS_CLIENT_CA", self.path("ca.pem")),
            ("SED_TOKENS", self.path("tokens")),
        ]
    }

    fn start(&self) -> Server {
        Server::start_with(|command| {
            // Only SIGHUP makes it look at its files again.
            command.envs(self.settings()).env("SED_TLS_RELOAD_SECONDS", "80000").stderr(Stdio::null())
        })
    }
}

fn segment(url: &str, more: &[&str]) -> Outcome {
    let picture = nano("img_b.png");
    let base = ["segment", text(&picture), "--words", "cat", "--no-output", "--json", "--server", url];
    run(&[&base[..], more].concat())
}

/// A path as an argument that lives as long as the test.
fn argument(path: &Path) -> String {
    text(path).to_owned()
}

#[test]
fn the_command_speaks_tls_shows_its_certificate_and_sends_its_token() {
    let files = Files::new();
    let server = files.start();
    let port = server.ready["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://localhost:{port}");
    let [ca, certificate, key, token] =
        ["ca.pem", "client.pem", "client.key", "token"].map(|name| argument(&files.path(name)));
    let trust = ["--ca-certificate", &ca];
    let known = ["--client-certificate", &certificate, "--client-key", &key];
    let token = ["--token-file", &token];
    segment(&url, &[&trust[..], &known, &token].concat()).good();

    let refused = |outcome: Outcome, said: &str| {
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains(SECRET));
    };
    refused(segment(&url, &[&trust[..], &known].concat()), "TOKEN_MISSING");
    refused(segment(&url, &[&known[..], &token].concat()), "invalid peer certificate");
    refused(segment(&url, &[&trust[..], &token].concat()), "some ask for --client-certificate");
    refused(segment(&url.replace("https", "http"), &token), "a server with TLS is at https://");

    // The variable does what the file does, for other commands as well.
    let picture = nano("img_b.png");
    let load = ["bench", "load", "--requests", "3", "--clients", "1", "--words", "cat", "--json"];
    let arguments = [&load[..], &[text(&picture), "--server", &url], &trust, &known].concat();
    let outcome = Outcome::of(sed_serve(&arguments).env("SED_TOKEN", SECRET)).good();
    assert!(!outcome.stderr.contains(SECRET) && !outcome.stdout.contains(SECRET));
}

/// Starts a server with a certificate of `params`, and returns the outcome of `health` for `host`.
fn health_of(host: &str, params: CertificateParams, trusted: bool) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let [pem, key_file] = ["server.pem", "server.key"].map(|name| folder.path().join(name));
    std::fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let server = Server::start_with(|command| {
        command.env("SED_TLS_CERTIFICATE", &pem).env("SED_TLS_KEY", &key_file).stderr(Stdio::null())
    });
    let port = server.ready["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://{host}:{port}");
    let trust: &[&str] = if trusted { &["--ca-certificate", text(&pem)] } else { &[] };
    run(&[&["health", "--server", &url][..], trust].concat())
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    let params = || CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    health_of("localhost", params(), true).good();

    // As `openssl req -x509` makes it by itself.
    let mut of_authority = params();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let refused = |outcome: Outcome, said: &str| {
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("running there"), "something listens: {}", outcome.stderr);
    };
    refused(health_of("localhost", of_authority, true), "-addext basicConstraints=critical,CA:FALSE");
    refused(health_of("127.0.0.1", params(), true), "reach the server by a name of its certificate");
    refused(health_of("localhost", params(), false), "--ca-certificate");

    // A server without TLS, and nothing at all.
    let server = Server::start();
    let plain = server.url().replace("http://", "https://");
    refused(run(&["health", "--server", &plain]), "reach it at http://");
    let nothing = run(&["health", "--server", "http://127.0.0.1:1"]);
    assert!(nothing.stderr.contains("is `sed-serve serve` running there?"), "{}", nothing.stderr);
}

#[cfg(unix)]
#[test]
fn sighup_has_the_tokens_read_again() {
    let files = Files::new();
    let server = Server::start_with(|command| {
        let tokens = files.path("tokens");
        command.env("SED_TOKENS", tokens).env("SED_TLS_RELOAD_SECONDS", "80000").stderr(Stdio::null())
    });
    let old = argument(&files.path("token"));
    segment(&server.url(), &["--token-file", &old]).good();
    files.write("tokens", "cli = \"another-secret-for-it\"\n");
    files.write("new", "another-secret-for-it");
    let new = argument(&files.path("new"));
    assert!(segment(&server.url(), &["--token-file", &new]).stderr.contains("TOKEN_INVALID"));
    server.ask_to_read_again();
    let answered = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        segment(&server.url(), &["--token-file", &new]).code == 0
    });
    assert!(answered);
    assert!(segment(&server.url(), &["--token-file", &old]).stderr.contains("TOKEN_INVALID"));
}

#[test]
fn doctor_looks_at_certificates_and_tokens() {
    let files = Files::new();
    let model = nano("sed_nano.safetensors");
    let doctor = || {
        let mut command = sed_serve(&["doctor", "--quick", "--json", "--model", text(&model)]);
        command.env("SED_LISTEN", "127.0.0.1:0").env("SED_OPS_LISTEN", "off").envs(files.settings());
        Outcome::of(&mut command)
    };
    let check = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let report = doctor().good().json().remove(0);
    for name in ["tls", "client authority", "tokens"] {
        assert_eq!(check(&report, name)["verdict"], "good", "{name}");
    }
    assert_eq!(check(&report, "tokens")["found"], "of cli");

    files.issue("server", |params| params.not_after = date_time_ymd(2002, 1, 1));
    files.write("tokens", "cli = \"short\"\n");
    let outcome = doctor();
    assert_eq!(outcome.code, 1);
    let report = outcome.json().remove(0);
    let (tls, tokens) = (check(&report, "tls"), check(&report, "tokens"));
    assert!(tls["found"].as_str().unwrap().contains("has expired"), "{tls}");
    assert!(tokens["found"].as_str().unwrap().contains("line 1"), "{tokens}");
}

#[test]
fn what_cannot_be_used_keeps_the_server_from_starting() {
    let files = Files::new();
    files.issue("server", |params| params.not_after = date_time_ymd(2002, 1, 1));
    let model = nano("sed_nano.safetensors");
    let mut command = sed_serve(&["serve", "--model", text(&model), "--listen", "127.0.0.1:0"]);
    let outcome = Outcome::of(command.env("SED_OPS_LISTEN", "off").envs(files.settings()));
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("tls_certificate") && outcome.stderr.contains("has expired"));
    let outcome = Outcome::of(sed_serve(&["serve", "--print-config"]).env("SED_TLS_KEY", "key.pem"));
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("tls_key is set, but tls_certificate is not"), "{}", outcome.stderr);
}
