//! Launches that fail.

use std::time::Duration;

use super::simulation::{Asked, BOTH, Setup, Simulation, USUAL, alone};
use crate::{
    requests::error::EngineError,
    stages::{
        StageError,
        fake::{Fault, POISON},
        stage::Stage,
    },
};

/// Requests that share every launch, and one of them poisoned by its words, its picture, or by nothing.
fn neighbours(change: impl Fn(&mut Asked)) -> (Vec<Asked>, usize) {
    let mut all: Vec<Asked> = (0..6).map(|picture| Asked::words(4 + usize::from(picture), picture)).collect();
    change(&mut all[3]);
    (all, 3)
}

#[test]
fn a_poisoned_request_harms_nobody_else() {
    for setup in BOTH {
        type Change = fn(&mut Asked);
        let cases: [(Stage, Change); 2] = [
            (Stage::TextEmbedding, |asked| asked.words[1] = format!("{POISON} ivy")),
            (Stage::Encode, |asked| asked.poisoned = true),
        ];
        for (stage, change) in cases {
            let (all, poisoned) = neighbours(change);
            let mut simulation = Simulation::new(Setup { images: 6, pairs: 500, ..setup });
            let numbers: Vec<_> = all.iter().map(|asked| simulation.ask(asked)).collect();
            simulation.run();
            for (index, (asked, number)) in all.iter().zip(numbers).enumerate() {
                let result = &simulation.results[&number];
                if index == poisoned {
                    let failed =
                        matches!(result, Err(EngineError::StageFailed { stage: at, .. }) if *at == stage);
                    assert!(failed, "{result:?}");
                } else {
                    assert_eq!(result.as_ref().unwrap().map, alone(asked, number).map);
                }
            }
        }
    }
}

#[test]
fn one_fault_in_a_batch_of_many_is_tried_again_and_harms_nobody() {
    for setup in BOTH {
        for stage in Stage::ALL {
            for fault in [Fault::Panic, Fault::Fail(StageError::Failed("cosmic ray".into()))] {
                let (all, _) = neighbours(|_| ());
                let mut simulation = Simulation::new(Setup { images: 6, pairs: 500, ..setup });
                let numbers: Vec<_> = all.iter().map(|asked| simulation.ask(asked)).collect();
                simulation.control.inject(stage, fault);
                simulation.run();
                for (asked, number) in all.iter().zip(numbers) {
                    let outcome = simulation.results[&number].as_ref().unwrap();
                    assert_eq!(outcome.map, alone(asked, number).map, "{stage:?}");
                }
            }
        }
    }
}

#[test]
fn a_fault_of_a_request_that_is_alone_is_its_own() {
    for setup in BOTH {
        for stage in &Stage::ALL[1..] {
            let mut simulation = Simulation::new(setup);
            let number = simulation.ask(&Asked::words(5, 1));
            simulation.control.inject(*stage, Fault::Fail(StageError::Failed("no luck".into())));
            simulation.run();
            // Of a submission only the whole is known to have failed.
            let stage = if setup.submits { Stage::Encode } else { *stage };
            let expected = EngineError::StageFailed { stage, message: "no luck".into() };
            assert_eq!(simulation.results[&number], Err(expected));
        }
    }
}

#[test]
fn too_little_memory_makes_smaller_batches_and_the_same_answers() {
    for setup in BOTH {
        for memory in [1, 3, 10, 40, 100] {
            let mut simulation = Simulation::new(Setup { images: 6, pairs: 500, ..setup });
            let all: Vec<Asked> = (0..6)
                .map(|picture| Asked {
                    top_k: if picture % 2 == 0 { 2 } else { 0 },
                    ..Asked::words(1 + 9 * usize::from(picture), picture)
                })
                .collect();
            let numbers: Vec<_> = all.iter().map(|asked| simulation.ask(asked)).collect();
            simulation.control.set_memory(memory);
            simulation.run();
            for (asked, number) in all.iter().zip(numbers) {
                let outcome = simulation.results[&number].as_ref().unwrap();
                assert_eq!(outcome.map, alone(asked, number).map, "memory for {memory} pairs");
            }
            // The largest request alone has 46 pairs.
            assert!(memory >= 46 || simulation.scheduler.budget().1 <= memory);
        }
    }
}

#[test]
fn a_request_that_never_fits_gets_a_typed_error() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        let number = simulation.ask(&Asked::words(5, 1));
        for _ in 0..2 + usize::from(setup.submits) {
            simulation.control.inject(Stage::Encode, Fault::Fail(StageError::OutOfMemory("full".into())));
        }
        simulation.run();
        assert_eq!(simulation.results[&number], Err(EngineError::DeviceOutOfMemory { stage: Stage::Encode }));
        let number = simulation.ask(&Asked::words(5, 2));
        simulation.run();
        assert!(simulation.results[&number].is_ok());
    }
}

#[test]
fn a_picture_that_never_fits_fails_all_requests_about_it() {
    for setup in BOTH {
        for (failures, answered) in [(1, true), (2, false)] {
            let mut simulation = Simulation::new(setup);
            let numbers = [3, 5, 7].map(|words| simulation.ask(&Asked::words(words, 1)));
            for _ in 0..failures + usize::from(setup.submits) {
                simulation.control.inject(Stage::Encode, Fault::Fail(StageError::OutOfMemory("full".into())));
            }
            simulation.run();
            let expected = Err(EngineError::DeviceOutOfMemory { stage: Stage::Encode });
            for result in numbers.map(|number| &simulation.results[&number]) {
                assert!(if answered { result.is_ok() } else { *result == expected }, "{result:?}");
            }
            let tries = simulation.launches.iter().filter(|launch| launch.stage == Stage::Encode).count();
            assert_eq!(tries, 2 + usize::from(setup.submits));
        }
    }
}

/// Memory that was given back after the first failure may be all that one phrase needs.
#[test]
fn a_phrase_alone_is_tried_once_more_without_memory() {
    for (failures, answered) in [(1, true), (2, false)] {
        let mut simulation = Simulation::new(USUAL);
        let number = simulation.ask(&Asked::words(1, 1));
        for _ in 0..failures {
            let full = Fault::Fail(StageError::OutOfMemory("full".into()));
            simulation.control.inject(Stage::TextEmbedding, full);
        }
        simulation.run();
        let expected = Err(EngineError::DeviceOutOfMemory { stage: Stage::TextEmbedding });
        let result = &simulation.results[&number];
        assert!(
            if answered { result.is_ok() } else { *result == expected },
            "{failures} failures: {result:?}"
        );
    }
}

#[test]
fn scores_that_are_not_finite_fail_their_picture_alone() {
    let (all, _) = neighbours(|_| ());
    let mut simulation = Simulation::new(Setup { images: 6, pairs: 500, ..USUAL });
    let numbers: Vec<_> = all.iter().map(|asked| simulation.ask(asked)).collect();
    let not_finite = || Fault::Fail(StageError::NotFinite { found: 7, of: 64 });
    // The batch of six, its halves, and of the second half a picture alone and the other two.
    let works = || Fault::Delay(Duration::ZERO);
    let calls = [not_finite(), works(), not_finite(), not_finite(), works()];
    calls.into_iter().for_each(|call| simulation.control.inject(Stage::Finish, call));
    simulation.run();
    let mut failed = 0;
    for (asked, number) in all.iter().zip(numbers) {
        match &simulation.results[&number] {
            Ok(outcome) => assert_eq!(outcome.map, alone(asked, number).map),
            Err(error) => {
                assert_eq!(*error, EngineError::ResultNotFinite { found: 7, of: 64 });
                failed += 1;
            }
        }
    }
    assert_eq!(failed, 1);
}

#[test]
fn scores_of_a_submission_that_are_not_finite_fail_their_picture_alone() {
    let mut simulation = Simulation::new(Setup { images: 6, pairs: 500, ..BOTH[1] });
    let (all, _) = neighbours(|_| ());
    let numbers: Vec<_> = all.iter().map(|asked| simulation.ask(asked)).collect();
    simulation.control.inject(Stage::Finish, Fault::Fail(StageError::NotFinite { found: 7, of: 64 }));
    simulation.run();
    let expected = Err(EngineError::ResultNotFinite { found: 7, of: 64 });
    assert_eq!(simulation.results[&numbers[0]], expected);
    for (asked, number) in all.iter().zip(numbers).skip(1) {
        assert_eq!(simulation.results[&number].as_ref().unwrap().map, alone(asked, number).map);
    }
    assert_eq!(simulation.control.calls(Stage::Finish), 1, "nothing was run again");
}

/// A submission that ran out of memory goes stage by stage, and others are smaller for a while.
#[test]
fn submissions_without_memory_go_stage_by_stage() {
    let mut simulation = Simulation::new(Setup { pairs: 40, image_cache: 0, ..BOTH[1] });
    simulation.ask(&Asked::words(10, 9));
    simulation.run();
    let whole = |simulation: &mut Simulation, fails: bool| {
        simulation.launches.clear();
        let numbers = [1, 2, 3].map(|picture| simulation.ask(&Asked::words(10, picture)));
        if fails {
            simulation.control.inject(Stage::CostMap, Fault::Fail(StageError::OutOfMemory("full".into())));
        }
        simulation.run();
        assert!(numbers.iter().all(|number| simulation.results[number].is_ok()));
        let last = simulation.launches.iter().filter(|launch| launch.stage == Stage::Finish);
        last.map(|launch| (launch.whole, launch.requests.len())).collect::<Vec<_>>()
    };
    assert_eq!(whole(&mut simulation, false), [(true, 3)]);
    assert_eq!(whole(&mut simulation, true), [(false, 3)]);
    assert_eq!(whole(&mut simulation, false), [(true, 1); 3]);
    simulation.pass(Duration::from_secs(10));
    assert_eq!(whole(&mut simulation, false), [(true, 3)]);
    assert_eq!(simulation.scheduler.budget(), (3, 40));
}
