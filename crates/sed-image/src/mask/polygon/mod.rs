//! Regions as polygons: for every connected region its outer ring and the rings of its holes.
//!
//! Vertices lie on pixel corners: (0, 0) is the picture's top left corner, (W, H) its bottom right one, so
//! that a polygon's area is its number of pixels. Outer rings run clockwise as seen on the screen, holes
//! counter-clockwise. At tolerance 0 they cover exactly the pixels of their regions.

#[cfg(any(test, feature = "test-util"))]
mod raster;
mod simplify;
mod trace;

#[cfg(any(test, feature = "test-util"))]
pub use raster::rasterise;

use super::regions::Regions;
use super::{IndexMap, UNLABELLED};
use crate::error::{ImageError, Result};

/// A closed ring of pixel corners (x, y); the last vertex is joined to the first, which is not repeated.
pub type Ring = Vec<[u32; 2]>;

/// One connected region (4-connected) of a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polygon {
    /// Index of the category.
    pub category: u16,
    /// Pixels of the region, before simplification.
    pub pixels: u64,
    /// The outer ring, clockwise on the screen.
    pub outer: Ring,
    /// The rings of the holes, counter-clockwise.
    pub holes: Vec<Ring>,
}

/// Options for the polygons of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolygonOptions {
    /// Largest distance, in pixels, of a simplified ring from the true border; 0 keeps every corner.
    pub tolerance: f32,
    /// Regions with fewer pixels are left out; holes with fewer pixels are filled.
    pub min_pixels: u64,
    /// Most vertices of all rings together, before simplification.
    pub max_vertices: usize,
}

impl Default for PolygonOptions {
    /// One pixel of tolerance, every region, four million vertices.
    fn default() -> Self {
        Self { tolerance: 1.0, min_pixels: 0, max_vertices: 4_000_000 }
    }
}

/// Encodes every region of every category, in the order of their topmost pixels.
///
/// # Errors
/// [`ImageError::TooManyVertices`]; [`ImageError::Option`] for a negative or non-finite tolerance.
pub fn encode(map: &IndexMap, options: &PolygonOptions) -> Result<Vec<Polygon>> {
    if !options.tolerance.is_finite() || options.tolerance < 0.0 {
        let actual = options.tolerance.to_string();
        let expected = "it must be 0 or a positive number of pixels";
        return Err(ImageError::Option { name: "tolerance", actual, expected });
    }
    let regions = Regions::of(map);
    // Where a region's polygon is; unlabelled and small regions have none.
    let mut places: Vec<Option<usize>> = vec![None; regions.areas.len()];
    let mut polygons: Vec<Polygon> = Vec::new();
    let mut tracer = trace::Tracer::new(map, options.max_vertices);
    for run in &regions.runs {
        let pixels = regions.areas[run.region as usize];
        if run.category == UNLABELLED || pixels < options.min_pixels {
            continue;
        }
        let above = run.y.checked_sub(1).map(|y| map.row(y as usize));
        for x in run.start..run.end {
            if above.is_some_and(|row| row[x as usize] == run.category) {
                continue;
            }
            let Some(ring) = tracer.ring_from(x, run.y)? else { continue };
            match places[run.region as usize] {
                // The first ring met is the outer one: it holds the region's topmost border.
                None => {
                    places[run.region as usize] = Some(polygons.len());
                    polygons.push(Polygon { category: run.category, pixels, outer: ring, holes: Vec::new() });
                }
                Some(place) if area(&ring) >= options.min_pixels => polygons[place].holes.push(ring),
                Some(_) => {}
            }
        }
    }
    if options.tolerance > 0.0 {
        simplify::simplify(&mut polygons, options.tolerance);
    }
    Ok(polygons)
}

/// Twice the signed area of a ring: positive when it runs clockwise on the screen.
fn signed_area_twice(ring: &Ring) -> i64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter()
        .zip(next)
        .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
        .sum()
}

/// The area that a ring encloses, in pixels (half pixels are cut off).
pub fn area(ring: &Ring) -> u64 {
    signed_area_twice(ring).unsigned_abs() / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    const EXACT: PolygonOptions = PolygonOptions { tolerance: 0.0, min_pixels: 0, max_vertices: 100_000 };

    fn map(rows: &[&str]) -> IndexMap {
        let index = |c| if c == b'.' { UNLABELLED } else { u16::from(c - b'0') };
        let indices = rows.iter().flat_map(|row| row.bytes()).map(index).collect();
        IndexMap::new(rows[0].len() as u32, rows.len() as u32, indices).unwrap()
    }

    #[test]
    fn a_ring_with_a_hole() {
        let map = map(&["0000", "0110", "0000"]);
        let polygons = encode(&map, &EXACT).unwrap();
        assert_eq!(polygons.len(), 2);
        assert_eq!(polygons[0].outer, [[0, 0], [4, 0], [4, 3], [0, 3]]);
        assert_eq!(polygons[0].holes.len(), 1);
        assert_eq!(area(&polygons[0].holes[0]), 2);
        assert_eq!((polygons[0].category, polygons[0].pixels), (0, 10));
        assert_eq!(polygons[1].outer, [[1, 1], [3, 1], [3, 2], [1, 2]]);
    }

    proptest! {
        #[test]
        fn rasterising_gives_back_the_map(map in maps(3)) {
            let polygons = encode(&map, &EXACT)?;
            prop_assert_eq!(rasterise(map.width(), map.height(), &polygons, 1000)?, map);
            for polygon in &polygons {
                let holes: u64 = polygon.holes.iter().map(area).sum();
                prop_assert_eq!(area(&polygon.outer) - holes, polygon.pixels);
                prop_assert!(signed_area_twice(&polygon.outer) > 0);
                prop_assert!(polygon.holes.iter().all(|hole| signed_area_twice(hole) < 0));
            }
        }

        #[test]
        fn simplified_rings_stay_rings(map in maps(2), tolerance in 0.1f32..4.0) {
            let exact = encode(&map, &EXACT)?;
            let rough = encode(&map, &PolygonOptions { tolerance, ..EXACT })?;
            prop_assert_eq!(rough.len(), exact.len());
            for polygon in &rough {
                prop_assert!(polygon.outer.len() >= 3);
                prop_assert!(polygon.holes.iter().all(|hole| hole.len() >= 3));
            }
            let count = |all: &[Polygon]| all.iter().map(|p| p.outer.len()).sum::<usize>();
            prop_assert!(count(&rough) <= count(&exact));
            rasterise(map.width(), map.height(), &rough, 1000)?;
        }
    }

    #[test]
    fn a_large_disc_needs_few_vertices_and_keeps_its_area() {
        let inside = |i: u32| (f64::from(i % 400) - 199.5).hypot(f64::from(i / 400) - 199.5) < 180.0;
        let indices = (0..160_000).map(|i| if inside(i) { 0 } else { UNLABELLED }).collect();
        let map = IndexMap::new(400, 400, indices).unwrap();
        let polygons = encode(&map, &PolygonOptions::default()).unwrap();
        assert!(polygons[0].outer.len() < 120, "{}", polygons[0].outer.len());
        let loss = polygons[0].pixels.abs_diff(area(&polygons[0].outer));
        assert!(loss * 100 < polygons[0].pixels, "{loss} of {}", polygons[0].pixels);
    }

    #[test]
    fn limits_and_options_are_checked() {
        let map = map(&["01", "10"]);
        let refused = |options| encode(&map, &options).unwrap_err().reason();
        assert_eq!(refused(PolygonOptions { max_vertices: 15, ..EXACT }), "MASK_TOO_MANY_VERTICES");
        assert_eq!(refused(PolygonOptions { tolerance: f32::NAN, ..EXACT }), "OPTION_OUT_OF_RANGE");
        assert_eq!(encode(&map, &PolygonOptions { min_pixels: 2, ..EXACT }).unwrap(), []);
    }
}
