//! Answers whose map is made behind a submission.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sed_model::ModelError;
use sed_telemetry::Telemetry;
use tracing::Span;

use super::simulation::Asked;
use crate::{
    admission::{Admission, cost_model::Demand},
    devices::answer_thread::AnswerThread,
    metrics::{self, DeviceErrorKind, EngineMetrics},
    requests::{error::EngineError, job::SegmentOutcome, report::BatchTiming},
    scheduler::{
        Unfinished,
        task::{Answer, Order, Request, Task},
    },
    stages::{FinishedMap, RawMap, stage::Stage},
};

/// A request whose map is made by `work`.
fn unfinished(
    admission: &Arc<Admission>,
    work: impl FnOnce() -> Result<FinishedMap, ModelError> + Send + 'static,
) -> (Unfinished, Answer<SegmentOutcome>) {
    let now = Instant::now();
    let asked = Asked::words(2, 1);
    let job = asked.job(3, now);
    let demand = Demand::of_job(&job, 8, 0.0, true);
    let slot = admission.admit(&demand, asked.priority, None, now).unwrap();
    let (arrival, answer) = Order::segment(job).admitted(demand, slot, Span::none());
    let Request::Segment(request) = arrival.request else { panic!("a request for masks") };
    let mut ticket = arrival.ticket;
    ticket.timeline.begin(Stage::Finish, now);
    let task = Task { ticket, request, state: RawMap::new(work) };
    let batch = BatchTiming { images: 1, pairs: 2, device_time: Duration::ZERO };
    (Unfinished { task, batch }, answer)
}

/// A map as the request asks for it.
fn map() -> FinishedMap {
    let (width, height, indices) = (4, 3, vec![0; 12]);
    let (pixels, mean_scores) = (vec![12, 0], vec![0.5, 0.0]);
    FinishedMap { width, height, indices, pixels, mean_scores, score_maps: None, sureness: None }
}

#[test]
fn an_error_or_a_panic_fails_its_request_alone() {
    type Work = fn() -> Result<FinishedMap, ModelError>;
    let works: [(Work, Result<(), EngineError>, Option<DeviceErrorKind>); 4] = [
        (|| Ok(map()), Ok(()), None),
        (
            || Err(ModelError::NotFinite { found: 7, of: 64 }),
            Err(EngineError::ResultNotFinite { found: 7, of: 64 }),
            Some(DeviceErrorKind::NotFinite),
        ),
        (
            || panic!("no luck"),
            Err(EngineError::StageFailed { stage: Stage::Finish, message: "panicked: no luck".into() }),
            Some(DeviceErrorKind::Panic),
        ),
        (
            || Ok(FinishedMap { indices: vec![0; 11], ..map() }),
            Err(EngineError::StageFailed {
                stage: Stage::Finish,
                message: "gave a map of another size than asked for".into(),
            }),
            Some(DeviceErrorKind::Failed),
        ),
    ];
    for (work, expected, kind) in works {
        let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS]).unwrap();
        let (metrics, admission) = (EngineMetrics::new(&telemetry), Admission::unlimited());
        let (unfinished, mut answer) = unfinished(&admission, work);
        unfinished.finish(Instant::now, &metrics);
        assert_eq!(answer.try_recv().unwrap().map(|_| ()), expected);
        assert_eq!(admission.load().1, 0, "the slot is free");
        let errors = telemetry.render().unwrap();
        let errors = errors.lines().filter(|line| line.starts_with("sed_device_errors_total"));
        assert_eq!(errors.filter(|line| line.ends_with(" 1")).count(), usize::from(kind.is_some()));
    }
}

#[test]
fn a_thread_of_answers_ends_behind_those_that_it_has() {
    let (metrics, admission) = (metrics::off(), Admission::unlimited());
    let thread = AnswerThread::start("cpu", &metrics).unwrap();
    let answers: Vec<_> = (0..5)
        .map(|_| {
            let slow = || {
                std::thread::sleep(Duration::from_millis(5));
                Ok(map())
            };
            let (unfinished, answer) = unfinished(&admission, slow);
            thread.finish(unfinished);
            answer
        })
        .collect();
    drop(thread);
    for mut answer in answers {
        let outcome = answer.try_recv().unwrap().unwrap();
        let finish = outcome.timings.last().unwrap();
        assert!(finish.duration >= Duration::from_millis(5), "{finish:?}");
    }
}
