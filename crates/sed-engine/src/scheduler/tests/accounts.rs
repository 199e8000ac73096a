//! The predicted work that is left in the queue, launch by launch.

use std::time::Duration;

use proptest::prelude::*;
use sed_telemetry::Telemetry;

use super::simulation::{Asked, BOTH, Setup, Simulation, USUAL};
use crate::{
    admission::prediction::Prediction,
    metrics::EngineMetrics,
    requests::job::Priority,
    stages::{Level, StageError, fake::Fault, stage::Stage},
};

/// A simulation that has seen all stages, whole and in parts.
fn taught() -> Simulation {
    let mut simulation = Simulation::new(Setup { image_cache: 0, ..USUAL });
    for (words, picture) in [(9, 1), (30, 2), (130, 3), (40, 4)] {
        simulation.ask(&Asked { top_k: 0, ..Asked::words(words, picture) });
        simulation.run();
    }
    simulation.launches.clear();
    simulation
}

fn cold(count: usize, top_k: u32, priority: Priority) -> Asked {
    let words = (0..count).map(|word| format!("cold {word}")).collect();
    Asked { words, top_k, priority, ..Asked::words(1, 9) }
}

#[test]
fn every_launch_deducts_what_it_has_done() {
    let mut simulation = taught();
    let number = simulation.ask(&cold(333, 0, Priority::Normal));
    let mut left = simulation.admission.load().0;
    let all = left;
    while simulation.step() && !simulation.results.contains_key(&number) {
        let now = simulation.admission.load().0;
        let launch = simulation.launches.last().unwrap();
        let deducted = left - now;
        let time = launch.time.as_secs_f64();
        assert!((time * 0.5..time * 2.0).contains(&deducted), "{deducted} for {launch:?}");
        left = now;
    }
    assert!(simulation.results[&number].is_ok());
    assert!(simulation.launches.len() >= 90, "{} launches", simulation.launches.len());
    let took: Duration = simulation.launches.iter().map(|launch| launch.time).sum();
    assert!((all / took.as_secs_f64() - 1.0).abs() < 0.2, "{all} predicted, {took:?} taken");
    assert_eq!(simulation.admission.load(), (0.0, 0));
}

/// A request that was refused behind much work is admitted once most of it is done.
#[test]
fn what_is_nearly_done_refuses_nobody() {
    let mut simulation = taught();
    let large = simulation.ask(&Asked { priority: Priority::High, ..cold(900, 0, Priority::Normal) });
    simulation.run_until_at(large, Stage::Decode(Level::One));
    simulation.step();
    let asked = Asked { timeout: Some(Duration::from_millis(40)), ..Asked::words(20, 200) };
    let mut admitted = Vec::new();
    while !simulation.results.contains_key(&large) {
        match simulation.try_ask(&asked) {
            Ok(number) => {
                admitted.push(simulation.waits_at(large, Stage::Decode(Level::Three)));
                simulation.cancel(number);
            }
            Err(_) => assert!(admitted.is_empty()),
        }
        simulation.step();
    }
    assert!(admitted.len() > 3 && admitted[0], "{admitted:?}");
}

#[derive(Clone, Debug)]
enum Action {
    Ask(Asked),
    Words(Asked),
    Deliver(usize),
    Fault(Stage, Fault),
    Memory(usize),
    Cancel,
    Steps(usize),
}

fn asked() -> impl Strategy<Value = Asked> {
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    (
        1_usize..120,
        0_usize..60,
        prop::option::of(1_u32..10).prop_map(|top_k| top_k.unwrap_or(0)),
        priority,
        0_u8..9,
    )
        .prop_map(|(count, first, top_k, priority, picture)| {
            let words = (first..first + count).map(|word| format!("word {word}")).collect();
            Asked { words, top_k, priority, ..Asked::words(1, picture) }
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
        6 => asked().prop_map(Action::Ask),
        1 => asked().prop_map(Action::Words),
        2 => (0_usize..120).prop_map(Action::Deliver),
        2 => (stage, fault).prop_map(|(stage, fault)| Action::Fault(stage, fault)),
        1 => (1_usize..60).prop_map(Action::Memory),
        1 => Just(Action::Cancel),
        6 => (1_usize..9).prop_map(Action::Steps),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn deductions_are_the_prediction_whatever_the_launches(
        actions in prop::collection::vec(action(), 1..40),
        pairs in 5_usize..80,
        submits in any::<bool>(),
    ) {
        let mut simulation = Simulation::new(Setup { pairs, submits, ..USUAL });
        simulation.ask(&Asked::words(30, 77));
        simulation.run();
        let mut last = 0;
        for action in actions {
            match action {
                Action::Ask(asked) => last = simulation.ask(&asked),
                Action::Words(asked) => last = simulation.ask_words(&asked),
                Action::Deliver(word) => simulation.deliver(&format!("word {word}")),
                Action::Fault(stage, fault) => simulation.control.inject(stage, fault),
                Action::Memory(pairs) => simulation.control.set_memory(pairs),
                Action::Cancel => simulation.cancel(last),
                Action::Steps(steps) => (0..steps).for_each(|_| _ = simulation.step()),
            }
            // The queue holds what is left of its requests, to the nanosecond.
            let present = simulation.slots.values().filter(|slot| !slot.is_gone());
            let left: Duration = present.map(|slot| slot.left().total()).sum();
            prop_assert_eq!(simulation.admission.load().0, left.as_secs_f64());
        }
        simulation.run();
        for (number, slot) in &simulation.slots {
            let answered = matches!(simulation.results.get(number), Some(Ok(_)));
            if answered || simulation.embedded.contains(number) {
                prop_assert_eq!(slot.left(), Prediction::default());
            }
        }
        prop_assert_eq!(simulation.admission.load(), (0.0, 0));
        prop_assert_eq!(simulation.admission.waiting(), 0);
    }
}

/// The series of a metric that are not zero, as Prometheus reads them, after something was done.
fn recorded(name: &str, what: impl FnOnce(&mut Simulation)) -> Vec<String> {
    recorded_by(USUAL, name, what)
}

fn recorded_by(setup: Setup, name: &str, what: impl FnOnce(&mut Simulation)) -> Vec<String> {
    let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS]).unwrap();
    what(&mut Simulation::with(setup, None, EngineMetrics::new(&telemetry)));
    let rendered = telemetry.render().unwrap();
    let series = rendered.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0"));
    let mut series: Vec<String> = series.map(str::to_owned).collect();
    series.sort();
    series
}

#[test]
fn work_past_its_deadline_is_counted_so_although_its_caller_has_gone() {
    for (cause, passed, goes) in [("deadline", 2, true), ("deadline", 2, false), ("cancelled", 0, true)] {
        let series = recorded("sed_requests_abandoned_total", |simulation| {
            let timeout = Some(Duration::from_secs(1));
            let number = simulation.ask(&Asked { timeout, ..Asked::words(4, 1) });
            simulation.run_until_at(number, Stage::CostMap);
            simulation.pass(Duration::from_secs(passed));
            if goes {
                simulation.cancel(number);
            }
            simulation.run();
        });
        let expected = format!("sed_requests_abandoned_total{{stage=\"cost_map\",cause=\"{cause}\"}} 1");
        assert_eq!(series, [expected]);
    }
}

/// Words in many launches and pairs in many parts wait once for each stage; between two launches is no new
/// wait.
#[test]
fn a_stage_is_waited_for_once() {
    let waits = |part: &str, ask: fn(&mut Simulation)| {
        let series = recorded(&format!("sed_stage_wait_seconds_{part}"), |simulation| {
            ask(simulation);
            simulation.run();
        });
        let value = |line: &String| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
        series.iter().map(value).collect::<Vec<f64>>()
    };
    let alone = |simulation: &mut Simulation| _ = simulation.ask(&Asked::words(333, 1));
    assert_eq!(waits("count", alone), [1.0; 7]);
    assert_eq!(waits("sum", alone).iter().sum::<f64>(), 0.0);
    let late = |simulation: &mut Simulation| {
        simulation.ask(&Asked::words(333, 1));
        simulation.pass(Duration::from_secs(3));
    };
    assert_eq!(waits("sum", late).iter().sum::<f64>(), 3.0);
}

/// Metrics by stage do not depend on the way through the stages.
#[test]
fn a_submission_is_counted_by_its_stages() {
    for name in [
        "sed_stage_wait_seconds_count",
        "sed_stage_duration_seconds_sum",
        "sed_batch_images_sum",
        "sed_batch_pairs_sum",
        "sed_categories_survived_sum",
        "sed_category_level_total",
        "sed_image_cache",
        "sed_device_busy_seconds_total",
    ] {
        let [one_by_one, whole] = BOTH.map(|setup| {
            recorded_by(setup, name, |simulation| {
                for picture in [1, 2, 1] {
                    simulation.ask(&Asked::words(9, picture));
                }
                simulation.run();
            })
        });
        assert_eq!(one_by_one, whole);
        assert!(!whole.is_empty(), "{name}");
    }
    let submissions = recorded_by(BOTH[1], "sed_submissions_total", |simulation| {
        simulation.ask(&Asked::words(9, 1));
        simulation.run();
        simulation.ask(&Asked::words(9, 2));
        simulation.control.inject(Stage::CostMap, Fault::Fail(StageError::OutOfMemory("full".into())));
        simulation.run();
    });
    let series = |outcome: &str| format!("sed_submissions_total{{outcome=\"{outcome}\"}} 1");
    assert_eq!(submissions, ["answered", "out_of_memory"].map(series));
}
