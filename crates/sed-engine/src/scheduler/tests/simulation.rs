//! A device, its requests and their clock, all in one thread.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::sync::oneshot::error::TryRecvError;
use tracing::Span;

use super::super::{Aftermath, Clock, Policy, Ran, Scheduler, SchedulerParts, batch::MOST_ENLARGED};
use crate::{
    admission::{
        Admission, QueueLimits,
        cost_model::{Demand, text_units},
        queue_slot::QueueSlot,
    },
    caches::{
        feature_cache::FeatureCache,
        text_cache::{KnownText, TextCache},
        text_store::TextStoreThread,
    },
    metrics::{self, EngineMetrics},
    preparing::Preparations,
    requests::{
        error::EngineError,
        image::ImageKey,
        job::{JobImage, SegmentJob, SegmentOutcome},
    },
    scheduler::{
        budget::Budget,
        launch::{Done, Launch, LaunchSize, Work},
        steps::steps,
        task::{Answer, Order},
        ticket::{Ticket, Urgency},
    },
    stages::{
        StageTimes, Stages,
        fake::{FakeControl, FakeStages},
        phrases::TokenPhrase,
        stage::Stage,
    },
};

pub(super) use super::asked::Asked;

pub(super) const MS: Duration = Duration::from_millis(1);

/// Time that the text tower takes for a byte.
const TEXT_BYTE: Duration = Duration::from_micros(2);

/// A launch that has run.
#[derive(Clone, Debug)]
pub(super) struct Launched {
    pub(super) stage: Stage,
    pub(super) images: usize,
    pub(super) pairs: usize,
    pub(super) time: Duration,
    /// Numbers of the requests in it.
    pub(super) requests: Vec<usize>,
    pub(super) part: bool,
    /// No request waits for it.
    pub(super) background: bool,
    /// A stage of a submission.
    pub(super) whole: bool,
}

pub(super) struct Simulation {
    pub(super) scheduler: Scheduler<FakeStages>,
    pub(super) control: FakeControl,
    pub(super) stages: FakeStages,
    time: Arc<Mutex<Instant>>,
    pub(super) admission: Arc<Admission>,
    pub(super) preparations: Arc<Preparations>,
    /// The next launch of a stage that takes this much longer.
    pub(super) stall: Option<(Stage, Duration)>,
    /// Factor by which all launches take longer.
    pub(super) slowness: u32,
    /// Of the requests that were admitted.
    pub(super) slots: HashMap<usize, Arc<QueueSlot>>,
    answers: HashMap<usize, Answer<SegmentOutcome>>,
    word_answers: HashMap<usize, Answer<()>>,
    pub(super) results: HashMap<usize, Result<SegmentOutcome, EngineError>>,
    /// Requests for words alone that were answered.
    pub(super) embedded: HashSet<usize>,
    pub(super) launches: Vec<Launched>,
    pub(super) count: usize,
}

/// The settings of a simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) images: usize,
    pub(super) pairs: usize,
    pub(super) delay: Duration,
    pub(super) image_cache: usize,
    /// Requests go through all stages in one submission where they can.
    pub(super) submits: bool,
}

pub(super) const USUAL: Setup =
    Setup { images: 3, pairs: 50, delay: Duration::ZERO, image_cache: 1 << 20, submits: false };

/// The usual settings with stages one by one, and with submissions.
pub(super) const BOTH: [Setup; 2] = [USUAL, Setup { submits: true, ..USUAL }];

impl Simulation {
    pub(super) fn new(setup: Setup) -> Self {
        Self::with(setup, None, metrics::off())
    }

    /// A device with metrics, and perhaps with a directory of text embeddings, whose answers the test brings
    /// by [`Simulation::was_read`].
    pub(super) fn with(setup: Setup, store: Option<TextStoreThread>, metrics: Arc<EngineMetrics>) -> Self {
        let (stages, control) = if setup.submits { FakeStages::that_submits() } else { FakeStages::new() };
        let time = Arc::new(Mutex::new(Instant::now()));
        let clock: Clock = {
            let time = Arc::clone(&time);
            Arc::new(move || *time.lock().unwrap())
        };
        let admission = Admission::new(QueueLimits { requests: 100_000, pairs: 100_000_000 }, &metrics);
        let preparations = Preparations::new(100_000, &metrics);
        let scheduler = Scheduler::new(SchedulerParts {
            policy: Policy { delay: setup.delay, ageing: Duration::from_secs(5), text_chunk: 8 },
            clock,
            budget: Budget::new(
                (Some(setup.images), Some(setup.pairs)),
                &stages.memory(),
                Arc::default(),
                Arc::clone(&metrics),
            ),
            text_cache: Arc::new(TextCache::new(1 << 20, 1 << 20, &metrics)),
            feature_cache: Arc::new(FeatureCache::new(setup.image_cache, &metrics)),
            store,
            admission: Arc::clone(&admission),
            metrics,
        });
        Self {
            scheduler,
            control,
            stages,
            time,
            admission,
            preparations,
            stall: None,
            slowness: 1,
            slots: HashMap::new(),
            answers: HashMap::new(),
            word_answers: HashMap::new(),
            results: HashMap::new(),
            embedded: HashSet::new(),
            launches: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn pass(&self, time: Duration) {
        *self.time.lock().unwrap() += time;
    }

    /// Sends a request, which is admitted whatever its deadline. Returns its number.
    pub(super) fn ask(&mut self, asked: &Asked) -> usize {
        let job = asked.job(self.count, self.scheduler.now());
        let demand = self.demand(&job);
        let slot = self.admission.admit(&demand, asked.priority, None, self.scheduler.now()).unwrap();
        self.send_job(job, demand, slot)
    }

    /// Sends a request that is refused if its deadline cannot be kept. Words that are late are prepared.
    pub(super) fn try_ask(&mut self, asked: &Asked) -> Result<usize, EngineError> {
        let now = self.scheduler.now();
        let job = asked.job(self.count, now);
        let demand = self.demand(&job);
        match self.admission.admit_or_prepare(&demand, asked.priority, job.deadline, now) {
            Ok(slot) => Ok(self.send_job(job, demand, slot)),
            Err(refused) => {
                if self.admission.is_refused_for_words(&refused, &demand, asked.priority) {
                    self.prepare_late(asked);
                }
                Err(refused)
            }
        }
    }

    /// Asks for the words of a request alone.
    pub(super) fn ask_words(&mut self, asked: &Asked) -> usize {
        let job = asked.job(self.count, self.scheduler.now());
        let demand = Demand::of_words(self.demand(&job).text);
        let slot = self.admission.admit(&demand, asked.priority, None, self.scheduler.now()).unwrap();
        let SegmentJob { priority, waiting_since: since, deadline, vocabulary, .. } = job;
        let order = Order::embed(vocabulary, Urgency { priority, since, deadline });
        let (number, answer) = self.send(order, demand, slot);
        self.word_answers.insert(number, answer);
        self.collect();
        number
    }

    fn demand(&self, job: &SegmentJob) -> Demand {
        let unknown = self.scheduler.text_cache.unknown_phrases(&job.vocabulary);
        let text = unknown.iter().map(text_units).sum();
        let JobImage::Pixels { facts, .. } = &job.image else { panic!("requests of tests have pixels") };
        let encode = !facts.is_some_and(|facts| self.scheduler.feature_cache.contains(&facts.key));
        Demand::of_job(job, 8, text, encode)
    }

    fn send_job(&mut self, job: SegmentJob, demand: Demand, slot: Arc<QueueSlot>) -> usize {
        let (number, answer) = self.send(Order::segment(job), demand, slot);
        self.answers.insert(number, answer);
        self.collect();
        number
    }

    fn send<T>(&mut self, order: Order<T>, demand: Demand, slot: Arc<QueueSlot>) -> (usize, Answer<T>) {
        let number = self.count;
        self.count += 1;
        let (request, answer) = order.admitted(demand, Arc::clone(&slot), Span::none());
        self.slots.insert(number, slot);
        self.scheduler.arrive(&self.stages, request);
        (number, answer)
    }

    /// The directory has answered.
    pub(super) fn was_read(&mut self, phrase: &TokenPhrase, found: Option<&[u8]>) {
        self.scheduler.was_read(&self.stages, phrase, found);
        self.collect();
    }

    /// The caller goes away.
    pub(super) fn cancel(&mut self, number: usize) {
        self.answers.remove(&number);
        self.word_answers.remove(&number);
        self.slots[&number].leave();
    }

    /// The embedding of a phrase comes from elsewhere.
    pub(super) fn deliver(&mut self, phrase: &str) {
        // Without the faults of this one.
        let embedding = FakeStages::new().0.embed_phrases(&[phrase]).unwrap()[0];
        self.scheduler
            .deliver(&self.stages, [(crate::caches::text_store::tests::phrase(phrase), embedding)].into());
        self.collect();
    }

    /// The next launch, checked against the budget and the order of the queue, and run. False if there is
    /// none.
    pub(super) fn step(&mut self) -> bool {
        let Some(mut launch) = self.scheduler.next() else {
            self.collect();
            return false;
        };
        // The budget by which it was formed: a lowered one may just have recovered.
        let requests = self.check(&mut launch, self.scheduler.budget());
        let part = matches!(launch.work, Work::Part(..));
        let whole = matches!(launch.work, Work::Whole(..));
        let background = launch.work.size().requests == 0;
        let begun = self.scheduler.now();
        let bytes: usize = match &launch.work {
            Work::Phrases(words) => words.phrases.iter().map(|phrase| phrase.text().len()).sum(),
            _ => 0,
        };
        let mut ended = launch.run(&self.stages);
        let sizes = match &mut ended.result {
            Ok(Done::Whole((tasks, submitted))) => {
                submitted.times = StageTimes::default();
                let steps = steps(tasks, submitted, Ran { begun, ended: begun });
                steps.into_iter().map(|(size, _)| size).collect()
            }
            _ => vec![ended.size],
        };
        for LaunchSize { stage, images, pairs, .. } in sizes {
            let time = self.time_of(stage, images * 100 + pairs, bytes);
            self.pass(time);
            if let Ok(Done::Whole((_, submitted))) = &mut ended.result {
                let times = &mut submitted.times;
                match stage {
                    Stage::TextEmbedding => {}
                    Stage::Encode => times.encode = time,
                    Stage::CostMap => times.cost_map = time,
                    Stage::Decode(level) => times.levels[level.index()] = time,
                    Stage::Finish => times.finish = time,
                }
            }
            let requests = requests.clone();
            self.launches.push(Launched { stage, images, pairs, time, requests, part, background, whole });
        }
        let ran = Ran { begun, ended: self.scheduler.now() };
        let Aftermath { lost, unfinished, .. } = self.scheduler.complete(&self.stages, ended, ran);
        assert_eq!(lost, None);
        let now = self.scheduler.now();
        unfinished.into_iter().for_each(|unfinished| unfinished.finish(|| now, &self.scheduler.metrics));
        self.collect();
        true
    }

    /// The time that a stage of a launch takes, for so many hundreds of a millisecond.
    fn time_of(&mut self, stage: Stage, work: usize, bytes: usize) -> Duration {
        let time = MS + Duration::from_micros(10) * work as u32 + TEXT_BYTE * bytes as u32;
        let stall = self.stall.take_if(|(stalled, _)| *stalled == stage);
        time * self.slowness + stall.map_or(Duration::ZERO, |(_, longer)| longer)
    }

    /// Steps until nothing is left.
    pub(super) fn run(&mut self) {
        let most = self.launches.len() + 100_000;
        while self.step() {
            assert!(self.launches.len() < most, "this does not end");
        }
        assert!(self.scheduler.is_empty());
        let unanswered = self.answers.len() + self.word_answers.len();
        assert_eq!(unanswered, 0, "{unanswered} requests were never answered");
    }

    /// Steps until a request waits at a station.
    pub(super) fn run_until_at(&mut self, number: usize, stage: Stage) {
        while !self.waits_at(number, stage) {
            assert!(self.step(), "request {number} never comes to {stage:?}");
        }
    }

    pub(super) fn waits_at(&self, number: usize, stage: Stage) -> bool {
        let slot = &self.slots[&number];
        self.scheduler.stations.of(stage).tickets().any(|ticket| Arc::ptr_eq(&ticket.slot, slot))
    }

    /// Launches that a request was in.
    pub(super) fn rides(&self, number: usize) -> usize {
        self.launches.iter().filter(|launch| launch.requests.contains(&number)).count()
    }

    /// Checks a launch. Returns the numbers of the requests for masks in it.
    fn check(&self, launch: &mut Launch<FakeStages>, (images, pairs): (usize, usize)) -> Vec<usize> {
        let size = launch.work.size();
        let keys: Vec<_> = match &launch.work {
            Work::Phrases(_) => {
                assert!(size.pairs <= 8);
                return Vec::new();
            }
            Work::Encode(tasks) => tasks.iter().map(|task| task.request.image_key()).collect(),
            Work::Whole(tasks) => {
                let is_bounded = size.images <= images && size.pairs <= pairs;
                assert!(is_bounded, "{} images and {} pairs", size.images, size.pairs);
                assert!(tasks.iter().all(|task| !task.request.output.score_maps));
                match size.stage {
                    Stage::Encode => tasks.iter().map(|task| task.request.image_key()).collect(),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        let is_whole = matches!(launch.work, Work::Whole(_));
        let gone = launch.work.tickets_mut();
        match size.stage {
            _ if is_whole => {}
            Stage::Encode => assert!(size.images <= images, "{} images", size.images),
            Stage::Finish => {
                let enlarged: f64 = gone.iter().map(|ticket| ticket.enlarged()).sum();
                let is_bounded = size.pairs <= pairs && enlarged <= MOST_ENLARGED;
                assert!(is_bounded || size.images == 1, "{} pairs, enlarged to {enlarged}", size.pairs);
            }
            _ => assert!(size.pairs <= pairs, "{} pairs", size.pairs),
        }
        // One that is tried again goes before everything else.
        let is_new = launch.reason.is_some();
        for left in self.scheduler.stations.of(size.stage).tickets().filter(|_| is_new) {
            for (index, gone) in gone.iter().enumerate() {
                let overtaken = left.urgency.priority == gone.urgency.priority && left.turn < gone.turn;
                let same = |key: &Option<ImageKey>| keys.iter().filter(|other| *other == key).count() > 1;
                let same_image = keys.get(index).is_some_and(|key| key.is_some() && same(key));
                assert!(!overtaken || same_image, "{gone:?} overtook {left:?}");
            }
        }
        gone.iter().map(|ticket| self.number_of(ticket)).collect()
    }

    /// The number of a request.
    fn number_of(&self, ticket: &Ticket) -> usize {
        let slot = |(_, slot): &(&usize, &Arc<QueueSlot>)| Arc::ptr_eq(slot, &ticket.slot);
        *self.slots.iter().find(slot).unwrap().0
    }

    fn collect(&mut self) {
        for (number, reply) in arrived(&mut self.answers) {
            assert!(self.results.insert(number, reply).is_none(), "request {number} was answered twice");
        }
        for (number, reply) in arrived(&mut self.word_answers) {
            match reply {
                Ok(()) => assert!(self.embedded.insert(number), "request {number} was answered twice"),
                Err(error) => assert!(self.results.insert(number, Err(error)).is_none()),
            }
        }
    }
}

/// Removes and returns the answers that have arrived.
fn arrived<T>(answers: &mut HashMap<usize, Answer<T>>) -> Vec<(usize, Result<T, EngineError>)> {
    let mut done = Vec::new();
    answers.retain(|number, answer| match answer.try_recv() {
        Ok(reply) => {
            done.push((*number, reply));
            false
        }
        Err(TryRecvError::Empty) => true,
        Err(TryRecvError::Closed) => panic!("request {number} was lost"),
    });
    done
}

/// The outcome of a request that is alone in the engine, with a budget that fits it whole.
pub(super) fn alone(asked: &Asked, number: usize) -> SegmentOutcome {
    let mut simulation = Simulation::new(Setup { images: 1, pairs: 1 << 20, image_cache: 0, ..USUAL });
    simulation.count = number;
    simulation.ask(&Asked { timeout: None, ..asked.clone() });
    simulation.run();
    simulation.results.remove(&number).unwrap().unwrap()
}
