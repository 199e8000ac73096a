//! Following the border of a region along pixel edges.

use super::Ring;
use crate::error::{ImageError, Result};
use crate::mask::IndexMap;

/// Right, down, left, up on the screen.
const STEPS: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// Follows borders and remembers which were followed.
pub(super) struct Tracer<'a> {
    map: &'a IndexMap,
    /// One bit per pixel: its top edge belongs to a ring already traced.
    done: Vec<u64>,
    vertices: usize,
    max_vertices: usize,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(map: &'a IndexMap, max_vertices: usize) -> Self {
        Self { map, done: vec![0; map.indices().len().div_ceil(64)], vertices: 0, max_vertices }
    }

    /// The ring that runs along the top edge of pixel (x, y) with the pixel's region on its right; `None`
    /// when it was given before. The pixel above must be of another index.
    pub(super) fn ring_from(&mut self, x: u32, y: u32) -> Result<Option<Ring>> {
        let category = self.map.row(y as usize)[x as usize];
        let start = [i64::from(x), i64::from(y)];
        if self.is_done(start) {
            return Ok(None);
        }
        let mut ring = Ring::new();
        let (mut corner, mut heading) = (start, 0);
        loop {
            // `corner` is where the next edge begins; edges towards the right are top edges.
            if heading == 0 {
                self.mark(corner);
            }
            corner = [corner[0] + STEPS[heading][0], corner[1] + STEPS[heading][1]];
            let turn = self.turn(corner, heading, category);
            if turn != heading {
                if self.vertices == self.max_vertices {
                    return Err(ImageError::TooManyVertices { limit: self.max_vertices });
                }
                self.vertices += 1;
                // Corners lie within 0..=W and 0..=H.
                ring.push([corner[0] as u32, corner[1] as u32]);
            }
            heading = turn;
            if corner == start && heading == 0 {
                break;
            }
        }
        // The last corner met is the start: it comes first.
        if ring.last() == Some(&[x, y]) {
            ring.rotate_right(1);
        }
        Ok(Some(ring))
    }

    /// The heading of the edge that follows at `corner`. Where two pixels of the region touch only by this
    /// corner the way turns right, staying with its pixel: regions are 4-connected.
    fn turn(&self, corner: [i64; 2], heading: usize, category: u16) -> usize {
        // Offsets of the pixels ahead on the right and on the left of the way, for each heading.
        const AHEAD_RIGHT: [[i64; 2]; 4] = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
        const AHEAD_LEFT: [[i64; 2]; 4] = [[0, -1], [0, 0], [-1, 0], [-1, -1]];
        let inside =
            |offset: [i64; 2]| self.category(corner[0] + offset[0], corner[1] + offset[1]) == Some(category);
        if !inside(AHEAD_RIGHT[heading]) {
            (heading + 1) % 4
        } else if inside(AHEAD_LEFT[heading]) {
            (heading + 3) % 4
        } else {
            heading
        }
    }

    fn category(&self, x: i64, y: i64) -> Option<u16> {
        let (width, height) = (i64::from(self.map.width()), i64::from(self.map.height()));
        ((0..width).contains(&x) && (0..height).contains(&y))
            .then(|| self.map.indices()[y as usize * width as usize + x as usize])
    }

    fn bit(&self, pixel: [i64; 2]) -> (usize, u64) {
        let at = pixel[1] as usize * self.map.width() as usize + pixel[0] as usize;
        (at / 64, 1 << (at % 64))
    }

    fn is_done(&self, pixel: [i64; 2]) -> bool {
        let (word, bit) = self.bit(pixel);
        self.done[word] & bit != 0
    }

    fn mark(&mut self, pixel: [i64; 2]) {
        let (word, bit) = self.bit(pixel);
        self.done[word] |= bit;
    }
}
