//! The parts that all charts share: title, grid, lines, marks and legend.

use anyhow::{Result, anyhow};
use plotters::{
    chart::ChartContext,
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        Cartesian2d, ChartBuilder, Circle, DrawingArea, DrawingBackend, LineSeries, PathElement, Rectangle,
        Text,
    },
    style::{
        Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{FONT, axis::Axis};

pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
pub(super) const FAINT: RGBColor = RGBColor(107, 114, 128);
pub(super) const BLUE: RGBColor = RGBColor(37, 99, 235);
pub(super) const ORANGE: RGBColor = RGBColor(217, 119, 6);
pub(super) const RED: RGBColor = RGBColor(190, 24, 93);
pub(super) const GREEN: RGBColor = RGBColor(21, 128, 61);
pub(super) const VIOLET: RGBColor = RGBColor(124, 58, 237);
const GRID: RGBColor = RGBColor(229, 231, 235);
const PAPER: RGBColor = RGBColor(255, 255, 255);

type Coordinates = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// Titles and axes of a chart.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    pub(super) x: &'a Axis,
    pub(super) x_name: &'a str,
    pub(super) y: &'a Axis,
}

/// A chart that is being drawn. Places are in the units of the axes, lengths in units of the picture.
pub(super) struct Chart<'a, B: DrawingBackend> {
    context: ChartContext<'a, B, Coordinates>,
    /// The whole picture.
    area: &'a DrawingArea<B, Shift>,
    frame: &'a Frame<'a>,
    scale: f64,
}

impl<'a, B: DrawingBackend> Chart<'a, B>
where
    B::ErrorType: 'static,
{
    /// Draws paper, titles and grid.
    pub(super) fn new(area: &'a DrawingArea<B, Shift>, frame: &'a Frame<'a>, scale: f64) -> Result<Self> {
        let px = |units: f64| (units * scale).round() as i32;
        area.fill(&PAPER).map_err(failed)?;
        let title = text(20.0 * scale, INK, FontStyle::Bold);
        area.draw(&Text::new(frame.title, (px(28.0), px(20.0)), title)).map_err(failed)?;
        let subtitle = text(14.0 * scale, FAINT, FontStyle::Normal);
        area.draw(&Text::new(frame.subtitle, (px(28.0), px(50.0)), subtitle)).map_err(failed)?;

        let context = ChartBuilder::on(area)
            .margin_top(px(92.0))
            .margin_right(px(36.0))
            .margin_left(px(92.0))
            .margin_bottom(px(68.0))
            .build_cartesian_2d(frame.x.low..frame.x.high, frame.y.low..frame.y.high)
            .map_err(failed)?;
        let mut chart = Self { context, area, frame, scale };
        chart.grid()?;
        Ok(chart)
    }

    /// Draws grid lines, their labels, and the name of the x axis.
    fn grid(&mut self) -> Result<()> {
        let Frame { x, y, .. } = *self.frame;
        let line = ShapeStyle::from(&GRID).stroke_width(self.px(1.0) as u32);
        for (at, label) in &x.ticks {
            let upright = PathElement::new([(*at, y.low), (*at, y.high)], line);
            self.context.draw_series([upright]).map_err(failed)?;
            let (across, down) = self.context.backend_coord(&(*at, y.low));
            self.label(label, (across, down + self.px(10.0)), (HPos::Center, VPos::Top))?;
        }
        for (at, label) in &y.ticks {
            let level = PathElement::new([(x.low, *at), (x.high, *at)], line);
            self.context.draw_series([level]).map_err(failed)?;
            let (across, down) = self.context.backend_coord(&(x.low, *at));
            self.label(label, (across - self.px(12.0), down), (HPos::Right, VPos::Center))?;
        }
        let (right, bottom) = self.context.backend_coord(&(x.high, y.low));
        self.label(self.frame.x_name, (right, bottom + self.px(34.0)), (HPos::Right, VPos::Top))
    }

    /// Draws words beside the chart, at a place in pixels.
    fn label(&self, words: &str, at: (i32, i32), (side, height): (HPos, VPos)) -> Result<()> {
        let style = text(13.0 * self.scale, FAINT, FontStyle::Normal).pos(Pos::new(side, height));
        self.area.draw(&Text::new(words.to_owned(), at, style)).map_err(failed)
    }

    /// Draws a line through places.
    pub(super) fn line(&mut self, places: &[(f64, f64)], colour: RGBColor) -> Result<()> {
        let style = ShapeStyle::from(&colour).stroke_width(self.px(2.0) as u32);
        self.context.draw_series(LineSeries::new(places.iter().copied(), style)).map_err(failed)?;
        Ok(())
    }

    /// Draws a dot.
    pub(super) fn dot(&mut self, place: (f64, f64), colour: RGBColor, radius: f64) -> Result<()> {
        let halo = Circle::new(place, self.px(radius + 1.5), ShapeStyle::from(&PAPER).filled());
        let dot = Circle::new(place, self.px(radius), ShapeStyle::from(&colour).filled());
        self.context.draw_series([halo, dot]).map_err(failed)?;
        Ok(())
    }

    /// Draws a vertical line through the whole chart.
    pub(super) fn upright(&mut self, at: f64, colour: RGBColor) -> Result<()> {
        let style = ShapeStyle::from(&colour.mix(0.5)).stroke_width(self.px(1.5) as u32);
        let line = PathElement::new([(at, self.frame.y.low), (at, self.frame.y.high)], style);
        self.context.draw_series([line]).map_err(failed)?;
        Ok(())
    }

    /// Draws words that end (`HPos::Right`), begin (`Left`) or are centred (`Center`) above a place.
    pub(super) fn words(
        &mut self,
        place: (f64, f64),
        words: &str,
        colour: RGBColor,
        side: HPos,
    ) -> Result<()> {
        let style = text(13.0 * self.scale, colour, FontStyle::Bold).pos(Pos::new(side, VPos::Bottom));
        let (x, y) = self.context.backend_coord(&place);
        let nudge = match side {
            HPos::Left => 6.0,
            HPos::Right => -6.0,
            HPos::Center => 0.0,
        };
        let at = (x + self.px(nudge), y - self.px(7.0));
        self.area.draw(&Text::new(words.to_owned(), at, style)).map_err(failed)
    }

    /// Draws the names of the lines in their colours, at the upper left.
    pub(super) fn legend(&mut self, entries: &[(&str, RGBColor)]) -> Result<()> {
        let area = self.context.plotting_area().strip_coord_spec();
        for (index, (name, colour)) in entries.iter().enumerate() {
            let y = self.px(14.0 + 22.0 * index as f64);
            let style = ShapeStyle::from(colour).filled();
            let corners = [(self.px(14.0), y - self.px(1.5)), (self.px(38.0), y + self.px(1.5))];
            area.draw(&Rectangle::new(corners, style)).map_err(failed)?;
            let words =
                text(13.0 * self.scale, INK, FontStyle::Normal).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new((*name).to_owned(), (self.px(46.0), y), words)).map_err(failed)?;
        }
        Ok(())
    }

    fn px(&self, units: f64) -> i32 {
        (units * self.scale).round() as i32
    }
}

fn text(size: f64, colour: RGBColor, style: FontStyle) -> TextStyle<'static> {
    let colour = colour.to_backend_color();
    // A font's style has to be given with it: changing it later leaves the old glyphs.
    TextStyle { color: colour, ..TextStyle::from(FontDesc::new(FontFamily::Name(FONT), size, style)) }
}

pub(super) fn failed<E: std::fmt::Display>(error: E) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}
