//! The legend: a panel beside a tall picture or below a wide one.

use super::Entry;
use super::canvas::{Canvas, Paint, Rect};
use super::layout::{INK, MUTED, Metrics, PANEL, TRACK};
use super::text::{Face, Weight};
use crate::mask::palette;

/// A picture more than so many times as wide as tall has its legend below.
const WIDE: f32 = 1.7;

/// One line of the legend.
struct Line {
    swatch: Swatch,
    name: String,
    share: f64,
}

/// The mark before a name.
#[derive(Clone, Copy, PartialEq)]
enum Swatch {
    /// A category's colour.
    Filled([u8; 3]),
    /// A rim: the pixels without a category.
    Hollow,
    /// Nothing: the sum of the categories that have no line of their own.
    None,
}

/// The legend's content, to be laid out.
pub(super) struct Legend<'a> {
    entries: &'a [Entry],
    max_entries: usize,
    unlabelled: f64,
    metrics: &'a Metrics,
}

impl<'a> Legend<'a> {
    pub(super) fn new(entries: &'a [Entry], max_entries: usize, metrics: &'a Metrics) -> Self {
        let labelled: f64 = entries.iter().map(|entry| entry.share).sum();
        Self { entries, max_entries, unlabelled: (1.0 - labelled).max(0.0), metrics }
    }

    /// The picture with its legend.
    pub(super) fn beside(&self, picture: Canvas) -> Canvas {
        if picture.width() as f32 > picture.height() as f32 * WIDE {
            self.below(&picture)
        } else {
            self.right(&picture)
        }
    }

    fn right(&self, picture: &Canvas) -> Canvas {
        let pad = self.pad();
        let head = self.heading_height();
        let room = picture.height() as f32 - pad * 2.0 - head;
        let lines = self.lines((room / self.tight_line_height()) as usize);
        // Lines move together before one is left out.
        let line_height =
            (room / lines.len() as f32).clamp(self.tight_line_height(), self.line_height()).floor();
        let column = self.column_width(&lines, picture.width() as f32 * 0.6);
        let panel = (column + pad * 2.0).ceil() as u32;
        // A low picture still gets a few lines.
        let least = (pad * 2.0 + head + lines.len() as f32 * line_height).ceil() as u32;
        let mut canvas = Canvas::filled(picture.width() + panel, picture.height().max(least), PANEL);
        canvas.place(picture);
        let x = picture.width() as f32 + pad;
        self.draw_heading(&mut canvas, x, pad, column);
        for (i, line) in lines.iter().enumerate() {
            self.draw_line(&mut canvas, x, pad + head + i as f32 * line_height, column, line);
        }
        canvas
    }

    fn below(&self, picture: &Canvas) -> Canvas {
        let (pad, gap, head) = (self.pad(), self.metrics.em * 2.2, self.heading_height());
        let room = picture.width() as f32 - pad * 2.0;
        let lines = self.lines(usize::MAX);
        let wanted = self.column_width(&lines, room.min(self.metrics.em * 18.0));
        let columns = (((room + gap) / (wanted + gap)) as usize).clamp(1, lines.len().max(1));
        let per_column = lines.len().div_ceil(columns);
        // The last columns may stay empty: fewer, wider ones look better.
        let columns = lines.len().div_ceil(per_column.max(1)).max(1);
        let width = ((room + gap) / columns as f32 - gap).min(self.metrics.em * 24.0);
        let panel = (pad * 2.0 + head + per_column as f32 * self.line_height()).ceil() as u32;
        let mut canvas = Canvas::filled(picture.width(), picture.height() + panel, PANEL);
        canvas.place(picture);
        let top = picture.height() as f32 + pad;
        self.draw_heading(&mut canvas, pad, top, room);
        for (i, line) in lines.iter().enumerate() {
            let x = pad + (i / per_column) as f32 * (width + gap);
            let y = top + head + (i % per_column) as f32 * self.line_height();
            self.draw_line(&mut canvas, x, y, width, line);
        }
        canvas
    }

    /// At most `room` lines (but at least 3): the categories, the rest in one line, what has none.
    fn lines(&self, room: usize) -> Vec<Line> {
        let unlabelled = self.unlabelled > 0.000_5 || self.entries.is_empty();
        let room = room.max(3) - usize::from(unlabelled);
        let most = room.min(self.max_entries.max(1));
        // One left over takes the line that would sum it up.
        let shown = if self.entries.len() <= most { self.entries.len() } else { most.min(room - 1) };
        let mut lines: Vec<Line> = self.entries[..shown]
            .iter()
            .map(|entry| Line {
                swatch: Swatch::Filled(palette::colour(entry.category)),
                name: entry.name.clone(),
                share: entry.share,
            })
            .collect();
        let rest = &self.entries[shown..];
        if !rest.is_empty() {
            let share = rest.iter().map(|entry| entry.share).sum();
            lines.push(Line { swatch: Swatch::None, name: format!("+ {} more", rest.len()), share });
        }
        if unlabelled {
            let name = "unlabelled".to_owned();
            lines.push(Line { swatch: Swatch::Hollow, name, share: self.unlabelled });
        }
        lines
    }

    fn draw_heading(&self, canvas: &mut Canvas, x: f32, y: f32, width: f32) {
        let count = self.entries.len();
        let text = if count == 1 { "1 category".to_owned() } else { format!("{count} categories") };
        let face = Face::new(Weight::SemiBold, self.metrics.em * 1.12);
        let baseline = (y + face.size).round();
        face.draw(canvas, x, baseline, &face.fitted(&text, width), Paint::solid(INK));
    }

    /// One line in the box of width `width` at (x, y): swatch, name, share, and below them a bar.
    fn draw_line(&self, canvas: &mut Canvas, x: f32, y: f32, width: f32, line: &Line) {
        let em = self.metrics.em;
        let face = self.face();
        let middle = (y + em * 0.8).round();
        let baseline = (middle + face.middle()).round();
        let side = (em * 0.86).round();
        let swatch = Rect { x, y: middle - (side / 2.0).floor(), width: side, height: side };
        match line.swatch {
            Swatch::Filled(colour) => canvas.fill_rounded(swatch, side * 0.26, Paint::solid(colour)),
            Swatch::Hollow => {
                canvas.fill_rounded(swatch, side * 0.26, Paint::solid(MUTED));
                let rim = (em * 0.09).max(1.0).round();
                let inner = side - rim * 2.0;
                let hollow = Rect { x: x + rim, y: swatch.y + rim, width: inner, height: inner };
                canvas.fill_rounded(hollow, inner * 0.2, Paint::solid(PANEL));
            }
            Swatch::None => {}
        }
        let (ink, bar) = match line.swatch {
            Swatch::Filled(colour) => (INK, colour),
            Swatch::Hollow | Swatch::None => (MUTED, MUTED),
        };
        let share = percent(line.share);
        let share_x = x + width - face.width(&share);
        face.draw(canvas, share_x, baseline, &share, Paint::solid(MUTED));
        let name_x = x + side + em * 0.55;
        let name = face.fitted(&line.name, share_x - em * 0.8 - name_x);
        face.draw(canvas, name_x, baseline, &name, Paint::solid(ink));

        let thickness = (em * 0.16).max(2.0).round();
        let track =
            Rect { x: name_x, y: (y + em * 1.55).round(), width: x + width - name_x, height: thickness };
        canvas.fill_rounded(track, thickness / 2.0, Paint::solid(TRACK));
        let filled = Rect { width: (track.width * line.share as f32).max(thickness), ..track };
        canvas.fill_rounded(filled, thickness / 2.0, Paint::solid(bar));
    }

    /// The width that the longest line asks for, at most `most`.
    fn column_width(&self, lines: &[Line], most: f32) -> f32 {
        let (em, face) = (self.metrics.em, self.face());
        let names = lines.iter().map(|line| face.width(&line.name)).fold(0.0, f32::max);
        let wanted = em * 0.86 + em * 0.55 + names + em * 1.6 + face.width("100.0 %");
        wanted.clamp(em * 11.0, em * 22.0).min(most.max(em * 9.0)).ceil()
    }

    fn face(&self) -> Face {
        Face::new(Weight::Regular, self.metrics.em)
    }

    fn pad(&self) -> f32 {
        (self.metrics.em * 1.4).round()
    }

    fn line_height(&self) -> f32 {
        (self.metrics.em * 2.25).round()
    }

    fn tight_line_height(&self) -> f32 {
        (self.metrics.em * 1.9).round()
    }

    fn heading_height(&self) -> f32 {
        (self.metrics.em * 2.0).round()
    }
}

/// A share of 0 to 1 as text.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn small_shares_are_not_nothing() {
        assert_eq!(percent(0.0), "0.0 %");
        assert_eq!(percent(0.0001), "< 0.1 %");
        assert_eq!(percent(0.3456), "34.6 %");
        assert_eq!(percent(1.0), "100.0 %");
    }
}
