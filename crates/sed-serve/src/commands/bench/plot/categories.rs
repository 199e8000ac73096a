//! Time over the number of categories, beside the line through it and the floor of the arithmetic.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingBackend},
    style::RGBColor,
};
use sed_bench::model::{CellResult, Cost, Over, StageResult};
use sed_model::Rejection;

use super::{
    Drawing,
    axis::{Axis, plain},
    chart::{BLUE, Chart, FAINT, Frame, GREEN, INK, ORANGE, RED, VIOLET, failed},
    write,
};

/// Colours of the lines through what was measured; more lines than these could not be distinguished.
const COLOURS: [RGBColor; 6] = [BLUE, ORANGE, RED, GREEN, VIOLET, INK];
/// Number of places that a curve is drawn through.
const PLACES: usize = 60;

/// Draws the time after the encoder for one image of the smallest batch on the first device, one line for
/// each `top_k` and number format.
pub(crate) fn categories(file: &Path, subject: &str, results: &[&CellResult], costs: &[Cost]) -> Result<()> {
    write(file, &Categories::new(subject, results, costs))
}

/// A line through measured places: categories and milliseconds.
struct Series {
    name: String,
    places: Vec<(f64, f64)>,
}

struct Categories<'a> {
    title: String,
    subtitle: String,
    series: Vec<Series>,
    cost: Option<&'a Cost>,
}

impl<'a> Categories<'a> {
    fn new(subject: &str, results: &[&CellResult], costs: &'a [Cost]) -> Self {
        let device = results.first().map_or("", |result| result.device.as_str());
        let batch = results.iter().map(|result| result.cell.batch).min().unwrap_or(1);
        let mut series: Vec<Series> = Vec::new();
        let shown = |result: &&&CellResult| result.device == device && result.cell.batch == batch;
        for result in results.iter().filter(shown) {
            let rejection = match result.cell.rejection {
                Rejection::Off => "rejection off".to_owned(),
                Rejection::TopK(top_k) => format!("top_k {top_k}"),
            };
            let name = format!("{}, {rejection}", result.dtype);
            let behind: f64 = result.stages.iter().skip(1).map(StageResult::ms).sum();
            let place = (result.cell.categories as f64, behind / batch as f64);
            match series.iter_mut().find(|series| series.name == name) {
                Some(series) => series.places.push(place),
                None => series.push(Series { name, places: vec![place] }),
            }
        }
        series.truncate(COLOURS.len());
        let of = |over: Over| {
            costs.iter().find(move |cost| cost.device == device && cost.batch == batch && cost.over == over)
        };
        let lines = [Over::Categories, Over::Survivors].into_iter().filter_map(of).map(described);
        let (title, subtitle) = (format!("Time behind the encoder of {subject}"), lines.collect::<Vec<_>>());
        Self { title, subtitle: subtitle.join(" · "), series, cost: of(Over::Categories) }
    }
}

/// A cost in words.
fn described(cost: &Cost) -> String {
    let floor = cost.floor_ms.map_or(String::new(), |floor| format!(", floor {} ms", plain(floor)));
    let (ms, unit, line) = (plain(cost.line.slope), cost.over.unit(), cost.line.r_squared);
    format!("{}: {ms} ms for each {unit} (R² {line:.4}{floor})", cost.dtype)
}

impl Drawing for Categories<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        let places = || self.series.iter().flat_map(|series| &series.places);
        let least = |of: fn(&(f64, f64)) -> f64| places().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| places().map(of).fold(0.0, f64::max);
        let floor = self.cost.and_then(|cost| cost.floor_ms);
        let (first, last) = (least(|place| place.0), most(|place| place.0));
        let lowest = floor.map_or(f64::INFINITY, |floor| floor * first).min(least(|place| place.1));
        let (x, y) = (Axis::counts(first, last), Axis::times(lowest, most(|place| place.1)));
        let frame =
            Frame { title: &self.title, subtitle: &self.subtitle, x: &x, x_name: "categories", y: &y };
        let mut chart = Chart::new(area, &frame, scale)?;
        let curve = |height: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
            let step = |index: usize| index as f64 / (PLACES - 1) as f64;
            let across = |share: f64| first * (last / first).powf(share);
            let places = (0..PLACES).map(|index| across(step(index)));
            let inside = places.filter(|at| height(*at) >= lowest);
            inside.map(|at| (x.place(at), y.place(height(at)))).collect()
        };
        let mut legend: Vec<(&str, RGBColor)> = Vec::new();
        if let Some(cost) = self.cost {
            chart.line(&curve(&|at| cost.line.at(at)), FAINT)?;
        }
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let places: Vec<(f64, f64)> =
                series.places.iter().map(|(at, ms)| (x.place(*at), y.place(*ms))).collect();
            chart.line(&places, colour)?;
            for place in places {
                chart.dot(place, colour, 4.0)?;
            }
            legend.push((&series.name, colour));
        }
        if self.cost.is_some() {
            legend.push(("line by least squares, rejection off", FAINT));
        }
        if let Some(floor) = floor {
            chart.line(&curve(&|at| floor * at), PALE)?;
            legend.push(("floor: the arithmetic at the machine's peak", PALE));
        }
        chart.legend(&legend)?;
        area.present().map_err(failed)
    }
}

/// Colour of the floor, which is computed and not measured.
const PALE: RGBColor = RGBColor(156, 163, 175);

#[cfg(test)]
mod tests {
    use sed_bench::model::Line;

    use super::*;
    use crate::commands::bench::plot::{png, svg};

    #[test]
    fn lines_stand_beside_their_fit_and_floor() {
        let line = Line { slope: 17.0, intercept: 30.0, r_squared: 0.9991, points: 3 };
        let cost = Cost {
            device: "cpu".into(),
            dtype: "f32".into(),
            batch: 1,
            over: Over::Categories,
            line,
            floor_ms: Some(14.0),
        };
        let places = |slope: f64| [1.0, 20.0, 150.0, 847.0].map(|at| (at, 30.0 + slope * at)).to_vec();
        let drawing = Categories {
            title: "Time behind the encoder of a test".into(),
            subtitle: described(&cost),
            series: vec![
                Series { name: "f32, rejection off".into(), places: places(17.0) },
                Series { name: "f32, top_k 8".into(), places: places(1.5) },
            ],
            cost: Some(&cost),
        };
        let text = svg(&drawing).unwrap();
        for words in
            ["Time behind the encoder", "17 ms for each category (R² 0.9991, floor 14 ms)", "top_k 8"]
        {
            assert!(text.contains(words), "no {words:?}");
        }
        let picture = image::load_from_memory(&png(&drawing).unwrap()).unwrap().to_rgb8();
        for colour in [BLUE, ORANGE, FAINT, PALE] {
            let pixels = picture.pixels().filter(|pixel| pixel.0 == [colour.0, colour.1, colour.2]).count();
            assert!(pixels > 500, "{colour:?} has {pixels} pixels");
        }
    }

    #[test]
    fn an_empty_chart_is_no_fault() {
        assert!(svg(&Categories::new("nothing", &[], &[])).unwrap().contains("</svg>"));
    }
}
