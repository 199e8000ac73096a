//! The server's process, as its parent holds it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::serve::{Allocated, Ended, FAULTS_OFF, FAULTS_ON, Started, TELL_ALLOCATED};

/// The longest that the server may take to end once nothing is asked of it.
const LONGEST_END: Duration = Duration::from_secs(60);

/// The longest that it may take to start, and to answer an order.
const LONGEST_START: Duration = Duration::from_secs(120);
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// A running server. It ends with its standard input, so also with this process.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    orders: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    pub(crate) started: Started,
}

impl Server {
    /// Starts the process and waits until it answers.
    pub(crate) fn start(folder: &Path, seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg("--folder")
            .arg(folder)
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let lines = lines_of(process.stdout.take().unwrap());
        let started = read_line(&lines, LONGEST_START).expect("the server ended before it was ready");
        Self { process, orders, lines, started }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn set_faults(&mut self, on: bool) {
        let order = if on { FAULTS_ON } else { FAULTS_OFF };
        // A server that has ended is found by `has_ended`.
        let _ = self.orders.as_mut().map(|orders| writeln!(orders, "{order}"));
    }

    /// The bytes that the server has allocated now; `None` if it does not say.
    pub(crate) fn allocated(&mut self) -> Option<u64> {
        writeln!(self.orders.as_mut()?, "{TELL_ALLOCATED}").ok()?;
        read_line(&self.lines, LONGEST_ANSWER).map(|Allocated { bytes }| bytes)
    }

    /// The exit status of a server that has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.process.try_wait().unwrap().map(|status| status.to_string())
    }

    /// Stops the server and returns its last words.
    ///
    /// # Errors
    /// The process did not end, or not as it should.
    pub(crate) fn stop(mut self) -> Result<Ended, String> {
        drop(self.orders.take());
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > LONGEST_END {
                self.process.kill().unwrap();
                self.process.wait().unwrap();
                return Err(format!("the server had not ended {LONGEST_END:?} after it was told to"));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if !status.success() {
            return Err(format!("the server ended with {status}"));
        }
        read_line(&self.lines, LONGEST_ANSWER)
            .ok_or_else(|| "the server ended without its last line".to_owned())
    }
}

/// The lines of a pipe, as they come.
fn lines_of(pipe: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn read_line<T: serde::de::DeserializeOwned>(lines: &mpsc::Receiver<String>, longest: Duration) -> Option<T> {
    serde_json::from_str(&lines.recv_timeout(longest).ok()?).ok()
}
