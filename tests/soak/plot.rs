//! Memory, descriptors, threads and answers over time, as a picture.

use std::fmt::Write;

use crate::{
    report::Report,
    watch::{Growth, Sample, Trend},
};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const GAP: f64 = 40.0;
/// Seconds that a rate is averaged over.
const RATE_WINDOW: usize = 10;

/// One curve in a panel of its own.
struct Panel {
    title: &'static str,
    points: Vec<(f64, f64)>,
    /// The ends of a fitted line.
    line: Option<[(f64, f64); 2]>,
}

/// Draws a run.
pub(crate) fn svg(report: &Report) -> String {
    let samples = &report.samples;
    let line = |pick: fn(&Trend) -> &Growth| {
        let trend = report.trend.as_ref()?;
        let (last, ends) = (samples.last()?.seconds, pick(trend).ends);
        Some([(last - trend.seconds, ends.0), (last, ends.1)])
    };
    let curve = |pick: fn(&Sample) -> f64| samples.iter().map(|one| (one.seconds, pick(one))).collect();
    let rates = samples.windows(RATE_WINDOW).filter_map(|window| {
        let (first, last) = (window.first()?, window.last()?);
        let rate = (last.requests - first.requests) as f64 / (last.seconds - first.seconds);
        Some((last.seconds, rate))
    });
    let panels = [
        Panel {
            title: "allocated memory, MiB",
            points: curve(Sample::allocated_mib),
            line: line(|trend| &trend.allocated),
        },
        Panel {
            title: "resident memory, MiB",
            points: curve(Sample::resident_mib),
            line: line(|trend| &trend.resident),
        },
        Panel { title: "requests per second", points: rates.collect(), line: None },
        Panel { title: "descriptors", points: curve(|one| one.descriptors as f64), line: None },
        Panel { title: "threads", points: curve(|one| one.threads as f64), line: None },
    ];
    let height = panels.len() as f64 * (PANEL + GAP) + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let seconds = samples.last().map_or(1.0, |last| last.seconds.max(1.0));
    for (number, panel) in panels.iter().enumerate() {
        panel.draw(&mut svg, GAP + number as f64 * (PANEL + GAP), seconds);
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self, svg: &mut String, top: f64, seconds: f64) {
        let most = self.points.iter().map(|point| point.1).fold(1.0, f64::max) * 1.05;
        let place = |(time, value): (f64, f64)| {
            let x = LEFT + time / seconds * (WIDTH - LEFT - RIGHT);
            format!("{x:.1},{:.1}", top + PANEL * (1.0 - value / most))
        };
        let mut polyline = |points: &[(f64, f64)], colour: &str| {
            let points = points.iter().map(|point| place(*point)).collect::<Vec<_>>().join(" ");
            writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{points}\"/>").unwrap();
        };
        polyline(&[(0.0, most), (0.0, 0.0), (seconds, 0.0)], "black");
        polyline(&self.points, "steelblue");
        if let Some(line) = &self.line {
            polyline(line, "firebrick");
        }
        let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
            writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>").unwrap();
        };
        text(LEFT, top - 6.0, "start", self.title);
        text(LEFT - 6.0, top + 12.0, "end", &format!("{most:.0}"));
        text(LEFT - 6.0, top + PANEL, "end", "0");
        text(WIDTH - RIGHT, top + PANEL + 14.0, "end", &format!("{seconds:.0} s"));
    }
}
