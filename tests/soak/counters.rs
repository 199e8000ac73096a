//! The server's metrics, read from its operations port.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Gauges that are 0 when nothing is asked of the server.
const OF_WORK: [&str; 6] = [
    "sed_requests_in_flight",
    "sed_stream_requests_in_flight",
    "sed_concurrent_requests",
    "sed_queue_depth",
    "sed_queued_pairs",
    "sed_connections",
];

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(HashMap<String, f64>);

impl Counters {
    /// Asks for `/metrics`.
    ///
    /// # Errors
    /// The port cannot be reached, or what comes is no answer.
    pub(crate) async fn scrape(ops: SocketAddr) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("no metrics from {ops}: {error}");
        let mut stream = TcpStream::connect(ops).await.map_err(failed)?;
        let question = format!("GET /metrics HTTP/1.1\r\nhost: {ops}\r\nconnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await.map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("metrics came with {}", head.lines().next().unwrap_or_default()));
        }
        Self::parse(body)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        lines
            .map(|line| sample(line).ok_or_else(|| format!("`{line}` is no sample")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The value of a series, as it is written.
    ///
    /// # Panics
    /// There is none: all exist from the start.
    pub(crate) fn of(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("there is no series `{series}`"))
    }

    /// The sum over all series of a metric.
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        self.series(metric).map(|(_, value)| value).sum()
    }

    /// The counts of a metric whose labels begin so, by the value of the last label.
    pub(crate) fn by_last_label(&self, metric: &str, first: &str) -> BTreeMap<String, u64> {
        let ours = self.series(metric).filter(|(labels, value)| labels.starts_with(first) && *value > 0.0);
        ours.filter_map(|(labels, value)| {
            let last = labels.strip_suffix('"')?.rsplit_once('"')?.1;
            Some((last.to_owned(), value as u64))
        })
        .collect()
    }

    /// Gauges of work that are not 0.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let left = OF_WORK.iter().map(|metric| (metric, self.sum(metric)));
        left.filter(|(_, value)| *value != 0.0)
            .map(|(metric, value)| format!("{metric} is {value}"))
            .collect()
    }

    /// Labels (without braces) and values of a metric's series.
    fn series<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let rest = series.strip_prefix(metric)?;
            let labels = match rest.strip_prefix('{') {
                Some(labels) => labels.strip_suffix('}')?,
                None if rest.is_empty() => "",
                None => return None,
            };
            Some((labels, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP sed_requests_total Calls\n\
        sed_requests_total{method=\"Segment\",code=\"OK\"} 5\n\
        sed_requests_total{method=\"Segment\",code=\"INTERNAL\"} 2\n\
        sed_requests_total{method=\"SegmentStream\",code=\"OK\"} 1\n\
        sed_requests_total{method=\"Segment\",code=\"UNKNOWN\"} 0\n\
        \n\
        sed_queued_pairs 3\n\
        sed_queued_pairs_capacity 65536\n";

    #[test]
    fn a_metric_is_the_sum_of_its_series_and_of_no_other() {
        let counters = Counters::parse(TEXT).unwrap();
        assert_eq!(counters.of("sed_queued_pairs"), 3.0);
        assert_eq!(counters.sum("sed_queued_pairs"), 3.0);
        assert_eq!(counters.sum("sed_requests_total"), 8.0);
        assert_eq!(counters.unfinished(), ["sed_queued_pairs is 3"]);
    }

    #[test]
    fn counts_are_known_by_their_last_label() {
        let counters = Counters::parse(TEXT).unwrap();
        let found = counters.by_last_label("sed_requests_total", "method=\"Segment\",");
        let expected = [("INTERNAL".to_owned(), 2), ("OK".to_owned(), 5)];
        assert_eq!(found, BTreeMap::from(expected));
        assert!(Counters::parse("sed_requests_total five").is_err());
    }
}
