//! Words of some requests beside the work of others.

use std::time::Duration;

use super::simulation::{Asked, Setup, Simulation, USUAL};
use crate::{requests::job::Priority, stages::stage::Stage};

const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// A simulation that knows ten words, and whose launches take some 40 to 100 ms.
fn warm() -> Simulation {
    let mut simulation = Simulation::new(Setup { images: 1, image_cache: 0, ..USUAL });
    simulation.slowness = 40;
    simulation.ask(&Asked::words(10, 250));
    simulation.run();
    simulation.launches.clear();
    simulation
}

/// Words that no other request has.
fn cold(count: usize, name: &str, priority: Priority) -> Asked {
    let words = (0..count).map(|word| format!("{name} {word}")).collect();
    Asked { words, priority, ..Asked::words(1, 99) }
}

/// Launches of words before the first launch that included a request.
fn word_launches_before(simulation: &Simulation, number: usize) -> usize {
    let launches = simulation.launches.iter().take_while(|launch| !launch.requests.contains(&number));
    launches.filter(|launch| launch.stage == Stage::TextEmbedding).count()
}

#[test]
fn known_words_wait_for_one_launch_of_others_words_at_most() {
    for slow in [Priority::Low, Priority::Normal] {
        for fast in [Priority::Normal, Priority::High] {
            for steps in [0, 1, 7, 60] {
                let mut simulation = warm();
                simulation.ask(&cold(800, "word of others", slow));
                for _ in 0..steps {
                    simulation.step();
                    // However long they have been at work, they have not waited.
                    simulation.stall = Some((Stage::TextEmbedding, Duration::from_secs(1)));
                }
                simulation.launches.clear();
                let number = simulation.ask(&Asked { priority: fast, ..Asked::words(10, 1) });
                simulation.run();
                let before = word_launches_before(&simulation, number);
                assert!(before <= 1, "{before} launches of words, {slow:?} before {fast:?}, {steps} steps");
                assert!(simulation.results[&number].is_ok());
            }
        }
    }
}

#[test]
fn a_request_whose_words_are_done_does_not_overtake_a_higher_priority() {
    let mut simulation = warm();
    let low = simulation.ask(&cold(80, "word of others", Priority::Low));
    while !simulation.waits_at(low, Stage::Encode) {
        simulation.stall = Some((Stage::TextEmbedding, Duration::from_secs(60)));
        assert!(simulation.step());
    }
    let high = simulation.ask(&Asked { priority: Priority::High, ..Asked::words(10, 1) });
    simulation.run();
    let first = |number| simulation.launches.iter().position(|launch| launch.requests.contains(&number));
    assert!(first(high) < first(low));
}

#[test]
fn a_few_new_words_wait_for_one_launch_of_many() {
    let mut simulation = warm();
    simulation.ask_words(&cold(800, "word of others", Priority::Normal));
    (0..20).for_each(|_| _ = simulation.step());
    simulation.launches.clear();
    let few = simulation.ask(&cold(3, "word", Priority::Normal));
    simulation.run_until_at(few, Stage::Encode);
    assert!(simulation.launches.len() <= 2, "{} launches", simulation.launches.len());
}

/// All words of one request, in spite of a steady stream of requests with known ones that takes all the
/// device has.
#[test]
fn a_stream_of_known_words_does_not_starve_new_ones() {
    for priority in PRIORITIES {
        let mut simulation = warm();
        let begun = simulation.scheduler.now();
        let words = simulation.ask_words(&cold(200, "word of others", Priority::Normal));
        let (mut last, mut longest, mut spent) = (begun, Duration::ZERO, Duration::ZERO);
        let mut stream = Vec::new();
        while !simulation.embedded.contains(&words) {
            // There is always one that could begin.
            if stream.last().is_none_or(|number| !simulation.waits_at(*number, Stage::Encode)) {
                stream.push(simulation.ask(&Asked { priority, ..Asked::words(10, 1) }));
            }
            assert!(simulation.step() && stream.len() < 1000, "the words starve behind {priority:?}");
            let launch = simulation.launches.last().unwrap();
            if launch.stage == Stage::TextEmbedding {
                spent += launch.time;
                longest = longest.max(simulation.scheduler.now() - last);
                last = simulation.scheduler.now();
            }
        }
        // A step of priority is worth 5 seconds of waiting.
        assert!(longest < Duration::from_secs(7), "{longest:?} between two launches of words");
        let all = simulation.scheduler.now() - begun;
        assert!(priority == Priority::Low || spent < all / 2, "{spent:?} of {all:?} behind {priority:?}");
        assert!(priority == Priority::High || all < Duration::from_secs(7), "{all:?} behind {priority:?}");
    }
}

#[test]
fn vocabularies_that_are_made_do_not_hold_up_known_words() {
    let mut simulation = warm();
    for name in ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"] {
        simulation.ask_words(&cold(300, name, Priority::Normal));
    }
    for picture in 0..50 {
        // The words have a quarter of the device, so that they do not wait long enough to go first.
        (0..5).for_each(|_| _ = simulation.step());
        let asked = Asked {
            priority: Priority::High,
            timeout: Some(Duration::from_secs(5)),
            ..Asked::words(10, picture)
        };
        let number = simulation.try_ask(&asked).unwrap();
        let mut steps = 0;
        while !simulation.results.contains_key(&number) {
            assert!(simulation.step());
            steps += 1;
        }
        assert!(simulation.results[&number].is_ok());
        assert!(steps <= 7, "{steps} launches for six stages");
    }
    simulation.run();
    assert_eq!(simulation.embedded.len(), 8);
}

/// The words of one of two equal requests do not wait for all of the other's.
#[test]
fn equal_words_take_turns() {
    let mut simulation = warm();
    let first = simulation.ask_words(&cold(160, "first", Priority::Normal));
    let second = simulation.ask_words(&cold(160, "second", Priority::Normal));
    let low = simulation.ask_words(&cold(8, "low", Priority::Low));
    let mut done = Vec::new();
    while simulation.step() {
        let ended = |number: &usize| simulation.embedded.contains(number) && !done.contains(number);
        done.extend([first, second, low].into_iter().filter(ended).collect::<Vec<_>>());
    }
    assert_eq!(done, [first, second, low]);
    assert_eq!(simulation.launches.len(), 41, "every launch of eight is full");
}

#[test]
fn launches_of_words_are_limited_by_the_time_that_they_take() {
    let mut simulation = Simulation::new(USUAL);
    // 100 ms for a phrase: an embedding of eight at a time would take 0.8 s.
    let long = |name: &str| format!("{name}{}", "x".repeat(50_000 - name.len()));
    let words = (0..30).map(|word| long(&format!("{word} "))).collect();
    simulation.ask_words(&Asked { words, ..cold(1, "", Priority::Low) });
    simulation.run();
    let phrases: Vec<usize> = simulation.launches.iter().map(|launch| launch.pairs).collect();
    assert!(phrases.len() > 5 && phrases.iter().all(|count| *count >= 1), "{phrases:?}");
    assert!(phrases[3..].iter().all(|count| *count <= 3), "{phrases:?}");
    assert_eq!(phrases.iter().sum::<usize>(), 30);
}
