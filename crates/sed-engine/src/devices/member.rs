//! One device of an engine: the way to its thread, its queue, and its caches.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    admission::{
        Admission, QueueLimits,
        cost_model::{Demand, text_units},
        queue_slot::QueueSlot,
    },
    caches::{
        feature_cache::FeatureCache,
        text_cache::{KnownText, TextCache, TextRoom},
        text_store::{StoredPhrases, TextStoreThread},
    },
    config::EngineConfig,
    devices::{
        answer_thread::AnswerThread,
        device_thread::{DeviceThread, Line, Probes},
        inbox::{Event, Inbox},
        state::Seat,
        warm_up::WarmUp,
    },
    preparing::Assignment,
    requests::{
        error::EngineError,
        job::{JobImage, Priority, SegmentJob},
        vocabulary::Vocabulary,
    },
    scheduler::{
        Policy, Scheduler, SchedulerParts,
        budget::{Budget, SharedBudget},
        pixels::Pixels,
        task::{Answer, Order},
        ticket::Urgency,
    },
    stages::{Stages, phrases::TokenPhrase, stage::Stage},
};

/// One device of an engine, as its callers share it.
pub(crate) struct Member {
    line: Arc<Line>,
    device: String,
    map_side: usize,
    /// Phrases that one caller may have prepared.
    most_prepared: usize,
    admission: Arc<Admission>,
    budget: Arc<SharedBudget>,
    known_text: Arc<dyn KnownText>,
    /// The content of the directory of text embeddings, if there is one.
    stored_text: Option<StoredPhrases>,
    pub(crate) images: Arc<FeatureCache>,
}

/// A request that was admitted.
pub(crate) struct Pending<T> {
    leaving: Leaving,
    answer: Answer<T>,
    admitted: Instant,
    deadline: Option<Instant>,
    /// Some of its words were unknown when it was admitted.
    had_unknown_words: bool,
}

/// Why a request to a device got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its unknown words take longer than its deadline leaves, or took so long that the deadline passed.
    WordsLate,
    Other(EngineError),
}

impl Member {
    /// Starts the device's thread, which begins with a warm-up.
    pub(crate) fn start<S: Stages>(
        stages: S,
        config: &EngineConfig,
        seat: Seat,
    ) -> Result<Self, EngineError> {
        let model = stages.info();
        let limits = QueueLimits { requests: config.queue_capacity.max(1), pairs: config.queue_pairs.max(1) };
        let metrics = Arc::clone(&seat.metrics);
        let admission = Admission::new(limits, &metrics);
        let shared_budget = Arc::<SharedBudget>::default();
        let line = Arc::new(Line { inbox: Inbox::default(), seat });
        let text_cache =
            Arc::new(TextCache::new(config.text_cache_bytes, config.vocabulary_cache_bytes, &metrics));
        let images = Arc::new(FeatureCache::new(config.image_cache_bytes, &metrics));
        let store = config.text_cache_dir.as_deref().map(|folder| {
            let line = Arc::clone(&line);
            let answer = move |phrase, found| {
                // Only requests can be returned, and this is none.
                let _ = line.inbox.push(Event::WasRead { phrase, found });
            };
            TextStoreThread::start(folder, config.text_cache_dir_bytes, &model, &metrics, answer)
        });
        let store = store.transpose()?;
        let stored_text = store.as_ref().map(TextStoreThread::stored);
        let scheduler = Scheduler::new(SchedulerParts {
            policy: Policy {
                delay: config.batch_delay,
                ageing: config.ageing.max(Duration::from_millis(1)),
                text_chunk: config.text_chunk.max(1),
            },
            clock: Arc::new(Instant::now),
            budget: Budget::new(
                (config.batch_images, config.batch_pairs),
                &stages.memory(),
                Arc::clone(&shared_budget),
                Arc::clone(&metrics),
            ),
            text_cache: Arc::clone(&text_cache),
            feature_cache: Arc::clone(&images),
            store,
            admission: Arc::clone(&admission),
            metrics,
        });
        let warm_up =
            WarmUp { largest_batches: config.warm_up_largest_batches, vocabularies: config.preload.clone() };
        let probes =
            Probes { interval: config.probe_interval, most_failed: config.lost_probes, failed: 0, lost: 0 };
        let answers = AnswerThread::start(&model.device, &line.seat.metrics)?;
        DeviceThread { line: Arc::clone(&line), stages, scheduler, warm_up, probes, answers }.start()?;
        let (device, map_side, budget) = (model.device, model.map_side, shared_budget);
        Ok(Self {
            line,
            device,
            map_side,
            most_prepared: config.preparing_phrases.div_ceil(2),
            admission,
            budget,
            known_text: text_cache,
            stored_text,
            images,
        })
    }

    /// Reports whether the device accepts requests now.
    pub(crate) fn is_ready(&self) -> bool {
        self.line.seat.state().is_ready()
    }

    /// The demand of a job on this device, which may hold its words or its image already.
    pub(crate) fn demand(&self, job: &SegmentJob) -> Demand {
        let encode = match &job.image {
            JobImage::Pixels { facts, .. } => !facts.is_some_and(|facts| self.images.contains(&facts.key)),
            JobImage::Cached(_) => false,
        };
        Demand::of_job(job, self.map_side, self.unknown_text(&job.vocabulary), encode)
    }

    /// The demand of the words of a vocabulary on this device.
    pub(crate) fn demand_of_words(&self, vocabulary: &Vocabulary) -> Demand {
        Demand::of_words(self.unknown_text(vocabulary))
    }

    /// The units of the phrases of a vocabulary that are neither in memory nor in the directory.
    fn unknown_text(&self, vocabulary: &Vocabulary) -> f64 {
        let unknown = self.known_text.unknown_phrases(vocabulary);
        let missing = match &self.stored_text {
            Some(stored) => stored.missing(&unknown),
            None => unknown.iter().collect(),
        };
        missing.into_iter().map(text_units).sum()
    }

    /// The predicted seconds of what goes before a request here, and how many requests are here.
    pub(crate) fn ahead_of(&self, demand: &Demand, priority: Priority) -> (f64, usize) {
        let (ahead, present) = self.admission.ahead_of(demand, priority);
        (ahead.as_secs_f64(), present)
    }

    /// The predicted time of a request's stages behind its words.
    pub(crate) fn behind_words(&self, demand: &Demand) -> Duration {
        self.admission.predict(demand).behind_words()
    }

    /// The predicted time of the words of a request.
    pub(crate) fn words(&self, demand: &Demand) -> Duration {
        self.admission.predict(demand).of(Stage::TextEmbedding)
    }

    /// The predicted seconds of a request.
    pub(crate) fn seconds(&self, demand: &Demand) -> f64 {
        self.admission.seconds(demand)
    }

    /// Requests that wait for the device.
    pub(crate) fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    /// The largest batches now: images of the encoder's, pairs of any later stage's.
    pub(crate) fn budget(&self) -> (usize, usize) {
        self.budget.get()
    }

    /// The name of the device.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// The number of those among the `different` phrases of a vocabulary whose embeddings are in memory.
    pub(crate) fn embedded(&self, vocabulary: &Vocabulary, different: &HashSet<&TokenPhrase>) -> usize {
        self.known_text.known_phrases(vocabulary, different)
    }

    /// The room in the caches for a vocabulary with so many different phrases.
    pub(crate) fn room_for(&self, vocabulary: &Vocabulary, phrases: usize) -> TextRoom {
        self.known_text.room_for(vocabulary, phrases)
    }

    /// Reports whether a vocabulary can be prepared here if no other is.
    fn can_prepare(&self, vocabulary: &Vocabulary) -> bool {
        let phrases = vocabulary.phrases().len();
        phrases <= self.most_prepared && self.room_for(vocabulary, phrases).fits()
    }

    /// Prepares a vocabulary. A device that has ended drops the assignment, which ends its share.
    pub(crate) fn prepare(&self, assignment: Assignment) {
        drop(self.line.inbox.push(Event::Assigned(Box::new(assignment))));
    }

    /// Admits a request.
    pub(crate) fn submit<T>(&self, order: Order<T>, demand: Demand) -> Result<Pending<T>, Failure> {
        let Urgency { priority, deadline, .. } = order.urgency;
        let now = Instant::now();
        let admitted = if demand.text > 0.0 && self.can_prepare(&order.vocabulary) {
            self.admission.admit_or_prepare(&demand, priority, deadline, now)
        } else {
            self.admission.admit(&demand, priority, deadline, now)
        };
        let slot = admitted.map_err(|refused| {
            let for_words = self.admission.is_refused_for_words(&refused, &demand, priority);
            if for_words { Failure::WordsLate } else { Failure::Other(refused) }
        })?;
        let had_unknown_words = demand.text > 0.0;
        let (request, answer) = order.admitted(demand, Arc::clone(&slot), Span::current());
        let leaving = Leaving { slot, pixels: request.request.pixels(), line: Arc::clone(&self.line) };
        let arrived = self.line.inbox.push(Event::Arrived(Box::new(request)));
        arrived.map_err(|_| Failure::Other(EngineError::ShuttingDown))?;
        Ok(Pending { leaving, answer, admitted: now, deadline, had_unknown_words })
    }

    /// Closes the device to requests, and refuses those that the thread has not seen yet.
    pub(crate) fn close(&self) {
        for request in self.line.inbox.close() {
            request.fail(EngineError::ShuttingDown);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A caller that waits for an answer holds a handle of the engine, so there are no requests to return.
        drop(self.line.inbox.close());
    }
}

impl<T> Pending<T> {
    /// Waits for the answer, until the deadline. Dropping the future cancels the request.
    pub(crate) async fn wait(self) -> Result<T, Failure> {
        let Self { leaving, answer, admitted, deadline, had_unknown_words } = self;
        let reply = match deadline {
            Some(deadline) => {
                let late = |_| Ok(Err(EngineError::DeadlineExceeded));
                tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or_else(late)
            }
            None => answer.await,
        };
        // The sender is only dropped unused when the thread ends.
        reply.unwrap_or(Err(EngineError::ShuttingDown)).map_err(|error| {
            let words_were_late = || match (leaving.slot.words_at(), deadline) {
                // They took more of its time than they left.
                (Some(at), Some(end)) => {
                    end.saturating_duration_since(at) < at.saturating_duration_since(admitted)
                }
                _ => true,
            };
            if error == EngineError::DeadlineExceeded && had_unknown_words && words_were_late() {
                Failure::WordsLate
            } else {
                Failure::Other(error)
            }
        })
    }
}

/// Releases what a caller's request holds when the caller goes, at once, even while the device is busy.
struct Leaving {
    slot: Arc<QueueSlot>,
    pixels: Option<Arc<Pixels>>,
    line: Arc<Line>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // The slot goes first: a task without pixels is then known to be unwanted.
        if !self.slot.leave() {
            return;
        }
        if let Some(pixels) = &self.pixels {
            pixels.discard();
        }
        if let Some(unseen) = self.line.inbox.withdraw(&self.slot) {
            unseen.abandon(Stage::TextEmbedding, Instant::now(), &self.line.seat.metrics);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::{
        devices::{inbox::Wait, state::StateBoard},
        metrics,
        requests::{job::SegmentOutcome, vocabulary::Category},
        stages::{
            NetworkInput, OutputSpec, Rejection, Thresholds,
            fake::{FakeControl, FakeReader, FakeStages, Fault, model_info},
            input::JobInput,
        },
    };

    /// A device that encodes one image at a time, and is ready.
    async fn member() -> (Member, FakeControl) {
        let (stages, control) = FakeStages::new();
        let board = StateBoard::new(1);
        let config = EngineConfig { batch_images: Some(1), queue_capacity: 4, ..EngineConfig::default() };
        let member = Member::start(stages, &config, Seat::new(&board, 0, "cpu", &metrics::off())).unwrap();
        board.watch().wait_for(crate::devices::state::EngineState::is_ready).await.unwrap();
        (member, control)
    }

    fn submit(member: &Member) -> Pending<SegmentOutcome> {
        let side = 32;
        let job = SegmentJob {
            image: JobImage::Pixels {
                input: NetworkInput::new(side as u32, vec![0.5; side * side * 3]).into(),
                facts: None,
            },
            vocabulary: Vocabulary::built_in(vec![Category::new("object")], &FakeReader).unwrap(),
            rejection: Rejection::Off,
            output: OutputSpec {
                width: 8,
                height: 8,
                crop: None,
                thresholds: Thresholds::Same(0.0),
                score_maps: false,
                sureness: false,
            },
            waiting_since: Instant::now(),
            deadline: None,
            priority: Priority::Normal,
        };
        let demand = member.demand(&job);
        member.submit(Order::segment(job), demand).unwrap()
    }

    fn pixels(pending: &Pending<SegmentOutcome>) -> Weak<JobInput> {
        Arc::downgrade(&pending.leaving.pixels.as_ref().unwrap().get().unwrap())
    }

    async fn until_held(control: &FakeControl) {
        let control = control.clone();
        assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_cancelled_while_the_device_is_busy_is_freed_at_once() {
        let (member, control) = member().await;
        control.inject(Stage::Encode, Fault::Hold);
        control.inject(Stage::Encode, Fault::Hold);
        let running = submit(&member);
        until_held(&control).await;
        // The thread has not seen these.
        for _ in 0..100 {
            let unseen = submit(&member);
            let pixels = pixels(&unseen);
            drop(unseen);
            assert!(pixels.upgrade().is_none());
        }
        assert!(member.line.inbox.take(Wait::No).0.is_empty());
        assert_eq!(member.waiting(), 0);

        // One of these is encoded when the other waits at its station.
        let pending = [submit(&member), submit(&member)];
        control.release();
        assert!(running.wait().await.is_ok());
        until_held(&control).await;
        let [encoding, waiting] = pending;
        let weak = [pixels(&encoding), pixels(&waiting)];
        drop(waiting);
        assert!(weak[1].upgrade().is_none());
        drop(encoding);
        assert!(weak[0].upgrade().is_some(), "the encoder reads them");
        control.release();
        assert!(submit(&member).wait().await.is_ok());
        assert!(weak[0].upgrade().is_none());
    }

    fn words(first: usize) -> Vocabulary {
        let categories = (first..first + 40).map(|number| Category::new(format!("word {number}"))).collect();
        Vocabulary::built_in(categories, &FakeReader).unwrap()
    }

    #[test]
    fn words_in_the_directory_are_not_predicted_as_work() {
        let folder = tempfile::tempdir().unwrap();
        let store = TextStoreThread::start(folder.path(), 1 << 20, &model_info(), &metrics::off(), |_, _| ())
            .unwrap();
        words(0).phrases().iter().for_each(|phrase| store.write(phrase.clone(), vec![1; 8]));
        drop(store); // writes what waits

        let config =
            EngineConfig { text_cache_dir: Some(folder.path().to_owned()), ..EngineConfig::default() };
        let (stages, _control) = FakeStages::new();
        let member =
            Member::start(stages, &config, Seat::new(&StateBoard::new(1), 0, "cpu", &metrics::off()))
                .unwrap();
        let begun = Instant::now();
        while member.demand_of_words(&words(0)).text > 0.0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the directory is never listed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let ten: f64 = words(70).phrases()[..10].iter().map(text_units).sum();
        assert_eq!(member.demand_of_words(&words(10)).text, ten);
    }
}
