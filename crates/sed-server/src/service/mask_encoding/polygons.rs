//! `POLYGONS`: for each region its outline and its holes.

use sed_image::{
    ImageError,
    mask::polygon::{self, Polygon, PolygonOptions},
};
use sed_proto::v1::{self, ErrorReason, MaskEncoding, mask::Content};

use super::{
    form::{Form, Source},
    own_fault,
    runs::Runs,
};
use crate::{config::Settings, field::Field, request_error::RequestError};

/// Bytes of a corner of a polygon in all forms that it takes, with the growth of its lists.
const CORNER: u64 = 64;

pub(super) struct Polygons;

impl Form for Polygons {
    fn encoding(&self) -> MaskEncoding {
        MaskEncoding::Polygons
    }

    fn bytes_of_size(&self, pixels: u64) -> u64 {
        pixels / 8
    }

    fn bytes_of_runs(&self, runs: Runs, limits: &Settings) -> Option<u64> {
        let corners = 2 * (runs.along_rows + runs.along_columns);
        Some(corners.min(limits.max_polygon_points as u64) * CORNER)
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let wanted = PolygonOptions {
            tolerance: source.options.polygon_tolerance,
            min_pixels: u64::from(source.options.min_area),
            max_vertices: source.limits.max_polygon_points,
        };
        let found = polygon::encode(source.map, &wanted).map_err(|error| match error {
            ImageError::TooManyVertices { limit } => {
                let message = "the polygons have too many points; set min_area, or ask for COCO_RLE";
                RequestError::new(ErrorReason::OutputTooLarge, Field::MaskEncodings, message)
                    .with_limit(limit as u64)
            }
            other => own_fault(&other),
        })?;
        let ring = |ring: Vec<[u32; 2]>| v1::Ring { coordinates: ring.into_iter().flatten().collect() };
        let polygon = |found: Polygon| v1::Polygon {
            category_index: found.category.into(),
            pixels: found.pixels,
            exterior: Some(ring(found.outer)),
            holes: found.holes.into_iter().map(ring).collect(),
        };
        Ok(Content::Polygons(v1::PolygonMasks { polygons: found.into_iter().map(polygon).collect() }))
    }
}
