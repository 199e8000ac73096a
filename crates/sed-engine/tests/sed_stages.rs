//! The real model gives the same results through the engine as when its stages are called by hand.

#![allow(clippy::unwrap_used)] // helpers of tests fail their test

use candle_core::{Device, Tensor};
use sed_engine::{
    Category, Engine, EngineConfig, JobImage, NetworkInput, OutputSpec, Priority, Rejection, SedStages,
    SegmentJob, SegmentOutcome, Thresholds, Vocabulary, VocabularyLimits, builtin_vocabularies,
};
use sed_model::{DecodeRequest, FinishedMap, Level, SedModel, checkpoint::Checkpoint};
use sed_telemetry::Telemetry;

fn nano() -> SedModel {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/nano/sed_nano.safetensors");
    SedModel::load(&Checkpoint::open(path.as_ref()).unwrap(), &Device::Cpu).unwrap()
}

fn pixels(side: usize) -> Vec<f32> {
    (0..side * side * 3).map(|index| ((index * 37 % 255) as f32 - 127.0) / 60.0).collect()
}

fn categories() -> Vec<Category> {
    let lines = ["dog, puppy, hound", "grass", "sky, clouds", "person", "traffic light", "river, water"];
    lines.map(Category::from_official).to_vec()
}

fn by_hand(model: &SedModel, rejection: Rejection, output: OutputSpec) -> (Vec<Vec<u32>>, FinishedMap) {
    let side = model.config().image_size;
    let text = model.embed_categories(&categories()).unwrap();
    let input = Tensor::from_vec(pixels(side), (1, side, side, 3), &Device::Cpu).unwrap();
    let features = model.encode(&input).unwrap().remove(0);
    let mut pairs = model
        .cost_map(&[DecodeRequest { features: &features, text: &text, groups: None, rejection }])
        .unwrap();
    let mut survivors = Vec::new();
    for level in Level::ALL {
        survivors.push(pairs.survivors(0).to_vec());
        pairs = model.decode_level(level, pairs).unwrap();
    }
    (survivors, model.finish(&pairs, &[output]).unwrap().remove(0))
}

async fn by_engine(engine: &Engine, rejection: Rejection, output: OutputSpec) -> SegmentOutcome {
    let side = engine.model().input_side;
    let job = SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(side as u32, pixels(side)).into(), facts: None },
        vocabulary: Vocabulary::new(categories(), &VocabularyLimits::default(), &*engine.phrase_reader())
            .unwrap(),
        rejection,
        output,
        waiting_since: std::time::Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    };
    engine.segment(job).await.unwrap()
}

#[tokio::test]
async fn the_engine_gives_what_the_model_gives() {
    let model = nano();
    let map_side = model.config().image_size / 4;
    let engine = Engine::start(SedStages::new(nano()), &EngineConfig::default(), &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    assert_eq!(engine.model().digest, model.digest());
    assert_eq!((engine.model().map_side, engine.model().device.as_str()), (map_side, "cpu"));

    let crops = [None, Some((map_side as u32, map_side as u32 / 2))]; // width, height
    for (rejection, crop) in [0, 1, 2].map(Rejection::from_top_k).into_iter().zip(crops.into_iter().cycle()) {
        let output = OutputSpec {
            width: 30,
            height: 20,
            crop,
            thresholds: Thresholds::Same(0.3),
            score_maps: true,
            sureness: true,
        };
        let (survivors, expected) = by_hand(&model, rejection, output.clone());
        // The second time the words come from the cache.
        for _ in 0..2 {
            let outcome = by_engine(&engine, rejection, output.clone()).await;
            let reported: Vec<_> = outcome.rejection.levels.iter().map(|level| &level.survivors).collect();
            assert_eq!(reported, survivors.iter().collect::<Vec<_>>());
            assert_eq!(outcome.map.score_maps.as_ref().unwrap().categories, survivors[2]);
            assert_eq!(outcome.map, expected);
        }
    }
}

#[test]
fn the_official_vocabularies_are_known_by_name() {
    let book = builtin_vocabularies();
    let sizes: Vec<_> = book.iter().map(|(name, vocabulary)| (name, vocabulary.len())).collect();
    assert!(sizes.contains(&("ade20k-150", 150)), "{sizes:?}");
    assert!(sizes.contains(&("ade20k-847", 847)), "{sizes:?}");
    assert_eq!(sizes.len(), sed_model::prompts::builtin_vocabularies().len());
}
