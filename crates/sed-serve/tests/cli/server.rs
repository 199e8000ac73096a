//! A server in a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::Value;

use crate::support::{nano, sed_serve, text};

/// The process of a server, killed when the value is dropped.
pub(crate) struct Server {
    process: Child,
    /// The JSON line that the server printed when it was ready.
    pub(crate) ready: Value,
}

impl Server {
    /// Serves the reduced model on free ports.
    pub(crate) fn start() -> Self {
        Self::start_with(|command| command.stderr(Stdio::null()))
    }

    /// As [`Server::start`], at an address.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::listening(&address.to_string(), |command| command.stderr(Stdio::null()))
    }

    /// As [`Server::start`], with changes by `prepare` to environment or output.
    pub(crate) fn start_with(prepare: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        Self::listening("127.0.0.1:0", prepare)
    }

    fn listening(address: &str, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let model = nano("sed_nano.pth");
        let ports = ["--listen", address, "--ops-listen", "127.0.0.1:0"];
        let mut command = sed_serve(&[&["serve", "--model", text(&model), "--json"][..], &ports].concat());
        // The warm-up tries the largest batches; here they may be small.
        command.env("SED_BATCH_IMAGES", "1").env("SED_BATCH_PAIRS", "16");
        prepare(command.stdout(Stdio::piped()));
        Self::of(command)
    }

    /// Starts a command that prints a JSON line on its piped standard output when it is ready.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).expect(&line) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.ready["address"].as_str().unwrap())
    }

    /// Its log, if it was piped.
    pub(crate) fn log(&mut self) -> ChildStderr {
        self.process.stderr.take().unwrap()
    }

    /// Asks it to end.
    #[cfg(unix)]
    pub(crate) fn ask_to_end(&self) {
        self.signal("-TERM");
    }

    /// Asks it to read certificates and tokens again.
    #[cfg(unix)]
    pub(crate) fn ask_to_read_again(&self) {
        self.signal("-HUP");
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        Command::new("kill").arg(signal).arg(self.process.id().to_string()).status().unwrap();
    }

    /// Asks it to end, and waits.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.ask_to_end();
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
