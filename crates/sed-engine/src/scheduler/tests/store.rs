//! Requests whose words may lie in a directory.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use super::simulation::{Asked, Simulation, USUAL, alone};
use crate::{
    caches::text_store::{
        TextStoreThread,
        tests::{Hanging, SHORT, phrase},
    },
    metrics,
    preparing::PreparationState,
    stages::{fake::model_info, phrases::TokenPhrase},
};

type Answers = mpsc::Receiver<(TokenPhrase, Option<Vec<u8>>)>;

const CEILING: Duration = Duration::from_secs(20);

fn simulation() -> (Simulation, Arc<Hanging>, Answers) {
    let storage = Arc::<Hanging>::default();
    let (sender, answers) = mpsc::channel();
    let answer = move |phrase, found| sender.send((phrase, found)).unwrap_or_default();
    let store = TextStoreThread::start_with(
        Arc::clone(&storage) as _,
        1 << 20,
        SHORT,
        &model_info(),
        &metrics::off(),
        answer,
    );
    (Simulation::with(USUAL, Some(store.unwrap()), metrics::off()), storage, answers)
}

fn asked(words: &[&str], picture: u8) -> Asked {
    Asked { words: words.iter().map(ToString::to_string).collect(), ..Asked::words(0, picture) }
}

/// Runs until a request has its answer, bringing what the directory answers.
fn run_until_answered(simulation: &mut Simulation, answers: &Answers, number: usize) {
    while !simulation.results.contains_key(&number) {
        if !simulation.step() {
            let (phrase, found) = answers.recv_timeout(CEILING).expect("the directory answers in time");
            simulation.was_read(&phrase, found.as_deref());
        }
    }
}

#[test]
fn a_directory_that_hangs_delays_no_request_for_long() {
    let (mut simulation, storage, answers) = simulation();
    storage.hold("heron");
    let held = asked(&["heron", "reed"], 1);
    let other = asked(&["cat", "sofa"], 2);
    let (first, second) = (simulation.ask(&held), simulation.ask(&other));
    for (asked, number) in [(&held, first), (&other, second)] {
        run_until_answered(&mut simulation, &answers, number);
        assert_eq!(simulation.results[&number].as_ref().unwrap().map, alone(asked, number).map);
    }
    assert_eq!(storage.calls().0, 1, "the call hangs still");
    // Known words need no directory.
    let third = simulation.ask(&held);
    run_until_answered(&mut simulation, &answers, third);
    storage.release();
}

#[test]
fn a_phrase_is_asked_for_once_however_often_its_request_is_cancelled() {
    let (mut simulation, storage, answers) = simulation();
    storage.hold("heron");
    for picture in 0..20 {
        let number = simulation.ask(&asked(&["heron"], picture));
        simulation.cancel(number);
        assert!(!simulation.step());
    }
    let last = simulation.ask(&asked(&["heron"], 30));
    run_until_answered(&mut simulation, &answers, last);
    assert!(answers.try_recv().is_err(), "the same phrase was asked for again");
    storage.release();
}

#[test]
fn what_is_stored_is_not_computed_but_what_does_not_fit_the_model_is() {
    let (mut simulation, storage, answers) = simulation();
    // The fake's embeddings have eight bytes.
    storage.put("cat", &[3; 8]);
    storage.put("dog", &[3; 9]);
    let number = simulation.ask(&asked(&["Cat", "dog"], 1));
    run_until_answered(&mut simulation, &answers, number);
    assert_eq!(simulation.control.embedded(), 1);
    assert!(simulation.results[&number].is_ok());
    let stored = simulation.scheduler.store.as_ref().unwrap().stored();
    assert_eq!(stored.missing([&phrase("cat"), &phrase("dog")]).len(), 0);
}

#[test]
fn what_is_stored_counts_for_a_preparation_when_it_arrives() {
    let (mut simulation, storage, answers) = simulation();
    storage.put("cat", &[3; 8]);
    let preparation = simulation.prepare(&asked(&["cat", "dog"], 1));
    let now = || preparation.progress().borrow().clone();
    assert!(!simulation.step() && now().embedded == 0, "both are looked for");
    while now().state == PreparationState::Running {
        if !simulation.step() {
            let (phrase, found) = answers.recv_timeout(CEILING).expect("the directory answers in time");
            simulation.was_read(&phrase, found.as_deref());
        }
    }
    assert_eq!((now().state, simulation.control.embedded()), (PreparationState::Ready, 1));
}
