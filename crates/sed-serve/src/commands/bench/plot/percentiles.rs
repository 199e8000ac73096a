//! Latency by percentile, on an axis of nines.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingBackend},
    style::text_anchor::HPos,
};
use sed_bench::{
    run::Pace,
    tally::{Spread, Tally},
};

use super::{
    Drawing,
    axis::{Axis, nines},
    chart::{BLUE, Chart, FAINT, Frame, INK, failed},
    write,
};
use crate::{
    commands::bench::pace::{figure, in_words},
    print::time,
};

/// Percentiles that are written out.
const NAMED: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Draws the latencies of a load.
pub(crate) fn percentiles(file: &Path, subject: &str, pace: Pace, tally: &Tally) -> Result<()> {
    let rate = figure(tally.throughput());
    let counts = tally.counts();
    let subtitle = format!(
        "{} · {rate} images/s · {} answered, {} failed, {} dropped",
        in_words(pace),
        counts.succeeded,
        counts.failed,
        counts.dropped
    );
    let title = format!("Latency of {subject}");
    write(file, &Percentiles { title, subtitle, client: tally.latency(), server: tally.server() })
}

struct Percentiles<'a> {
    title: String,
    subtitle: String,
    client: &'a Spread,
    server: &'a Spread,
}

impl Drawing for Percentiles<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let count = self.client.count();
        let [client, server] = [self.client, self.server].map(Spread::percentiles);
        let (x, y) =
            (Axis::nines(count), Axis::times(client.min.min(server.min), client.max.max(server.max)));
        let frame = Frame {
            title: &self.title,
            subtitle: &self.subtitle,
            x: &x,
            x_name: "share of the requests that were answered in this time",
            y: &y,
        };
        let mut chart = Chart::new(area, &frame, scale)?;
        chart.line(&stairs(self.server, &y), FAINT)?;
        chart.line(&stairs(self.client, &y), BLUE)?;
        for share in NAMED.into_iter().filter(|share| nines(*share, u64::MAX) <= nines(1.0, count)) {
            let latency = self.client.quantile(share);
            let place = (nines(share, count), y.place(latency));
            chart.dot(place, BLUE, 4.0)?;
            chart.words(place, &time(latency), INK, HPos::Right)?;
        }
        chart.legend(&[("client, from when due", BLUE), ("server", FAINT)])?;
        area.present().map_err(failed)
    }
}

/// A spread as stairs: a level line at each time, as wide as the share of requests that took it.
fn stairs(spread: &Spread, y: &Axis) -> Vec<(f64, f64)> {
    let mut from = 0.0;
    let mut places = Vec::new();
    for (share, time) in spread.curve() {
        let (to, height) = (nines(share, spread.count()), y.place(time));
        places.extend([(from, height), (to, height)]);
        from = to;
    }
    places
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::bench::plot::{png, svg};

    fn example(client: &Spread, server: &Spread) -> (String, Vec<u8>) {
        let (title, subtitle) = ("Latency of a test".to_owned(), "made up".to_owned());
        let drawing = Percentiles { title, subtitle, client, server };
        (svg(&drawing).unwrap(), png(&drawing).unwrap())
    }

    #[test]
    fn charts_are_drawn_in_both_formats() {
        let (mut client, mut server) = (Spread::default(), Spread::default());
        for index in 1..=2000u64 {
            server.record(Duration::from_micros(20_000 + index * index / 100));
            client.record(Duration::from_micros(21_000 + index * index / 90));
        }
        let (svg, png) = example(&client, &server);
        for words in ["Latency of a test", "99.9 %", "client, from when due"] {
            assert!(svg.contains(words), "no {words:?}");
        }
        let picture = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (1920, 1200));
        let blue = picture.pixels().filter(|pixel| pixel.0 == [BLUE.0, BLUE.1, BLUE.2]).count();
        assert!(blue > 2000, "the line has {blue} pixels");
    }

    #[test]
    fn an_empty_chart_is_no_fault() {
        let (svg, _) = example(&Spread::default(), &Spread::default());
        assert!(svg.contains("</svg>"));
    }

    #[test]
    fn stairs_rise_and_end_at_the_last_nine() {
        let mut spread = Spread::default();
        (1..=100).for_each(|time| spread.record(Duration::from_millis(time)));
        let places = stairs(&spread, &Axis::times(1.0, 20.0));
        assert!(places.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert!((places.last().unwrap().0 - 2.0).abs() < 1e-9);
    }
}
