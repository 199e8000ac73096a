//! The answers of the operations port, and the change of the metrics while a test runs.

use std::{collections::HashMap, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, MutexGuard},
};

use crate::harness::{METRICS, until};

/// One answer over HTTP.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends one request, as a probe does.
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap(); // the server closes the connection
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Page {
    ask(address, "GET", path).await
}

/// The metrics since the test began; no other test counts until it is dropped.
pub(crate) struct Change {
    before: HashMap<String, f64>,
    _alone: MutexGuard<'static, ()>,
}

impl Change {
    pub(crate) async fn begin() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let alone = ONE_AT_A_TIME.lock().await;
        METRICS.get_or_init(|| sed_server::install_metrics().unwrap());
        // The server of the test before may still be ending its calls.
        until(|| samples().get("sed_requests_in_flight") == Some(&0.0)).await;
        Self { before: samples(), _alone: alone }
    }

    /// The growth of a series.
    #[track_caller]
    pub(crate) fn of(&self, series: &str) -> f64 {
        let now = samples();
        let value = |samples: &HashMap<String, f64>| {
            *samples.get(series).unwrap_or_else(|| panic!("there is no series {series}"))
        };
        value(&now) - value(&self.before)
    }

    /// The total growth of all series whose names begin with `beginning`.
    pub(crate) fn of_all(&self, beginning: &str) -> f64 {
        let sum = |samples: &HashMap<String, f64>| -> f64 {
            samples.iter().filter(|(name, _)| name.starts_with(beginning)).map(|(_, value)| value).sum()
        };
        sum(&samples()) - sum(&self.before)
    }
}

/// All series and their values.
fn samples() -> HashMap<String, f64> {
    let text = METRICS.get().unwrap().render();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    parsed.collect()
}
