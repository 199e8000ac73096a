//! The formats of `segment`'s files, with the embedded model: each against the index map. That other programs read
//! them is tested in tests/clients/python.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    eval::example,
    support::{Outcome, index_map, run, text},
};

const WORDS: &str = "sky, grass, road|street, tree, cow/ox";

/// Segments the farm, at a small size, into `folder`.
fn farm(folder: &Path, formats: &str, more: &[&str]) -> Outcome {
    let picture = folder.join("farm.png");
    image::open(example("farm.png")).unwrap().thumbnail(96, 72).save(&picture).unwrap();
    let output = folder.join("out");
    let how = ["segment", text(&picture), "--words", WORDS, "--output", text(&output), "--format", formats];
    run(&[&how[..], more].concat())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_format_agrees_with_the_index_map() {
    let folder = tempfile::tempdir().unwrap();
    let formats = "index-png,category-png,coco-panoptic,coco-instances,sureness-npz,score-maps-npz";
    let outcome = farm(folder.path(), formats, &["--json"]).good();
    let report = outcome.json().remove(0);
    let out = folder.path().join("out");
    let (width, height, map) = index_map(&out.join("farm.mask.png"));
    assert!(!out.join("farm.overlay.png").exists() && report["files"]["overlay"].is_null());
    let mut areas = BTreeMap::<u8, u64>::new();
    map.iter().filter(|index| **index != 255).for_each(|index| *areas.entry(*index).or_default() += 1);
    assert!(areas.len() > 2, "{areas:?}");

    // A PNG for each category that was found, under a name that a file system can hold.
    let names = ["sky", "grass", "road", "tree", "cow_ox"];
    for (index, name) in (0..).zip(names) {
        let file = out.join(format!("farm.categories/{name}.png"));
        assert_eq!(file.exists(), areas.contains_key(&index), "{name}");
        if file.exists() {
            let mask = image::open(file).unwrap().to_luma8();
            assert!(mask.iter().zip(&map).all(|(white, at)| *white == if *at == index { 255 } else { 0 }));
        }
    }

    let panoptic = json(&out.join("coco-panoptic.json"));
    let picture = &panoptic["images"][0];
    assert_eq!(picture["width"], width);
    assert_eq!(picture["height"], height);
    assert!(picture["file_name"].as_str().unwrap().ends_with("/farm.png"), "{picture}");
    assert_eq!(panoptic["annotations"][0]["file_name"], "farm.png");
    let ids = image::open(out.join("coco-panoptic/farm.png")).unwrap().into_rgb8();
    assert!(ids.pixels().zip(&map).all(|(id, index)| id.0 == [index.wrapping_add(1), 0, 0]));
    let segments = panoptic["annotations"][0]["segments_info"].as_array().unwrap();
    let found: BTreeMap<u8, u64> = segments
        .iter()
        .map(|segment| {
            assert_eq!(segment["id"], segment["category_id"]);
            (segment["id"].as_u64().unwrap() as u8 - 1, segment["area"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(found, areas);

    let instances = json(&out.join("coco-instances.json"));
    let annotations = instances["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), areas.len());
    for annotation in annotations {
        let index = annotation["category_id"].as_u64().unwrap() as u8 - 1;
        assert_eq!(annotation["area"], areas[&index]);
        assert_eq!(annotation["segmentation"]["size"], serde_json::json!([height, width]));
        assert_eq!(annotation["image_id"], 1);
    }
    assert_eq!(instances["categories"], panoptic["categories"]);
    assert_eq!(instances["categories"][2]["name"], "road");

    let pixels = (width * height) as usize;
    let sureness = arrays(&out.join("farm.sureness.npz"));
    assert_eq!(sureness["score"], pixels * 2);
    assert_eq!(sureness["margin"], pixels * 2);
    assert_eq!(sureness["runner_up"], pixels * 4);
    let maps = arrays(&out.join("farm.score-maps.npz"));
    assert_eq!(maps["scores"] % maps["category_indices"], 0);
    assert_eq!(report["files"]["arrays"].as_array().unwrap().len(), 2);
}

/// Bytes of the arrays of an .npz file, by their names.
fn arrays(path: &Path) -> BTreeMap<String, usize> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut sizes = BTreeMap::new();
    for index in 0..archive.len() {
        let mut array = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        std::io::copy(&mut array, &mut bytes).unwrap();
        // The length of the head stands behind 8 others in 2 bytes.
        let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        sizes.insert(array.name().unwrap().trim_end_matches(".npy").to_owned(), bytes.len() - head);
    }
    sizes
}

#[test]
fn the_earlier_flag_for_planes_works_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = farm(folder.path(), "index-png", &["--encodings", "score-png"]).good();
    assert!(outcome.stderr.contains("--encodings is now a part of --format"), "{}", outcome.stderr);
    assert!(folder.path().join("out/farm.score.png").exists());
}

#[test]
fn fading_needs_an_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = farm(folder.path(), "index-png", &["--fade-unsure"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("add `overlay`"), "{}", outcome.stderr);
}
