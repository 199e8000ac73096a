//! The order in which requests are served.

use std::time::Duration;

use super::simulation::{Asked, BOTH, MS, Setup, Simulation, USUAL, alone};
use crate::{
    requests::{error::EngineError, job::Priority},
    stages::stage::Stage,
};

fn warm(simulation: &mut Simulation, words: usize) {
    simulation.ask(&Asked::words(words, 250));
    simulation.run();
    simulation.launches.clear();
}

#[test]
fn requests_with_different_words_share_every_launch() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        warm(&mut simulation, 20);
        let numbers: Vec<_> =
            [5, 12, 20].iter().map(|&words| simulation.ask(&Asked::words(words, words as u8))).collect();
        simulation.run();
        let stages: Vec<_> = simulation.launches.iter().map(|launch| launch.stage).collect();
        assert_eq!(stages, Stage::ALL[1..].to_vec(), "one launch of each stage");
        assert!(simulation.launches.iter().all(|launch| launch.requests == numbers));
        let outcome = simulation.results[&numbers[1]].as_ref().unwrap();
        assert_eq!(outcome.timings[2].batches[0].pairs, 5 + 12 + 20);
        assert_eq!(outcome.timings[1].batches[0].images, 3);
    }
}

#[test]
fn a_large_output_is_enlarged_by_itself() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        warm(&mut simulation, 10);
        let heights = [3, 3, 3_000_000, 3];
        let asked = |(picture, height)| Asked { height, ..Asked::words(5, picture) };
        let numbers = [0, 1, 2, 3].map(|index| simulation.ask(&asked((index as u8, heights[index]))));
        simulation.run();
        let last = simulation.launches.iter().filter(|launch| launch.stage == Stage::Finish);
        let [a, b, large, d] = numbers;
        assert_eq!(
            last.map(|launch| launch.requests.clone()).collect::<Vec<_>>(),
            [vec![a, b], vec![large], vec![d]]
        );
    }
}

#[test]
fn what_has_begun_goes_first_and_so_stays_small() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        warm(&mut simulation, 10);
        let numbers: Vec<_> = (0..30).map(|picture| simulation.ask(&Asked::words(10, picture))).collect();
        let mut most = 0;
        while simulation.step() {
            let begun: std::collections::HashSet<usize> =
                simulation.launches.iter().flat_map(|launch| launch.requests.iter().copied()).collect();
            let done = numbers.iter().filter(|number| simulation.results.contains_key(number)).count();
            most = most.max(begun.len() - done);
        }
        assert!(most <= 3, "{most} requests were in flight, though an encoder batch has 3");
        // First come, first served.
        let encoded: Vec<usize> = simulation
            .launches
            .iter()
            .filter(|launch| launch.stage == Stage::Encode)
            .flat_map(|launch| launch.requests.clone())
            .collect();
        assert_eq!(encoded, numbers);
    }
}

#[test]
fn a_delay_lets_later_stages_fill_up_while_there_is_other_work() {
    let fill = |delay| {
        let mut simulation = Simulation::new(Setup { delay, pairs: 60, ..USUAL });
        warm(&mut simulation, 10);
        for picture in 0..12 {
            simulation.ask(&Asked::words(10, picture));
        }
        simulation.run();
        let cost_maps = simulation.launches.iter().filter(|launch| launch.stage == Stage::CostMap);
        cost_maps.map(|launch| launch.pairs).collect::<Vec<_>>()
    };
    assert_eq!(fill(Duration::ZERO), [30, 30, 30, 30]);
    assert_eq!(fill(MS * 50), [60, 60]);
}

#[test]
fn nobody_waits_for_the_delay_while_the_device_is_idle() {
    for setup in BOTH {
        let mut simulation = Simulation::new(Setup { delay: Duration::from_secs(3600), ..setup });
        let number = simulation.ask(&Asked::words(4, 1));
        simulation.run();
        let waits: Duration =
            simulation.results[&number].as_ref().unwrap().timings.iter().map(|t| t.queue_wait).sum();
        assert_eq!(waits, Duration::ZERO);
    }
}

#[test]
fn a_stream_of_easy_requests_starves_nobody() {
    for setup in BOTH {
        // The easy ones come in at the cost map, where there is always work; the hard one needs every stage.
        let mut simulation = Simulation::new(setup);
        warm(&mut simulation, 10);
        let easy = Asked::words(10, 250);
        for _ in 0..5 {
            simulation.ask(&easy);
        }
        let mut hard = Asked::words(400, 7);
        hard.words[0] = "never seen".into();
        let hard = simulation.ask(&hard);
        let mut steps = 0;
        while !simulation.results.contains_key(&hard) {
            simulation.ask(&easy);
            simulation.step();
            steps += 1;
            assert!(steps < 1000, "the hard request starves");
        }
        assert!(steps < 200, "{steps} launches");
    }
}

#[test]
fn priorities_are_strict_until_somebody_has_waited_long() {
    for setup in BOTH {
        let mut simulation = Simulation::new(Setup { images: 1, ..setup });
        warm(&mut simulation, 4);
        let ask = |simulation: &mut Simulation, picture, priority| {
            simulation.ask(&Asked { priority, ..Asked::words(4, picture) })
        };
        let first = |simulation: &Simulation, number| {
            simulation.launches.iter().position(|launch| launch.requests.contains(&number)).unwrap()
        };
        let low = ask(&mut simulation, 1, Priority::Low);
        let normal = ask(&mut simulation, 2, Priority::Normal);
        let high = ask(&mut simulation, 3, Priority::High);
        simulation.run();
        assert!(first(&simulation, high) < first(&simulation, normal));
        assert!(first(&simulation, normal) < first(&simulation, low));

        let low = ask(&mut simulation, 4, Priority::Low);
        simulation.pass(Duration::from_secs(11));
        let high = ask(&mut simulation, 5, Priority::High);
        simulation.run();
        assert!(first(&simulation, low) < first(&simulation, high));
    }
}

#[test]
fn a_large_request_goes_in_parts_and_gets_the_same_answer() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        for top_k in [0, 1, 9] {
            let asked = Asked { top_k, ..Asked::words(333, 9) };
            let number = simulation.ask(&asked);
            let small = simulation.ask(&Asked::words(7, 3));
            simulation.run();
            let outcome = simulation.results[&number].as_ref().unwrap();
            let expected = alone(&asked, number);
            assert_eq!((&outcome.map, &outcome.rejection), (&expected.map, &expected.rejection));
            assert!(simulation.results[&small].is_ok());
            let cost_map = &outcome.timings.iter().find(|timing| timing.stage == Stage::CostMap).unwrap();
            assert!(cost_map.batches.len() >= 7, "{} parts", cost_map.batches.len());
            let whole: Duration =
                outcome.timings.iter().map(|timing| timing.queue_wait + timing.duration).sum();
            assert!(whole > Duration::ZERO);
        }
        assert!(simulation.launches.iter().any(|launch| launch.part));
    }
}

#[test]
fn the_same_picture_is_encoded_once() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        warm(&mut simulation, 12);
        let together: Vec<_> = (3..12).map(|words| simulation.ask(&Asked::words(words, 77))).collect();
        simulation.run();
        let later = simulation.ask(&Asked::words(5, 77));
        simulation.run();
        let encoded: usize =
            simulation.launches.iter().filter(|l| l.stage == Stage::Encode).map(|l| l.images).sum();
        assert_eq!(encoded, 1);
        let hits =
            together.iter().filter(|number| simulation.results[number].as_ref().unwrap().caches.image_hit);
        assert_eq!(hits.count(), together.len() - 1);
        let later_outcome = simulation.results[&later].as_ref().unwrap();
        assert!(later_outcome.caches.image_hit);
        assert_eq!(later_outcome.map, alone(&Asked::words(5, 77), later).map);
        assert!(later_outcome.timings.iter().all(|timing| timing.stage != Stage::Encode));
    }
}

#[test]
fn a_picture_that_shares_a_batch_is_at_hand_even_where_nothing_is_kept() {
    for setup in BOTH {
        let mut simulation = Simulation::new(Setup { image_cache: 0, ..setup });
        warm(&mut simulation, 12);
        let together: Vec<_> = (3..7).map(|words| simulation.ask(&Asked::words(words, 77))).collect();
        simulation.run();
        let hits =
            together.iter().filter(|number| simulation.results[number].as_ref().unwrap().caches.image_hit);
        assert_eq!(hits.count(), together.len() - 1);
    }
}

#[test]
fn the_cancelled_and_the_late_are_dropped_before_their_next_stage() {
    for stage in Stage::ALL {
        for cancelled in [true, false] {
            let mut simulation = Simulation::new(Setup { image_cache: 0, ..USUAL });
            let timeout = (!cancelled).then_some(Duration::from_secs(1));
            let number = simulation.ask(&Asked { timeout, ..Asked::words(6, 1) });
            simulation.run_until_at(number, stage);
            let rides = simulation.rides(number);
            if cancelled {
                simulation.cancel(number);
            } else {
                simulation.pass(Duration::from_secs(1));
            }
            let launched = simulation.launches.len();
            simulation.run();
            assert_eq!((simulation.rides(number), simulation.launches.len()), (rides, launched), "{stage:?}");
            let expected = (!cancelled).then_some(Err(EngineError::DeadlineExceeded));
            assert_eq!(simulation.results.remove(&number), expected, "{stage:?}");
        }
    }
}

#[test]
fn a_phrase_that_many_wait_for_is_embedded_once() {
    for setup in BOTH {
        let mut simulation = Simulation::new(setup);
        let numbers: Vec<_> = (0..100).map(|picture| simulation.ask(&Asked::words(20, picture))).collect();
        simulation.run();
        assert_eq!(simulation.control.embedded(), 20);
        for number in numbers {
            let caches = simulation.results[&number].as_ref().unwrap().caches;
            assert_eq!((caches.text_hits, caches.text_misses), (0, 20));
        }
    }
}

#[test]
fn a_request_is_one_launch_with_the_times_of_all_its_stages() {
    let mut simulation = Simulation::new(BOTH[1]);
    warm(&mut simulation, 20);
    let asked = Asked::words(20, 1);
    let (begun, number) = (simulation.scheduler.now(), simulation.ask(&asked));
    assert!(simulation.step() && !simulation.step(), "one launch");
    let outcome = &simulation.results[&number].as_ref().unwrap();
    assert_eq!(outcome.rejection, alone(&asked, number).rejection);
    let stages: Vec<_> = outcome.timings.iter().map(|timing| timing.stage).collect();
    assert_eq!(stages, Stage::ALL);
    for (timing, launch) in outcome.timings[1..].iter().zip(&simulation.launches) {
        assert_eq!((timing.duration, timing.queue_wait), (launch.time, Duration::ZERO), "{:?}", timing.stage);
        let [batch] = timing.batches.as_slice() else { panic!("{:?}", timing.batches) };
        assert_eq!((batch.pairs as usize, batch.device_time), (launch.pairs, launch.time));
    }
    let all: Duration = outcome.timings.iter().map(|timing| timing.duration).sum();
    assert_eq!((begun + all, outcome.finished), (simulation.scheduler.now(), simulation.scheduler.now()));
}

#[test]
fn a_submission_takes_what_fits_and_leaves_other_kinds_in_order() {
    let mut simulation = Simulation::new(Setup { images: 4, image_cache: 0, ..BOTH[1] });
    warm(&mut simulation, 60);
    // The third has more pairs than a submission, the fifth asks for score maps.
    let asked = [20, 30, 51, 20, 20, 20, 31].into_iter().zip(0..);
    let numbers: Vec<_> = asked
        .map(|(words, picture)| {
            let score_maps = picture == 4;
            simulation.ask(&Asked { score_maps, ..Asked::words(words, picture) })
        })
        .collect();
    simulation.run();
    let encoded = simulation.launches.iter().filter(|launch| launch.stage == Stage::Encode);
    let batches: Vec<_> = encoded.map(|launch| (launch.whole, launch.requests.clone())).collect();
    let of = |places: &[usize]| places.iter().map(|place| numbers[*place]).collect::<Vec<_>>();
    let expected =
        [(true, &[0, 1][..]), (false, &[2]), (true, &[3]), (false, &[4]), (true, &[5]), (true, &[6])];
    assert_eq!(batches, expected.map(|(whole, places)| (whole, of(places))));
}

#[test]
fn an_answer_that_comes_too_late_is_dropped_behind_its_submission() {
    let mut simulation = Simulation::new(BOTH[1]);
    warm(&mut simulation, 6);
    let late = simulation.ask(&Asked { timeout: Some(MS * 2), ..Asked::words(6, 1) });
    let other = simulation.ask(&Asked::words(6, 2));
    simulation.run();
    assert_eq!(simulation.results[&late], Err(EngineError::DeadlineExceeded));
    assert!(simulation.results[&other].is_ok() && simulation.rides(late) == 6);
}
