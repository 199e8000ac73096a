//! Predictions: what a stall or an odd request leaves of them, and how an idle engine corrects a wrong one.

use std::time::Duration;

use super::simulation::{Asked, BOTH, MS, Setup, Simulation, USUAL};
use crate::{
    requests::{error::EngineError, job::Priority},
    stages::stage::Stage,
};

const FREEZE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A request that takes some 8 ms with known words, and has half a second.
fn ordinary(picture: usize) -> Asked {
    Asked { timeout: Some(SECOND / 2), ..Asked::words(20, picture as u8) }
}

/// One that also has a new word.
fn with_new_word(number: usize) -> Asked {
    let mut asked = ordinary(number);
    asked.words[0] = format!("new {number}");
    asked
}

fn answered(simulation: &mut Simulation, asked: &Asked) -> Result<(), EngineError> {
    let admitted = simulation.try_ask(asked);
    simulation.run();
    let number = admitted?;
    simulation.results.remove(&number).unwrap().map(|_| ())
}

/// One whose pairs go through every stage in parts.
fn in_parts(number: usize) -> Asked {
    let mut words = Asked::words(119, 0).words;
    words.push(format!("new {number}"));
    Asked { words, top_k: 0, ..ordinary(number) }
}

/// Freezes a launch of a stage after some requests. Returns for how long others were refused then, of six
/// seconds.
fn refused_after_freeze(setup: Setup, stage: Stage, before: usize, asked: fn(usize) -> Asked) -> Duration {
    let mut simulation = Simulation::new(Setup { image_cache: 0, ..setup });
    for number in 0..before {
        answered(&mut simulation, &asked(number)).unwrap();
    }
    simulation.stall = Some((stage, FREEZE));
    let frozen = answered(&mut simulation, &asked(500));
    assert_eq!(simulation.stall, None, "{stage:?} had no launch");
    let late = frozen == Err(EngineError::DeadlineExceeded);
    assert!(late || (frozen.is_ok() && stage == Stage::Finish), "{stage:?}: {frozen:?}");
    let mut refused = Duration::ZERO;
    for number in 0..30 {
        if let Err(error) = answered(&mut simulation, &asked(1000 + number)) {
            assert!(matches!(error, EngineError::DeadlineTooShort { .. }), "{stage:?}: {error:?}");
            refused += MS * 200;
        }
        simulation.pass(MS * 200);
    }
    refused
}

#[test]
fn a_freeze_within_any_stage_refuses_nothing_afterwards() {
    for setup in BOTH {
        for stage in Stage::ALL {
            for before in [0, 1, 2, 10] {
                for asked in [with_new_word, in_parts] {
                    // An engine that has learned nothing else may have to try first.
                    let allowed = if before > 1 { Duration::ZERO } else { SECOND * 5 };
                    let refused = refused_after_freeze(setup, stage, before, asked);
                    assert!(
                        refused <= allowed,
                        "{refused:?} after {before} requests and a freeze in {stage:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_freeze_under_steady_load_refuses_nothing_afterwards() {
    for setup in BOTH {
        for stage in Stage::ALL {
            let mut simulation = Simulation::new(Setup { image_cache: 0, ..setup });
            for number in 0..300 {
                if number == 100 {
                    simulation.stall = Some((stage, FREEZE));
                }
                let admitted = simulation.try_ask(&with_new_word(number));
                assert!(admitted.is_ok(), "request {number}, {stage:?}: {admitted:?}");
                let until = simulation.scheduler.now() + MS * 20;
                while simulation.scheduler.now() < until && simulation.step() {}
            }
            simulation.run();
            let late = simulation.results.values().filter(|result| result.is_err()).count();
            assert!(late <= 3, "{late} requests were late for one freeze in {stage:?}");
        }
    }
}

#[test]
fn a_thousand_long_phrases_do_not_refuse_a_few_short_ones() {
    let mut simulation = Simulation::new(USUAL);
    answered(&mut simulation, &with_new_word(0)).unwrap();
    for round in 0..2 {
        let long = |word| format!("{round} {word} {}", "antidisestablishmentarianism ".repeat(8));
        simulation.ask(&Asked { words: (0..1000).map(long).collect(), ..Asked::words(1, 7) });
        simulation.run();
        for number in 1..20 {
            let words = (0..50).map(|word| format!("{round} {number} short {word}")).collect();
            let short = Asked { words, timeout: Some(MS * 100), ..Asked::words(1, number) };
            assert_eq!(answered(&mut simulation, &short), Ok(()), "request {number}");
        }
    }
}

/// Memory that swaps, or a neighbour: so many launches are slow that it is what the engine must believe.
#[test]
fn what_was_slow_for_long_is_tried_again_once_it_is_idle() {
    for setup in BOTH {
        let mut simulation = Simulation::new(Setup { image_cache: 0, ..setup });
        for number in 0..100 {
            simulation.stall = Some((Stage::CostMap, SECOND * 2));
            simulation.ask(&Asked { timeout: None, ..ordinary(number) });
            simulation.run();
        }
        simulation.stall = None;
        let mut refused = 0;
        for number in 0..1000 {
            simulation.pass(MS * 100);
            refused += usize::from(answered(&mut simulation, &ordinary(number)).is_err());
        }
        // A wrong belief of 32 launches ends after a minute at the latest.
        assert!((1..600).contains(&refused), "{refused} refused");
        assert_eq!(answered(&mut simulation, &ordinary(1)), Ok(()));
    }
}

#[test]
fn what_is_truly_too_slow_is_tried_once_in_two_seconds() {
    let mut simulation = Simulation::new(USUAL);
    let impossible = Asked { timeout: Some(MS), ..Asked::words(900, 3) };
    simulation.ask(&Asked { timeout: None, ..impossible.clone() });
    simulation.run();
    let mut tried = 0;
    for _ in 0..1000 {
        match answered(&mut simulation, &impossible) {
            Err(EngineError::DeadlineTooShort { .. }) => {}
            Err(EngineError::DeadlineExceeded) => tried += 1,
            other => panic!("{other:?}"),
        }
        simulation.pass(MS * 100);
    }
    assert!((40..=51).contains(&tried), "{tried} trials in 100 seconds");
}

/// Two passes over all pairs: the time of the stage is that of all its parts.
#[test]
fn a_request_in_parts_is_predicted_as_it_takes() {
    for categories in [37, 200, 333] {
        let mut simulation = Simulation::new(USUAL);
        let asked = |picture| Asked { top_k: 0, ..Asked::words(categories, picture) };
        for picture in 0..4 {
            simulation.ask(&asked(picture));
            simulation.run();
        }
        simulation.launches.clear();
        let number = simulation.ask(&asked(9));
        let predicted = simulation.admission.load().0;
        simulation.run();
        let took: Duration = simulation.launches.iter().map(|launch| launch.time).sum();
        let took = took.as_secs_f64();
        assert!((took * 0.95..took * 1.05).contains(&predicted), "{predicted} instead of {took}");
        let outcome = simulation.results[&number].as_ref().unwrap();
        for timing in &outcome.timings[2..6] {
            let pairs: u32 = timing.batches.iter().map(|batch| batch.pairs).sum();
            let passes = if categories > 50 { 2 } else { 1 };
            assert_eq!(pairs as usize, categories * passes, "{:?}", timing.stage);
        }
    }
}

#[test]
fn the_last_part_of_a_stage_counts_its_own_pairs() {
    let mut simulation = Simulation::new(Setup { pairs: 16, ..USUAL });
    let number = simulation.ask(&Asked { top_k: 0, ..Asked::words(37, 1) });
    simulation.run();
    let outcome = simulation.results[&number].as_ref().unwrap();
    for timing in &outcome.timings[2..6] {
        let pairs: Vec<u32> = timing.batches.iter().map(|batch| batch.pairs).collect();
        assert_eq!(pairs, [16, 16, 5, 16, 16, 5], "{:?}", timing.stage);
    }
}

/// The survivors of a small vocabulary say nothing of those of a large one.
#[test]
fn a_small_vocabulary_does_not_make_a_large_one_seem_cheap() {
    let mut simulation = Simulation::new(USUAL);
    let small = Asked { top_k: 9, ..Asked::words(9, 1) };
    for _ in 0..20 {
        simulation.ask(&small);
        simulation.run();
    }
    let large = Asked { top_k: 9, priority: Priority::Low, ..Asked::words(400, 1) };
    simulation.ask_words(&large);
    simulation.run();
    simulation.launches.clear();
    simulation.ask(&large);
    let predicted = simulation.admission.load().0;
    simulation.run();
    let took: Duration = simulation.launches.iter().map(|launch| launch.time).sum();
    assert!(predicted > took.as_secs_f64() / 2.0, "{predicted} instead of {took:?}");
}
