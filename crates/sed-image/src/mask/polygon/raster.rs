//! Polygons back to an index map, for tests of this crate and of those above it.

use super::{Polygon, Ring};
use crate::error::Result;
use crate::mask::{IndexMap, check_map_size};

/// Fills each polygon (even-odd rule, at pixel centres) into a map of `width` × `height`; where polygons
/// overlap the later one wins. Vertices outside the map are allowed.
///
/// # Errors
/// [`crate::ImageError::ZeroSize`], [`crate::ImageError::TooManyPixels`] for more than `max_pixels`.
pub fn rasterise(width: u32, height: u32, polygons: &[Polygon], max_pixels: u64) -> Result<IndexMap> {
    check_map_size(width, height, max_pixels)?;
    let mut map = IndexMap::unlabelled(width, height)?;
    let mut crossings: Vec<(u32, u32)> = Vec::new();
    for polygon in polygons {
        crossings.clear();
        for ring in std::iter::once(&polygon.outer).chain(&polygon.holes) {
            add_crossings(ring, width, height, &mut crossings);
        }
        crossings.sort_unstable();
        // Within a row every second span is inside; each ring crosses a row an even number of times.
        for pair in crossings.chunks_exact(2) {
            let row = pair[0].0 as usize * width as usize;
            map.indices_mut()[row + pair[0].1 as usize..row + pair[1].1 as usize].fill(polygon.category);
        }
    }
    Ok(map)
}

/// For each row whose centre line an edge of `ring` crosses: the row, and the first pixel whose centre is
/// not left of the crossing.
fn add_crossings(ring: &Ring, width: u32, height: u32, crossings: &mut Vec<(u32, u32)>) {
    for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
        let (top, bottom) = if a[1] < b[1] { (a, b) } else { (b, a) };
        let rise = f64::from(bottom[1]) - f64::from(top[1]);
        let slope = (f64::from(bottom[0]) - f64::from(top[0])) / rise;
        // Vertices lie on pixel corners and row centres between them: none is ever met exactly.
        for y in top[1]..bottom[1].min(height) {
            let x = f64::from(top[0]) + (f64::from(y - top[1]) + 0.5) * slope;
            crossings.push((y, (x - 0.5).ceil().clamp(0.0, f64::from(width)) as u32));
        }
    }
}
