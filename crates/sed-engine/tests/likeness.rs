//! The embedded model's words: planted pairs are found, and contrast words near the asked ones are left out.

#![allow(clippy::unwrap_used)] // helpers of tests fail their test

use std::path::PathBuf;

use candle_core::Device;
use sed_engine::{COMMON_WORDS, Category, ClosestPairs, Directions, builtin_vocabularies, far_from};
use sed_model::{SedModel, checkpoint::Checkpoint, config::SedConfig};

fn tiny() -> SedModel {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/sed-tiny"));
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config = SedConfig::from_json(&config, "config.json").unwrap();
    let checkpoint = Checkpoint::open(&folder.join("sed-tiny.safetensors")).unwrap();
    SedModel::load_as(&checkpoint, config, &Device::Cpu, candle_core::DType::F32).unwrap()
}

fn directions(model: &SedModel, categories: &[Category]) -> Directions {
    let embedded = model.embed_categories(categories).unwrap();
    let unit = |mean: Vec<f32>| {
        let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        mean.into_iter().map(|x| x / length).collect::<Vec<f32>>()
    };
    let means = embedded.iter().map(|embedding| embedding.tensor().mean(0).unwrap().to_vec1().unwrap());
    let rows: Vec<Vec<f32>> = means.map(unit).collect();
    Directions::new(&rows, rows.len())
}

fn named(names: &[&str]) -> Vec<Category> {
    names.iter().copied().map(Category::new).collect()
}

#[test]
fn planted_synonyms_are_found_and_nothing_else() {
    let words = [
        "couch",
        "dog",
        "tree",
        "sofa",
        "sky",
        "car",
        "lemon",
        "phone",
        "castle",
        "bicycle",
        "automobile",
        "shark",
        "telephone",
        "umbrella",
        "cactus",
        "bike",
        "guitar",
        "airplane",
        "hat",
        "cheese",
        "plane",
        "wall",
        "grass",
        "owl",
        "clock",
    ];
    let model = tiny();
    let found = ClosestPairs::of(&directions(&model, &named(&words)), None, 50);
    let mut alike: Vec<_> =
        found.alike().iter().map(|pair| [words[pair.first], words[pair.second]]).collect();
    alike.sort_unstable();
    let planted = [
        ["airplane", "plane"],
        ["bicycle", "bike"],
        ["car", "automobile"],
        ["couch", "sofa"],
        ["phone", "telephone"],
    ];
    assert_eq!(alike, planted);

    // The same pair alone is measured by the common words.
    let common = directions(&model, builtin_vocabularies().get(COMMON_WORDS).unwrap());
    let pair = directions(&model, &named(&["couch", "sofa"]));
    assert_eq!(ClosestPairs::of(&pair, Some(&common), 50).alike().len(), 1);
    let different = directions(&model, &named(&["couch", "dog"]));
    assert_eq!(ClosestPairs::of(&different, Some(&common), 50).alike(), []);
}

#[test]
fn contrast_words_near_the_asked_ones_are_left_out() {
    let model = tiny();
    let book = builtin_vocabularies();
    let common = book.get(COMMON_WORDS).unwrap();
    let list = directions(&model, common);
    let left_out = |asked: &[&str]| {
        let far = far_from(&list, &directions(&model, &named(asked)));
        let near = (0..common.len()).filter(|word| !far.contains(word));
        near.map(|word| common[word].name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(left_out(&["sea"]), ["sand", "water", "boat"]);
    assert_eq!(left_out(&["pigeon"]), ["bird"]);
    assert_eq!(left_out(&["sea", "pigeon"]), ["sand", "water", "boat", "bird"]);
    assert_eq!(left_out(&["house"]), ["wall", "floor", "door", "building", "bed"]);
}
