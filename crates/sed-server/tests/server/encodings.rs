//! Every mask encoding holds the same map.

use sed_image::mask::{IndexMap, UNLABELLED, png, polygon, raw, rle};
use sed_proto::v1::{self, MaskEncoding, mask::Content};
use sed_server::Settings;

use crate::harness::{Running, with_options};

async fn masks(encodings: &[MaskEncoding]) -> v1::SegmentResponse {
    let server = Running::start(Settings::default()).await;
    let options = v1::SegmentOptions {
        mask_encodings: encodings.iter().map(|encoding| i32::from(*encoding)).collect(),
        polygon_tolerance: Some(0.0),
        score_threshold: Some(0.9), // so that some pixels are unlabelled
        ..Default::default()
    };
    server.segment(with_options(9, options)).await.unwrap()
}

#[tokio::test]
async fn all_encodings_hold_the_same_map() {
    let encodings = [
        MaskEncoding::Raw,
        MaskEncoding::IndexPng,
        MaskEncoding::IndexPng8,
        MaskEncoding::IndexPng16,
        MaskEncoding::CocoRle,
        MaskEncoding::Polygons,
    ];
    let answer = masks(&encodings).await;
    let given: Vec<_> = answer.masks.iter().map(v1::Mask::encoding).collect();
    assert_eq!(given[1], MaskEncoding::IndexPng8);
    assert_eq!([&given[..1], &given[2..]].concat(), [&encodings[..1], &encodings[2..]].concat());

    let maps: Vec<IndexMap> = answer.masks.iter().map(decoded).collect();
    assert!(maps[0].indices().contains(&UNLABELLED));
    assert!(maps[0].indices().iter().any(|index| *index != UNLABELLED));
    for (mask, map) in answer.masks.iter().zip(&maps) {
        assert_eq!(map, &maps[0], "{:?}", mask.encoding());
    }
    let unlabelled: Vec<_> = answer.masks.iter().map(|mask| mask.unlabelled_index).collect();
    assert_eq!(unlabelled, [65_535, 255, 255, 65_535, 65_535, 65_535]);
}

fn decoded(mask: &v1::Mask) -> IndexMap {
    match mask.content.as_ref().unwrap() {
        Content::RawIndices(bytes) => raw::decode_u16(40, 24, bytes).unwrap(),
        Content::IndexPng(bytes) => png::decode(bytes, 10_000).unwrap(),
        Content::Rle(masks) => {
            let one = |mask: &v1::RleMask| rle::CategoryRle {
                category: mask.category_index as u16,
                rle: rle::Rle::from_compressed(40, 24, std::str::from_utf8(&mask.counts).unwrap()).unwrap(),
            };
            let masks: Vec<_> = masks.masks.iter().map(one).collect();
            rle::decode(40, 24, &masks, 10_000).unwrap()
        }
        Content::Polygons(found) => {
            let ring = |ring: &v1::Ring| -> Vec<[u32; 2]> {
                ring.coordinates.chunks(2).map(|point| [point[0], point[1]]).collect()
            };
            let one = |polygon: &v1::Polygon| polygon::Polygon {
                category: polygon.category_index as u16,
                pixels: polygon.pixels,
                outer: ring(polygon.exterior.as_ref().unwrap()),
                holes: polygon.holes.iter().map(ring).collect(),
            };
            let polygons: Vec<_> = found.polygons.iter().map(one).collect();
            polygon::rasterise(40, 24, &polygons, 10_000).unwrap()
        }
        _ => panic!("no map"),
    }
}

#[tokio::test]
async fn score_maps_are_those_of_the_survivors() {
    let answer = masks(&[MaskEncoding::ScoreMaps]).await;
    let Some(Content::ScoreMaps(maps)) = &answer.masks[0].content else { panic!("no score maps") };
    assert_eq!((maps.width, maps.height), (8, 8));
    assert_eq!(maps.category_indices, answer.rejection.unwrap().levels[2].survivors);
    assert_eq!(maps.scores.len(), maps.category_indices.len() * 64 * 4);
    let scores: Vec<f32> =
        maps.scores.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    assert!(scores.iter().any(|score| *score != scores[0]));
}
