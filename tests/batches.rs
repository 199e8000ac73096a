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
    Thresholds, UNLABELLED,
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
            .map(|(r, text)| DecodeRequest { features: &images[r.0], text, groups: None, rejection: r.2 })
            .collect();
        let outputs: Vec<OutputSpec> = requests
            .iter()
            .map(|r| OutputSpec { width: r.3.0, height: r.3.1, ..output(Thresholds::Same(r.4)) })
            .collect();
        let together = run(model, &batch, &outputs);
        for (i, (kept, map)) in together.into_iter().enumerate() {
            let (alone_kept, alone) = run(model, &batch[i..=i], &outputs[i..=i]).remove(0);
            prop_assert_eq!(kept, alone_kept);
            prop_assert_eq!(map.indices, alone.indices);
            prop_assert_eq!(map.pixels, alone.pixels);
            prop_assert_eq!(map.mean_scores, alone.mean_scores);
            prop_assert_eq!(map.score_maps, alone.score_maps);
            prop_assert_eq!(map.sureness, alone.sureness);
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
        let request = DecodeRequest { features: &images[image], text: &text, groups: None, rejection };
        let output = output(Thresholds::Same(0.0));
        let (kept, whole) = run(model, &[request], std::slice::from_ref(&output)).remove(0);
        let mut sizes = sizes.into_iter().cycle();
        let mut finish = |mut parts: Parts| loop {
            if let Some(pairs) = model.advance(&mut parts, sizes.next().unwrap()).unwrap().finished {
                return pairs;
            }
        };
        let mut pairs = finish(model.cost_map_parts(&request).unwrap());
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
            .map(|(text, features)| DecodeRequest { features, text, groups: None, rejection })
            .collect();
        let output = OutputSpec { width: 30, height: 20, ..output(Thresholds::Same(0.0)) };
        let outputs = vec![output.clone(); requests.len()];
        let mut singles = model.cost_map(&requests).unwrap().split().unwrap();
        for level in Level::ALL {
            let joined = PairBatch::join(singles).unwrap();
            singles = model.decode_level(level, joined).unwrap().split().unwrap();
        }
        for (i, single) in singles.into_iter().enumerate() {
            let (kept, alone) = run(model, &requests[i..=i], &outputs[i..=i]).remove(0);
            prop_assert_eq!(single.survivors(0), &kept[3]);
            let map = model.finish(&single, &outputs[i..=i]).unwrap().remove(0);
            prop_assert_eq!(map.indices, alone.indices);
            prop_assert_eq!(map.score_maps, alone.score_maps);
            prop_assert_eq!(map.sureness, alone.sureness);
        }
    }
}

#[test]
fn the_order_of_categories_only_orders_the_answer() {
    let Fixture { model, images, words } = fixture();
    let output = OutputSpec {
        width: 48,
        height: 48,
        crop: None,
        thresholds: Thresholds::Same(0.0),
        score_maps: false,
        sureness: false,
    };
    let forward: Vec<TextEmbedding> = words[..20].to_vec();
    let backward: Vec<TextEmbedding> = forward.iter().rev().cloned().collect();
    let rejection = Rejection::from_top_k(3);
    let request = |text| DecodeRequest { features: &images[0], text, groups: None, rejection };
    let (kept, map) = run(model, &[request(&forward)], std::slice::from_ref(&output)).remove(0);
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
    let output = OutputSpec {
        width: 30,
        height: 40,
        crop: None,
        thresholds: Thresholds::Same(0.0),
        score_maps: true,
        sureness: false,
    };
    let request = |top_k| {
        let rejection = Rejection::from_top_k(top_k);
        DecodeRequest { features: &images[1], text: &words[..7], groups: None, rejection }
    };
    let (_, off) = run(model, &[request(0)], std::slice::from_ref(&output)).remove(0);
    let (_, all) = run(model, &[request(7)], &[output]).remove(0);
    assert_eq!(off.score_maps, all.score_maps);
    assert_eq!(off.indices, all.indices);
}

fn output(thresholds: Thresholds) -> OutputSpec {
    OutputSpec { width: 60, height: 50, crop: None, thresholds, score_maps: true, sureness: true }
}

/// The category of each pair, for categories of so many pairs.
fn groups(sizes: &[usize]) -> Vec<u32> {
    (0..).zip(sizes).flat_map(|(category, pairs)| vec![category; *pairs]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(device::share(16) as u32))]
    #[test]
    fn pairs_of_one_category_are_merged_alike_in_any_batch_and_in_parts(
        requests in prop::collection::vec(
            (0..IMAGES, prop::option::of(prop::collection::vec(1_usize..4, 1..12)), rejection(6)),
            1..4,
        ),
        sizes in prop::collection::vec(1_usize..24, 1..12),
    ) {
        let Fixture { model, images, words } = fixture();
        let all: Vec<Option<Vec<u32>>> =
            requests.iter().map(|(_, sizes, _)| sizes.as_deref().map(groups)).collect();
        let mut batch = Vec::new();
        for ((image, _, rejection), groups) in requests.iter().zip(&all) {
            let groups = groups.as_deref();
            let text = &words[..groups.map_or(20, <[u32]>::len)];
            batch.push(DecodeRequest { features: &images[*image], text, groups, rejection: *rejection });
        }
        let outputs = vec![output(Thresholds::Same(0.5)); batch.len()];
        let together = run(model, &batch, &outputs);
        let mut sizes = sizes.into_iter().cycle();
        let mut finish = |mut parts: Parts| loop {
            if let Some(pairs) = model.advance(&mut parts, sizes.next().unwrap()).unwrap().finished {
                return pairs;
            }
        };
        for (i, (kept, map)) in together.into_iter().enumerate() {
            let (alone_kept, alone) = run(model, &batch[i..=i], &outputs[i..=i]).remove(0);
            prop_assert_eq!(&kept, &alone_kept);
            prop_assert_eq!(&map, &alone);
            let categories = batch[i].groups.map_or(20, |groups| groups[groups.len() - 1] as usize + 1);
            prop_assert_eq!(map.pixels.len(), categories);

            let mut pairs = finish(model.cost_map_parts(&batch[i]).unwrap());
            for (level, kept) in Level::ALL.into_iter().zip(&kept) {
                prop_assert_eq!(pairs.survivors(0), kept);
                prop_assert_eq!(pairs.groups(0), batch[i].groups);
                pairs = finish(model.level_parts(level, pairs).unwrap());
            }
            let in_parts = model.finish(&pairs, &outputs[i..=i]).unwrap().remove(0);
            prop_assert_eq!(&in_parts.indices, &alone.indices);
            prop_assert_eq!(&in_parts.score_maps, &alone.score_maps);
            prop_assert_eq!(&in_parts.sureness, &alone.sureness);
        }
    }

    #[test]
    fn contrast_words_are_categories_whose_pixels_are_taken_out(
        image in 0..IMAGES,
        asked in 1_usize..12,
        contrast in 1_usize..12,
        rejection in rejection(6),
    ) {
        let Fixture { model, images, words } = fixture();
        let text = &words[..asked + contrast];
        let request = DecodeRequest { features: &images[image], text, groups: None, rejection };
        let thresholds: Vec<f32> =
            (0..text.len()).map(|category| if category < asked { 0.0 } else { f32::INFINITY }).collect();
        let outputs = [output(Thresholds::Same(0.0)), output(Thresholds::ByCategory(thresholds.into()))];
        let (all_kept, all) = run(model, &[request], &outputs[..1]).remove(0);
        let (kept, found) = run(model, &[request], &outputs[1..]).remove(0);
        prop_assert_eq!(kept, all_kept);
        let taken_out = |index: &u16| if usize::from(*index) < asked { *index } else { UNLABELLED };
        prop_assert_eq!(found.indices, all.indices.iter().map(taken_out).collect::<Vec<u16>>());
        let (sure, all_sure) = (found.sureness.unwrap(), all.sureness.unwrap());
        prop_assert_eq!(&sure.scores, &all_sure.scores);
        let rivals = all_sure.runner_up.iter().map(taken_out).collect::<Vec<u16>>();
        prop_assert_eq!(&sure.runner_up, &rivals);
        for (pixel, rival) in rivals.into_iter().enumerate() {
            let margins = if rival == UNLABELLED { &sure.scores } else { &all_sure.margins };
            prop_assert_eq!(sure.margins[pixel], margins[pixel]);
        }
        prop_assert_eq!(found.pixels, all.pixels);
        prop_assert_eq!(&found.mean_scores[..asked], &all.mean_scores[..asked]);
        prop_assert_eq!(found.score_maps, all.score_maps);
    }

    #[test]
    fn the_best_pair_of_a_category_counts_as_if_each_were_a_category(
        image in 0..IMAGES,
        sizes in prop::collection::vec(1_usize..4, 1..12),
    ) {
        let Fixture { model, images, words } = fixture();
        let category_of = groups(&sizes);
        let (text, rejection) = (&words[..category_of.len()], Rejection::Off);
        let request = |groups| DecodeRequest { features: &images[image], text, groups, rejection };
        let output = [output(Thresholds::Same(0.3))];
        let (_, each) = run(model, &[request(None)], &output).remove(0);
        let (kept, found) = run(model, &[request(Some(&category_of))], &output).remove(0);
        prop_assert!(kept.iter().all(|kept| kept.len() == text.len()));
        let merged = |index: &u16| match *index {
            UNLABELLED => UNLABELLED,
            pair => category_of[usize::from(pair)] as u16,
        };
        prop_assert_eq!(found.indices, each.indices.iter().map(merged).collect::<Vec<u16>>());
        let (sure, each_sure) = (found.sureness.unwrap(), each.sureness.unwrap());
        prop_assert_eq!(&sure.scores, &each_sure.scores);
        for (pixel, rival) in each_sure.runner_up.iter().map(merged).enumerate() {
            // A pair whose rival is a synonym has a rival of another category behind it, or none.
            if sure.runner_up[pixel] == rival {
                prop_assert_eq!(sure.margins[pixel], each_sure.margins[pixel]);
            } else {
                prop_assert!(sure.margins[pixel] >= each_sure.margins[pixel]);
            }
        }

        let (mut pixels, mut sums) = (vec![0_u32; sizes.len()], vec![0.0_f64; sizes.len()]);
        for ((category, counted), mean) in category_of.iter().zip(&each.pixels).zip(&each.mean_scores) {
            pixels[*category as usize] += counted;
            sums[*category as usize] += f64::from(*counted) * f64::from(*mean);
        }
        prop_assert_eq!(&found.pixels, &pixels);
        for ((mean, sum), pixels) in found.mean_scores.iter().zip(sums).zip(pixels) {
            prop_assert!((f64::from(*mean) - sum / f64::from(pixels.max(1))).abs() < 1e-5);
        }

        let (scores, each) = (found.score_maps.unwrap(), each.score_maps.unwrap());
        let area = (each.width * each.height) as usize;
        let mut highest = vec![0.0_f32; sizes.len() * area];
        for (category, map) in category_of.iter().zip(each.scores.chunks(area)) {
            let highest = &mut highest[*category as usize * area..][..area];
            highest.iter_mut().zip(map).for_each(|(highest, score)| *highest = highest.max(*score));
        }
        prop_assert_eq!(scores.categories, (0..sizes.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(scores.scores, highest);
    }
}
