//! Names written onto the larger regions, each where its region is widest.

use std::ops::Range;

use super::canvas::{Canvas, Paint, Rect};
use super::layout::{INK, Metrics};
use super::text::{Face, Weight};
use super::{Entry, stretched};
use crate::mask::{IndexMap, palette};

/// Longer side of the map on which places are sought.
const SEARCH_SIDE: u32 = 256;

/// Draws the names of `entries` where they fit, the largest region first.
pub(super) fn draw(picture: &mut Canvas, map: &IndexMap, entries: &[Entry], metrics: &Metrics) {
    let scale = (f64::from(SEARCH_SIDE) / f64::from(map.width().max(map.height()))).min(1.0);
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let Ok(small) = stretched(map, (side(map.width()), side(map.height()))) else { return };
    let depths = depths(&small);
    let to_picture = picture.width() as f32 / small.width() as f32;

    let face = Face::new(Weight::SemiBold, (metrics.em * 0.88).round());
    let mut taken: Vec<Rect> = Vec::new();
    for entry in entries {
        let widest = (0..depths.len())
            .filter(|&at| small.indices()[at] == entry.category)
            .max_by(|&a, &b| depths[a].total_cmp(&depths[b]).then(b.cmp(&a)));
        let Some(at) = widest else { continue };
        let radius = depths[at] * to_picture;
        let (x, y) = (at % small.width() as usize, at / small.width() as usize);
        let pill = pill(&face, &entry.name, run_around(small.row(y), x), y, to_picture);
        let Some(pill) = pill.filter(|pill| radius > pill.height * 0.6) else { continue };
        if !taken.iter().any(|other| other.overlaps(&pill)) {
            draw_pill(picture, &face, &entry.name, pill, palette::colour(entry.category));
            taken.push(pill);
        }
    }
}

/// The run of equal indices around position `x` of `row`.
fn run_around(row: &[u16], x: usize) -> Range<usize> {
    let same = |index: &&u16| **index == row[x];
    let left = row[..x].iter().rev().take_while(same).count();
    let right = row[x..].iter().take_while(same).count();
    x - left..x + right
}

/// The box of a label in the middle of `run` of row `y` of the searched map; `None` where it is too wide.
fn pill(face: &Face, name: &str, run: Range<usize>, y: usize, to_picture: f32) -> Option<Rect> {
    let height = (face.size * 1.75).round();
    let width = (face.width(name) + face.size * 2.05).round();
    let middle = (run.start + run.end) as f32 / 2.0 * to_picture;
    let x = (middle - width / 2.0).round();
    let y = ((y as f32 + 0.5) * to_picture - height / 2.0).round();
    (width * 1.05 < run.len() as f32 * to_picture).then_some(Rect { x, y, width, height })
}

fn draw_pill(picture: &mut Canvas, face: &Face, name: &str, pill: Rect, colour: [u8; 3]) {
    let dark = Paint { rgb: [0x10, 0x12, 0x16], opacity: 0.78 };
    picture.fill_rounded(pill, pill.height / 2.0, dark);
    let dot = face.size * 0.62;
    let middle = pill.y + pill.height / 2.0;
    let spot = Rect { x: pill.x + face.size * 0.62, y: middle - dot / 2.0, width: dot, height: dot };
    picture.fill_rounded(spot, dot / 2.0, Paint::solid(colour));
    let text_x = spot.x + dot + face.size * 0.38;
    face.draw(picture, text_x, (middle + face.middle()).round(), name, Paint::solid(INK));
}

/// For every pixel about how far it is to another category or the picture's edge, in pixels: two sweeps that
/// add 1 for a straight step and √2 for a diagonal one.
fn depths(map: &IndexMap) -> Vec<f32> {
    let (width, height) = (map.width() as usize, map.height() as usize);
    let mut depths = vec![f32::MAX; width * height];
    let relax = |depths: &mut Vec<f32>, x: usize, y: usize, forward: bool| {
        let at = y * width + x;
        let mut nearest = depths[at];
        let sign = if forward { -1 } else { 1 };
        for (dx, dy, step) in [(1, 0, 1.0), (0, 1, 1.0), (1, 1, 1.414), (-1, 1, 1.414)] {
            let (nx, ny) = (x as i64 + dx * sign, y as i64 + dy * sign);
            let inside = (0..width as i64).contains(&nx) && (0..height as i64).contains(&ny);
            let other = inside.then(|| ny as usize * width + nx as usize);
            let depth = match other {
                Some(other) if map.indices()[other] == map.indices()[at] => depths[other] + step,
                // A foreign pixel, or none, half a step away at least.
                _ => step - 0.5,
            };
            nearest = nearest.min(depth);
        }
        depths[at] = nearest;
    };
    for y in 0..height {
        for x in 0..width {
            relax(&mut depths, x, y, true);
        }
    }
    for y in (0..height).rev() {
        for x in (0..width).rev() {
            relax(&mut depths, x, y, false);
        }
    }
    depths
}
