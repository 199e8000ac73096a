//! A request's answer never depends on the other requests in its batch.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use sed_model::checkpoint::Checkpoint;
use sed_model::prompts::Category;
use sed_model::text_tower::TextEmbedding;
use sed_model::{
    DecodeRequest, FinishedMap, ImageFeatures, Level, OutputSpec, PairBatch, Parts, Rejection, SedModel,
};
use sed_tests::stages::decode_all;
use sed_tests::{device, golden, synthetic};

/// The reduced model, and what its stages before the cost map give for a few images and many words.
struct Fixture {
    model: SedModel,
    images: Vec<ImageFeatures>,
    words: Vec<TextEmbedding>,
}

const WORDS: usize = 40;
const IMAGES: usize = 3;

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
        let model = SedModel::load(&checkpoint, &device::under_test()).unwrap();
        let side = model.config().image_size;
        let pixels: Vec<Tensor> = (0..IMAGES)
            .map(|i| {
                let values = synthetic::values(&format!("image {i}.gamma"), &[side, side, 3], 7);
                Tensor::from_vec(values, (1, side, side, 3), &Device::Cpu).unwrap()
            })
            .collect();
        let batch = model.encode(&Tensor::cat(&pixels, 0).unwrap()).unwrap();
        for (pixels, features) in pixels.iter().zip(&batch) {
            let alone = model.encode(pixels).unwrap().remove(0);
            assert_eq!(values(alone.dense()), values(features.dense()), "encoder: batch and single differ");
            for level in Level::ALL {
                assert_eq!(values(alone.guide(level)), values(features.guide(level)), "guide {level}");
            }
        }
        let categories: Vec<Category> = (0..WORDS).map(|i| Category::new(format!("word {i}"))).collect();
        let words = model.embed_categories(&categories).unwrap();
        Fixture { model, images: batch, words }
    })
}

fn values(x: &Tensor) -> Vec<f32> {
    device::host(x).flatten_all().unwrap().to_vec1().unwrap()
}

/// All stages behind the encoder; survivors after each, and the result of each image.
fn run(
    model: &SedModel,
    requests: &[DecodeRequest<'_>],
    outputs: &[OutputSpec],
) -> Vec<(Vec<Vec<u32>>, FinishedMap)> {
    let (pairs, kept) = decode_all(model, requests);
    let maps = model.finish(&pairs, outputs).unwrap();
    let of_image = |i: usize| kept.iter().map(|level| level[i].clone()).collect();
    maps.into_iter().enumerate().map(|(i, map)| (of_image(i), map)).collect()
}

/// Off half the time.
fn rejection(below: u32) -> impl Strategy<Value = Rejection> {
    prop::option::of(1..below).prop_map(|top_k| Rejection::from_top_k(top_k.unwrap_or(0)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(device::share(24) as u32))]
    #[test]
    fn a_batch_of_many_equals_each_alone(
        requests in prop::collection::vec(
            (
                0..IMAGES,
                prop::collection::btree_set(0..WORDS, 1..30),
                rejection(10),
                (1u32..90, 1u32..90),
                prop::sample::select(vec![0.0f32, 0.5]),
            ),
            1..5,
        ),
    ) {
        let Fixture { model, images, words } = fixture();
        let texts: Vec<Vec<TextEmbedding>> =
            requests.iter().map(|r| r.1.iter().map(|&w| words[w].clone()).collect()).collect();
        let batch: Vec<DecodeRequest<'_>> = requests
            .iter()
            .zip(&texts)
            .map(|(r, text)| DecodeRequest { features: &images[r.0], text, rejection: r.2 })
            .collect();
        let outputs: Vec<OutputSpec> = requests
            .iter()
            .map(|r| OutputSpec { width: r.3.0, height: r.3.1, crop: None, score_threshold: r.4, score_maps: true })
            .collect();
        let together = run(model, &batch, &outputs);
        for (i, (kept, map)) in together.into_iter().enumerate() {
            let (alone_kept, alone) = run(model, &batch[i..=i], &outputs[i..=i]).remove(0);
            prop_assert_eq!(kept, alone_kept);
            prop_assert_eq!(map.indices, alone.indices);
            prop_assert_eq!(map.pixels, alone.pixels);
            prop_assert_eq!(map.mean_scores, alone.mean_scores);
            prop_assert_eq!(map.score_maps, alone.score_maps);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(device::share(24) as u32))]
    #[test]
    fn parts_of_any_size_equal_the_whole(
        image in 0..IMAGES,
        chosen in prop::collection::btree_set(0..WORDS, 1..40),
        rejection in rejection(10),
        sizes in prop::collection::vec(1usize..24, 1..12),
    ) {
        let Fixture { model, images, words } = fixture();
        let text: Vec<TextEmbedding> = chosen.iter().map(|&w| words[w].clone()).collect();
        let request = DecodeRequest { features: &images[image], text: &text, rejection };
        let output = OutputSpec { width: 60, height: 50, crop: None, score_threshold: 0.0, score_maps: true };
        let (kept, whole) = run(model, &[request], &[output]).remove(0);
        let mut sizes = sizes.into_iter().cycle();
        let mut finish = |mut parts: Parts| loop {
            if let Some(pairs) = model.advance(&mut parts, sizes.next().unwrap()).unwrap().finished {
                return pairs;
            }
        };
        let mut pairs = finish(model.cost_map_parts(&request));
        prop_assert_eq!(pairs.survivors(0), &kept[0]);
        for (level, kept) in Level::ALL.into_iter().zip(&kept[1..]) {
            pairs = finish(model.level_parts(level, pairs).unwrap());
            prop_assert_eq!(pairs.survivors(0), kept);
        }
        let map = model.finish(&pairs, &[output]).unwrap().remove(0);
        prop_assert_eq!(map.indices, whole.indices);
        prop_assert_eq!(map.score_maps, whole.score_maps);
    }

    #[test]
    fn batches_can_be_joined_and_split_at_every_level(
        chosen in prop::collection::vec(prop::collection::btree_set(0..WORDS, 1..20), 2..5),
        rejection in rejection(6),
    ) {
        let Fixture { model, images, words } = fixture();
        let texts: Vec<Vec<TextEmbedding>> =
            chosen.iter().map(|set| set.iter().map(|&w| words[w].clone()).collect()).collect();
        let requests: Vec<DecodeRequest<'_>> = texts
            .iter()
            .zip(images.iter().cycle())
            .map(|(text, features)| DecodeRequest { features, text, rejection })
            .collect();
        let output = OutputSpec { width: 30, height: 20, crop: None, score_threshold: 0.0, score_maps: true };
        let outputs = vec![output; requests.len()];
        let mut singles = model.cost_map(&requests).unwrap().split().unwrap();
        for level in Level::ALL {
            let joined = PairBatch::join(singles).unwrap();
            singles = model.decode_level(level, joined).unwrap().split().unwrap();
        }
        for (i, single) in singles.into_iter().enumerate() {
            let (kept, alone) = run(model, &requests[i..=i], &[output]).remove(0);
            prop_assert_eq!(single.survivors(0), &kept[3]);
            let map = model.finish(&single, &outputs[i..=i]).unwrap().remove(0);
            prop_assert_eq!(map.indices, alone.indices);
            prop_assert_eq!(map.score_maps, alone.score_maps);
        }
    }
}

#[test]
fn the_order_of_categories_only_orders_the_answer() {
    let Fixture { model, images, words } = fixture();
    let output = OutputSpec { width: 48, height: 48, crop: None, score_threshold: 0.0, score_maps: false };
    let forward: Vec<TextEmbedding> = words[..20].to_vec();
    let backward: Vec<TextEmbedding> = forward.iter().rev().cloned().collect();
    let request = |text| DecodeRequest { features: &images[0], text, rejection: Rejection::from_top_k(3) };
    let (kept, map) = run(model, &[request(&forward)], &[output]).remove(0);
    let (kept_back, map_back) = run(model, &[request(&backward)], &[output]).remove(0);
    for (a, b) in kept.iter().zip(&kept_back) {
        let reversed: Vec<u32> = b.iter().rev().map(|c| 19 - c).collect();
        assert_eq!(a, &reversed);
    }
    let same = map.indices.iter().zip(&map_back.indices).filter(|(a, b)| **a == 19 - **b).count();
    assert!(same as f64 >= 0.999 * map.indices.len() as f64, "{same} of {} pixels agree", map.indices.len());
}

#[test]
fn a_top_k_that_keeps_all_equals_no_rejection() {
    let Fixture { model, images, words } = fixture();
    let output = OutputSpec { width: 30, height: 40, crop: None, score_threshold: 0.0, score_maps: true };
    let request = |top_k| {
        let rejection = Rejection::from_top_k(top_k);
        DecodeRequest { features: &images[1], text: &words[..7], rejection }
    };
    let (_, off) = run(model, &[request(0)], &[output]).remove(0);
    let (_, all) = run(model, &[request(7)], &[output]).remove(0);
    assert_eq!(off.score_maps, all.score_maps);
    assert_eq!(off.indices, all.indices);
}
