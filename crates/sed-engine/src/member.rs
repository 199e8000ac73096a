//! One device of an engine: the way to its thread, its account of requests, and its caches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    admission::{Admission, Place, QueueLimits},
    budget::{Budget, SharedBudget},
    cost_model::Demand,
    device_thread::{DeviceThread, Line, Probes},
    engine::EngineConfig,
    error::EngineError,
    feature_cache::FeatureCache,
    inbox::{Event, Inbox},
    job::{JobImage, Priority, SegmentJob},
    scheduler::{Policy, Scheduler, SchedulerParts},
    stages::Stages,
    state::Seat,
    text_cache::{KnownText, TextCache},
    text_store::{StoredPhrases, TextStoreThread},
    ticket::{Reply, Request, Ticket},
    vocabulary::Vocabulary,
    warm_up::WarmUp,
};

/// What the callers share of a device.
pub(crate) struct Member {
    line: Arc<Line>,
    map_side: usize,
    admission: Arc<Admission>,
    budget: Arc<SharedBudget>,
    known_text: Arc<dyn KnownText>,
    /// The content of the directory of text embeddings, if there is one.
    stored_text: Option<StoredPhrases>,
    pub(crate) images: Arc<FeatureCache>,
}

/// When and how urgently a request wants to be done.
#[derive(Clone, Copy)]
pub(crate) struct Urgency {
    pub(crate) priority: Priority,
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// A request that was let in.
pub(crate) struct Pending {
    leaving: Leaving,
    answer: oneshot::Receiver<Reply>,
    deadline: Option<Instant>,
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
        let admission = Admission::new(limits);
        let shared_budget = Arc::<SharedBudget>::default();
        let line = Arc::new(Line { inbox: Inbox::default(), seat });
        let text_cache = Arc::new(TextCache::new(config.text_cache_bytes, config.vocabulary_cache_bytes));
        let images = Arc::new(FeatureCache::new(config.image_cache_bytes));
        let store = config.text_cache_dir.as_deref().map(|folder| {
            let line = Arc::clone(&line);
            let answer = move |phrase, found| {
                // Only requests can be given back, and this is none.
                let _ = line.inbox.push(Event::WasRead { phrase, found });
            };
            TextStoreThread::start(folder, config.text_cache_dir_bytes, &model, answer)
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
            ),
            text_cache: Arc::clone(&text_cache),
            feature_cache: Arc::clone(&images),
            store,
            admission: Arc::clone(&admission),
        });
        let warm_up =
            WarmUp { largest_batches: config.warm_up_largest_batches, vocabularies: config.preload.clone() };
        let probes =
            Probes { interval: config.probe_interval, most_failed: config.lost_probes, failed: 0, lost: 0 };
        DeviceThread { line: Arc::clone(&line), stages, scheduler, warm_up, probes }.start()?;
        let (map_side, budget) = (model.map_side, shared_budget);
        Ok(Self { line, map_side, admission, budget, known_text: text_cache, stored_text, images })
    }

    /// Whether it takes requests now.
    pub(crate) fn is_ready(&self) -> bool {
        self.line.seat.state().is_ready()
    }

    /// What a job asks of this device, which may know its words or its image already.
    pub(crate) fn demand(&self, job: &SegmentJob) -> Demand {
        let phrases = self.phrases_to_embed(&job.vocabulary);
        let encode = match &job.image {
            JobImage::Pixels { facts, .. } => !facts.is_some_and(|facts| self.images.contains(&facts.key)),
            JobImage::Cached(_) => false,
        };
        Demand::of_job(job, self.map_side, phrases, encode)
    }

    /// What the words of a vocabulary ask of this device.
    pub(crate) fn demand_of_words(&self, vocabulary: &Vocabulary) -> Demand {
        Demand::of_words(self.phrases_to_embed(vocabulary))
    }

    /// Counts the phrases of a vocabulary that are neither in memory nor in the directory.
    fn phrases_to_embed(&self, vocabulary: &Vocabulary) -> usize {
        let unknown = self.known_text.unknown_phrases(vocabulary);
        self.stored_text.as_ref().map_or(unknown.len(), |stored| stored.missing(&unknown))
    }

    /// The predicted seconds of all that is here, and how many requests that is.
    pub(crate) fn load(&self) -> (f64, usize) {
        self.admission.load()
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

    /// Lets a request in.
    pub(crate) fn submit(
        &self,
        request: Request,
        demand: Demand,
        urgency: Urgency,
    ) -> Result<Pending, EngineError> {
        let Urgency { priority, since, deadline } = urgency;
        let place = self.admission.admit(&demand, priority, deadline, Instant::now())?;
        let leaving = Leaving(Arc::clone(&place));
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let ticket = Ticket { request, demand, priority, since, deadline, place, span, reply };
        let arrived = self.line.inbox.push(Event::Arrived(Box::new(ticket)));
        arrived.map_err(|_| EngineError::ShuttingDown)?;
        Ok(Pending { leaving, answer, deadline })
    }

    /// Takes no more requests, and refuses those that the thread has not seen yet.
    pub(crate) fn close(&self) {
        for ticket in self.line.inbox.close() {
            ticket.answer(Err(EngineError::ShuttingDown));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Whoever waits for an answer holds a handle of the engine, so there are no requests to hand out.
        drop(self.line.inbox.close());
    }
}

impl Pending {
    /// Waits for the answer, until the deadline. Dropped before, the request is cancelled.
    pub(crate) async fn wait(self) -> Reply {
        let Self { leaving: _leaving, answer, deadline } = self;
        let reply = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), answer)
                .await
                .map_err(|_| EngineError::DeadlineExceeded)?,
            None => answer.await,
        };
        // The sender is only dropped unused when the thread ends.
        reply.unwrap_or(Err(EngineError::ShuttingDown))
    }
}

/// Gives the caller's place back when it goes, at once, even while the device is busy.
struct Leaving(Arc<Place>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fake::{FakeReader, FakeStages, model_info},
        state::StateBoard,
        vocabulary::Category,
    };

    fn words(first: usize) -> Vocabulary {
        let categories =
            (first..first + 40).map(|number| Category::named(format!("word {number}"))).collect();
        Vocabulary::built_in(categories, &FakeReader).unwrap()
    }

    #[test]
    fn words_in_the_directory_are_not_predicted_as_work() {
        let folder = tempfile::tempdir().unwrap();
        let store = TextStoreThread::start(folder.path(), 1 << 20, &model_info(), |_, _| ()).unwrap();
        words(0).phrases().iter().for_each(|phrase| store.write(phrase.clone(), vec![1; 8]));
        drop(store); // writes what waits

        let config =
            EngineConfig { text_cache_dir: Some(folder.path().to_owned()), ..EngineConfig::default() };
        let (stages, _control) = FakeStages::new();
        let member = Member::start(stages, &config, Seat::new(&StateBoard::new(1), 0, "cpu")).unwrap();
        let begun = Instant::now();
        while member.demand_of_words(&words(0)).phrases > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the directory is never listed");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(member.demand_of_words(&words(10)).phrases, 10);
    }
}
