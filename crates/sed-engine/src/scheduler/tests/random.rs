//! Random mixes of everything. The simulation itself checks budgets, order, and one answer for each request.

use std::time::Duration;

use proptest::prelude::*;

use super::simulation::{Asked, MS, Setup, Simulation, alone};
use crate::{
    requests::{error::EngineError, job::Priority},
    stages::{
        StageError,
        fake::{Fault, POISON},
        stage::Stage,
    },
};

#[derive(Clone, Debug)]
enum Action {
    Ask(Asked),
    /// The caller of the request that came so many before the last one goes.
    Cancel(usize),
    Step,
    Pass(u64),
    Fault(Stage, Fault),
}

fn asked() -> impl Strategy<Value = Asked> {
    let words = prop_oneof![4 => 1_usize..30, 1 => 30_usize..900];
    let beside =
        (prop_oneof![3 => Just(0_usize), 1 => 1_usize..4], prop_oneof![2 => Just(0_usize), 1 => 1_usize..40]);
    (
        (words, 0_usize..40, prop::option::of(1_u32..10).prop_map(|top_k| top_k.unwrap_or(0))),
        prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        0_u8..12,
        prop::option::weighted(0.2, 1_u64..60),
        prop::sample::select(vec![0_u8, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
        (beside, prop::bool::weighted(0.2)),
    )
        .prop_map(|((count, first, top_k), priority, picture, timeout, poison, (beside, score_maps))| {
            let (synonyms, contrast) = beside;
            let mut words: Vec<_> = (first..first + count).map(|word| format!("word {word}")).collect();
            if poison == 1 {
                words[0] = format!("{POISON} {first}");
            }
            let timeout = timeout.map(Duration::from_millis);
            let height = if picture == 0 { 40_000 } else { 3 };
            let poisoned = poison == 2;
            Asked {
                words,
                top_k,
                priority,
                picture,
                height,
                timeout,
                poisoned,
                score_maps,
                synonyms,
                contrast,
            }
        })
}

fn action() -> impl Strategy<Value = Action> {
    let stage = prop::sample::select(Stage::ALL.to_vec());
    let fault = prop::sample::select(vec![
        Fault::Panic,
        Fault::Fail(StageError::Failed("no luck".into())),
        Fault::Fail(StageError::OutOfMemory("full".into())),
    ]);
    prop_oneof![
        8 => asked().prop_map(Action::Ask),
        1 => (0_usize..8).prop_map(Action::Cancel),
        6 => Just(Action::Step),
        1 => (0_u64..30).prop_map(Action::Pass),
        1 => (stage, fault).prop_map(|(stage, fault)| Action::Fault(stage, fault)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn everybody_gets_the_answer_that_he_would_get_alone(
        actions in prop::collection::vec(action(), 1..60),
        images in 1_usize..6,
        pairs in 1_usize..200,
        delay in prop::sample::select(vec![0_u64, 2, 20]),
        image_cache in prop::sample::select(vec![0_usize, 500, 1 << 20]),
        submits in any::<bool>(),
    ) {
        let delay = MS * delay as u32;
        let mut simulation = Simulation::new(Setup { images, pairs, delay, image_cache, submits });
        let mut sent: Vec<(usize, Asked)> = Vec::new();
        let mut cancelled = Vec::new();
        let mut faulty = false;
        for action in actions {
            match action {
                Action::Ask(asked) => {
                    let number = simulation.ask(&asked);
                    sent.push((number, asked));
                    simulation.pass(Duration::from_micros(100));
                }
                Action::Cancel(back) => {
                    if let Some((number, _)) = sent.len().checked_sub(back + 1).map(|index| &sent[index]) {
                        simulation.cancel(*number);
                        cancelled.push(*number);
                    }
                }
                Action::Step => drop(simulation.step()),
                Action::Pass(milliseconds) => simulation.pass(Duration::from_millis(milliseconds)),
                Action::Fault(stage, fault) => {
                    faulty = true;
                    simulation.control.inject(stage, fault);
                }
            }
        }
        simulation.run();
        for (number, asked) in sent {
            let poisoned = asked.poisoned || asked.words[0].contains(POISON);
            match simulation.results.get(&number) {
                None => prop_assert!(cancelled.contains(&number), "request {} has no answer", number),
                Some(Ok(outcome)) => {
                    prop_assert!(!poisoned);
                    let expected = alone(&asked, number);
                    prop_assert_eq!(&outcome.map, &expected.map);
                    prop_assert_eq!(outcome.contrast_pixels, expected.contrast_pixels);
                    prop_assert_eq!(&outcome.rejection, &expected.rejection);
                }
                Some(Err(EngineError::DeadlineExceeded)) => prop_assert!(asked.timeout.is_some()),
                Some(Err(EngineError::StageFailed { .. })) => prop_assert!(poisoned || faulty),
                Some(Err(EngineError::DeviceOutOfMemory { .. })) => prop_assert!(faulty),
                Some(Err(other)) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
