//! Latency over throughput, one place for each step of a sweep.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingBackend},
    style::{RGBColor, text_anchor::HPos},
};
use sed_bench::{run::Pace, sweep::StepResult, tally::Percentiles};

use super::{
    Drawing,
    axis::{Axis, plain},
    chart::{BLUE, Chart, FAINT, Frame, INK, ORANGE, RED, failed},
    write,
};
use crate::commands::bench::pace::{figure, in_words};

/// A percentile by its name and colour.
type Line = (&'static str, RGBColor, fn(&Percentiles) -> f64);

/// The lines, the lowest first.
const LINES: [Line; 3] = [("p50", BLUE, |p| p.p50), ("p95", ORANGE, |p| p.p95), ("p99", RED, |p| p.p99)];

/// Draws the steps of a sweep, and its knee.
pub(crate) fn sweep(file: &Path, subject: &str, steps: &[StepResult], knee: Option<usize>) -> Result<()> {
    // A step in which nothing was answered has no latency.
    let answered = |step: &&StepResult| step.result.latency_ms.count > 0;
    let shown: Vec<&StepResult> = steps.iter().filter(answered).collect();
    let knee = knee.and_then(|knee| steps.get(knee));
    let subtitle = match knee {
        Some(knee) => {
            let result = &knee.result;
            let (rate, latency) = (figure(result.throughput), crate::print::time(result.latency_ms.p50));
            format!("knee: {}, {rate} images/s at a median of {latency}", in_words(knee.pace))
        }
        None => "nothing was answered".to_owned(),
    };
    write(
        file,
        &Sweep { title: format!("Latency over throughput of {subject}"), subtitle, steps: shown, knee },
    )
}

struct Sweep<'a> {
    title: String,
    subtitle: String,
    steps: Vec<&'a StepResult>,
    knee: Option<&'a StepResult>,
}

impl Drawing for Sweep<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let results = || self.steps.iter().map(|step| &step.result);
        let most_throughput = results().map(|result| result.throughput).fold(0.0, f64::max);
        let least = results().map(|result| result.latency_ms.p50).fold(f64::INFINITY, f64::min);
        let most = results().map(|result| result.latency_ms.p99).fold(0.0, f64::max);
        let (x, y) = (Axis::linear(most_throughput, plain), Axis::times(least, most));
        let open = self.steps.iter().any(|step| matches!(step.pace, Pace::Open { .. }));
        let frame = Frame {
            title: &self.title,
            subtitle: &self.subtitle,
            x: &x,
            x_name: if open {
                "images/s (at the points: requests/s that were sent)"
            } else {
                "images/s (at the points: clients)"
            },
            y: &y,
        };
        let mut chart = Chart::new(area, &frame, scale)?;
        if let Some(knee) = self.knee {
            chart.upright(knee.result.throughput, FAINT)?;
            chart.words((knee.result.throughput, y.high), "knee", FAINT, HPos::Center)?;
        }
        for (_, colour, percentile) in LINES.into_iter().rev() {
            let place = |step: &&StepResult| {
                (x.place(step.result.throughput), y.place(percentile(&step.result.latency_ms)))
            };
            let places: Vec<(f64, f64)> = self.steps.iter().map(place).collect();
            chart.line(&places, colour)?;
            for place in places {
                chart.dot(place, colour, 4.0)?;
            }
        }
        for step in &self.steps {
            let highest = y.place(step.result.latency_ms.p99);
            let load = if open { figure(step.load) } else { plain(step.load) };
            chart.words((x.place(step.result.throughput), highest), &load, INK, HPos::Center)?;
        }
        chart.legend(&LINES.map(|(name, colour, _)| (name, colour)))?;
        area.present().map_err(failed)
    }
}
