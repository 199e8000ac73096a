//! Fewer vertices by the rule of Douglas and Peucker: a vertex stays when leaving it out would move the
//! ring by more than the tolerance.

use rayon::prelude::*;

use super::{Polygon, Ring};

/// Longest piece simplified at once. The rule takes quadratic time at worst; cutting rings into pieces
/// bounds it and costs one vertex a piece.
const PIECE: usize = 1024;

/// Simplifies all rings. A hole that vanishes is dropped; an outer ring that would vanish stays exact.
pub(super) fn simplify(polygons: &mut [Polygon], tolerance: f32) {
    polygons.par_iter_mut().for_each(|polygon| {
        if let Some(outer) = simplified(&polygon.outer, tolerance) {
            polygon.outer = outer;
        }
        polygon.holes = polygon.holes.iter().filter_map(|hole| simplified(hole, tolerance)).collect();
    });
}

/// The simplified ring; `None` when fewer than three vertices would be left.
fn simplified(ring: &Ring, tolerance: f32) -> Option<Ring> {
    // A closed ring needs two fixed points: the first vertex and the one farthest from it.
    let from_first = |vertex: &[u32; 2]| vertex[0].abs_diff(ring[0][0]) + vertex[1].abs_diff(ring[0][1]);
    let far = (0..ring.len()).max_by_key(|&i| from_first(&ring[i]))?;
    let mut keep = vec![false; ring.len()];
    for (begin, end) in [(0, far), (far, ring.len())] {
        for start in (begin..end).step_by(PIECE) {
            simplify_piece(ring, start, end.min(start + PIECE), f64::from(tolerance), &mut keep);
        }
    }
    let kept: Ring = ring.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(vertex, _)| *vertex).collect();
    (kept.len() >= 3 && super::signed_area_twice(&kept) != 0).then_some(kept)
}

/// Marks what stays between vertices `first` (which stays) and `last` (taken modulo the ring).
fn simplify_piece(ring: &Ring, first: usize, last: usize, tolerance: f64, keep: &mut [bool]) {
    keep[first] = true;
    // A stack of our own: a long ring must not exhaust the thread's.
    let mut open = vec![(first, last)];
    while let Some((first, last)) = open.pop() {
        let (a, b) = (ring[first], ring[last % ring.len()]);
        let farthest = (first + 1..last)
            .map(|i| (i, distance(ring[i], a, b)))
            .max_by(|left, right| left.1.total_cmp(&right.1));
        if let Some((middle, _)) = farthest.filter(|(_, distance)| *distance > tolerance) {
            keep[middle] = true;
            open.extend([(first, middle), (middle, last)]);
        }
    }
}

/// Distance from `point` to the segment from `a` to `b`, in pixels.
fn distance(point: [u32; 2], a: [u32; 2], b: [u32; 2]) -> f64 {
    let to = |from: [u32; 2], to: [u32; 2]| {
        [f64::from(to[0]) - f64::from(from[0]), f64::from(to[1]) - f64::from(from[1])]
    };
    let (along, offset) = (to(a, b), to(a, point));
    let length = along[0] * along[0] + along[1] * along[1];
    let share = (along[0] * offset[0] + along[1] * offset[1]) / length;
    let share = if length > 0.0 { share.clamp(0.0, 1.0) } else { 0.0 };
    (offset[0] - share * along[0]).hypot(offset[1] - share * along[1])
}
