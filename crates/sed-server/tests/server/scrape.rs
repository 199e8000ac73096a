//! The answers of the operations port, and the metrics of a server.

use std::{collections::HashMap, net::SocketAddr};

use sed_telemetry::Telemetry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::Running;

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

/// The metrics of a server.
pub(crate) struct Counts(Telemetry);

impl Running {
    pub(crate) fn counts(&self) -> Counts {
        Counts(self.telemetry.clone())
    }
}

impl Counts {
    /// The value of a series.
    #[track_caller]
    pub(crate) fn of(&self, series: &str) -> f64 {
        *self.samples().get(series).unwrap_or_else(|| panic!("there is no series {series}"))
    }

    /// The total of all series whose names begin with `beginning`.
    pub(crate) fn of_all(&self, beginning: &str) -> f64 {
        self.samples().iter().filter(|(name, _)| name.starts_with(beginning)).map(|(_, value)| value).sum()
    }

    /// All series and their values.
    fn samples(&self) -> HashMap<String, f64> {
        let text = self.0.render().unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let parsed = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        parsed.collect()
    }
}
