//! Run-length encoding against its own decoder and against outputs of pycocotools.

use proptest::prelude::*;

use super::*;
use crate::error::ImageError;
use crate::mask::category_boxes;
use crate::mask::tests::maps;

proptest! {
    #[test]
    fn maps_survive(map in maps(6)) {
        let masks = encode(&map);
        for mask in &masks {
            let text = mask.rle.to_compressed();
            prop_assert_eq!(&Rle::from_compressed(map.width(), map.height(), &text)?, &mask.rle);
        }
        prop_assert_eq!(decode(map.width(), map.height(), &masks, 1 << 20)?, map);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~]{0,40}", width in 0u32..50, height in 0u32..50) {
        let _ = Rle::from_compressed(width, height, &text);
    }

    #[test]
    fn any_counts_are_read_or_refused(counts in proptest::collection::vec(prop_oneof![0u32..4, any::<u32>()], 0..6)) {
        if let Ok(rle) = Rle::new(3, 2, counts) {
            let mask = CategoryRle { category: 0, rle };
            prop_assert!(decode(3, 2, &[mask], 6).is_ok());
        }
    }
}

#[test]
fn lengths_and_texts_equal_pycocotools() {
    // Made by tests/fixtures/make.py with pycocotools: size, index map, expected text per category.
    let text = include_str!("../../../tests/fixtures/rle.json");
    let cases: serde_json::Value = serde_json::from_str(text).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    for case in cases.as_array().unwrap() {
        let (width, height) = (number(&case["width"]) as u32, number(&case["height"]) as u32);
        // Runs along rows, [index, length], keep the fixture small.
        let indices: Vec<u16> = case["row_runs"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|run| vec![number(&run[0]) as u16; number(&run[1]) as usize])
            .collect();
        let map = IndexMap::new(width, height, indices).unwrap();
        let masks = encode(&map);
        let boxes = category_boxes(&map, map.max_category().map_or(0, |most| most + 1)).unwrap();
        let expected = case["masks"].as_array().unwrap();
        assert_eq!(masks.len(), expected.len());
        for (mask, expected) in masks.iter().zip(expected) {
            assert_eq!(u64::from(mask.category), number(&expected["category"]));
            assert_eq!(mask.rle.to_compressed(), expected["counts"].as_str().unwrap());
            let area = map.indices().iter().filter(|&&index| index == mask.category).count();
            assert_eq!(area as u64, number(&expected["area"]));
            let bounds = boxes[usize::from(mask.category)].unwrap();
            let sides = [bounds.x, bounds.y, bounds.width, bounds.height].map(u64::from);
            let expected: Vec<u64> = expected["bbox"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(sides.as_slice(), expected);
        }
    }
}

#[test]
fn damaged_texts_are_named() {
    let reason = |text: &str| match Rle::from_compressed(4, 4, text) {
        Err(ImageError::MalformedMask { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason("!").contains("alphabet"));
    assert!(reason("o").contains("ends within"));
    assert!(reason("ooooooooo0").contains("7 groups"));
    assert!(reason("1").contains("sum to 1"));
    assert!(reason("O").contains("out of range"));
}
