//! Words that are embedded for later: within a deadline, or prepared in the background.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Engine, none_left};
use crate::{
    caches::text_cache::TextRoom,
    devices::member::{Failure, Member},
    preparing::{Assignment, Plan, Preparation, PreparationState, Progress, Start},
    requests::{
        error::{EngineError, NotReady},
        job::Priority,
        vocabulary::Vocabulary,
    },
    scheduler::{task::Order, ticket::Urgency},
    similarity::Directions,
    stages::phrases::TokenPhrase,
};

/// The shortest and the longest delay after which a caller is to ask again for words that are prepared.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The delay after which to ask again where others are being prepared that leave no room.
const ROOM_IN: Duration = Duration::from_secs(10);

/// The terms of a request whose words may turn out to be late.
pub(super) struct LateWords {
    vocabulary: Vocabulary,
    /// The time that it had when it came.
    time: Duration,
    /// Predicted time of its stages behind the words.
    rest: Duration,
    caller: Option<Arc<str>>,
}

impl LateWords {
    /// Of a request that comes now.
    pub(super) fn of(
        vocabulary: &Vocabulary,
        deadline: Option<Instant>,
        rest: Duration,
        caller: Option<Arc<str>>,
    ) -> Self {
        // Words cannot be late for a request without a deadline.
        let time =
            deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        Self { vocabulary: vocabulary.clone(), time, rest, caller }
    }
}

impl Engine {
    /// Computes the text embeddings of a vocabulary on every device, so that the first picture does not wait
    /// for them.
    ///
    /// # Errors
    /// As [`Engine::segment`].
    pub async fn embed(&self, vocabulary: Vocabulary, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.embed_for(vocabulary, deadline, None).await
    }

    /// As [`Engine::embed`], for a caller with a name, which words that are prepared count for.
    ///
    /// # Errors
    /// As [`Engine::segment`].
    pub async fn embed_for(
        &self,
        vocabulary: Vocabulary,
        deadline: Option<Instant>,
        caller: Option<Arc<str>>,
    ) -> Result<(), EngineError> {
        self.check_ready()?;
        let late = LateWords::of(&vocabulary, deadline, Duration::ZERO, caller);
        self.embed_everywhere(vocabulary, deadline).await.map_err(|failure| self.explain(failure, late))
    }

    async fn embed_everywhere(
        &self,
        vocabulary: Vocabulary,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let urgency = Urgency { priority: Priority::Normal, since: Instant::now(), deadline };
        let submit = |member: &Member| {
            let demand = member.demand_of_words(&vocabulary);
            member.submit(Order::embed(vocabulary.clone(), urgency), demand)
        };
        for pending in self.working().map(submit).collect::<Result<Vec<_>, _>>()? {
            pending.wait().await?;
        }
        Ok(())
    }

    /// The directions of a vocabulary's words: one for each category, those of its contrast words behind the
    /// others. Words that no device knows are embedded on the one that has least of them to embed.
    ///
    /// # Errors
    /// As [`Engine::segment`].
    pub async fn directions(
        &self,
        vocabulary: &Vocabulary,
        deadline: Option<Instant>,
    ) -> Result<Arc<Directions>, EngineError> {
        if let Some(known) = self.shared.directions.get(vocabulary) {
            return Ok(known);
        }
        self.check_ready()?;
        let late = LateWords::of(vocabulary, deadline, Duration::ZERO, None);
        let directions = self.compute_directions(vocabulary, deadline).await;
        let directions = directions.map_err(|failure| self.explain(failure, late))?;
        self.shared.directions.keep(vocabulary, Arc::clone(&directions));
        Ok(directions)
    }

    async fn compute_directions(
        &self,
        vocabulary: &Vocabulary,
        deadline: Option<Instant>,
    ) -> Result<Arc<Directions>, Failure> {
        let rated = self.working().map(|member| (member, member.demand_of_words(vocabulary)));
        let best = rated.min_by(|(_, one), (_, other)| one.text.total_cmp(&other.text));
        let (member, demand) = best.ok_or_else(|| Failure::Other(none_left()))?;
        let urgency = Urgency { priority: Priority::Normal, since: Instant::now(), deadline };
        member.submit(Order::directions(vocabulary.clone(), urgency), demand)?.wait().await
    }

    /// Computes the text embeddings of a vocabulary on every device that works, in the background of all
    /// requests. Callers that prepare the same words share one effort. `caller` is the name that its phrases
    /// count for.
    ///
    /// # Errors
    /// The engine is not ready, or [`EngineError::VocabularyNotReady`] if the embeddings do not fit the
    /// caches, or too many phrases are being prepared.
    pub fn prepare(
        &self,
        vocabulary: &Vocabulary,
        caller: Option<Arc<str>>,
    ) -> Result<Preparation, EngineError> {
        self.check_ready()?;
        let members: Vec<&Member> = self.working().collect();
        let plan = self.plan(vocabulary, &members, caller)?;
        if plan.is_done() {
            return Ok(Preparation::of_ready(already(plan)));
        }
        let missing = plan.missing();
        let watched = self.shared.preparations.watch(vocabulary, plan, Instant::now());
        let (preparation, assignments) = watched.map_err(|why| self.no_room(vocabulary, missing, why))?;
        assign(&members, assignments);
        Ok(preparation)
    }

    /// Returns the number of different phrases of a vocabulary, and of those whose embeddings are in the
    /// memory of every device that works.
    pub fn embedded(&self, vocabulary: &Vocabulary) -> (usize, usize) {
        let different: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
        let least = self.working().map(|member| member.embedded(vocabulary, &different)).min();
        // A preparation also holds what the caches have dropped meanwhile.
        let embedded = least.unwrap_or(0).max(self.shared.preparations.embedded(vocabulary));
        (different.len(), embedded)
    }

    /// The error of a request. Words that are late are prepared.
    pub(super) fn explain(&self, failure: Failure, late: LateWords) -> EngineError {
        match failure {
            Failure::WordsLate => self.prepare_late(late).unwrap_or_else(|error| error),
            Failure::Other(error) => error,
        }
    }

    /// Has the words of a request prepared that could not be answered in time, and returns its error, which
    /// says when to ask again. Fails with the error if they cannot be prepared.
    fn prepare_late(&self, late: LateWords) -> Result<EngineError, EngineError> {
        let LateWords { vocabulary, time, rest, caller } = late;
        let members: Vec<&Member> = self.working().collect();
        let plan = self.plan(&vocabulary, &members, caller)?;
        let predicted = plan.devices.iter().filter_map(|start| start.remaining).max();
        let remaining = if plan.is_done() {
            // They came too late for the rest of the request.
            Some(Duration::ZERO)
        } else {
            let missing = plan.missing();
            let asked = self.shared.preparations.ask(&vocabulary, plan, Instant::now());
            let (progress, assignments) = asked.map_err(|why| self.no_room(&vocabulary, missing, why))?;
            assign(&members, assignments);
            progress.remaining.or(predicted)
        };
        let needed = remaining.unwrap_or_default() + rest;
        let retry_after = needed.saturating_sub(time).clamp(RETRY.0, RETRY.1);
        Ok(self.not_ready(&vocabulary, Some(retry_after), NotReady::Preparing))
    }

    /// The terms on which devices prepare a vocabulary.
    fn plan(
        &self,
        vocabulary: &Vocabulary,
        members: &[&Member],
        caller: Option<Arc<str>>,
    ) -> Result<Plan, EngineError> {
        let different: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
        let phrases = different.len();
        let mut plan = Plan { phrases, most_held: usize::MAX, devices: Vec::new(), caller };
        for member in members {
            let room = member.room_for(vocabulary, phrases);
            if !room.fits() {
                return Err(self.not_ready(vocabulary, None, too_large(&room)));
            }
            plan.most_held = plan.most_held.min(room.most_phrases);
            let remaining = member.words(&member.demand_of_words(vocabulary));
            plan.devices.push(Start {
                device: member.device().to_owned(),
                embedded: member.embedded(vocabulary, &different),
                remaining: Some(remaining).filter(|remaining| !remaining.is_zero()),
            });
        }
        if plan.devices.is_empty() { Err(none_left()) } else { Ok(plan) }
    }

    /// The refusal of words for whose preparation there is no room. There will be, unless they are more than may
    /// be prepared at all.
    fn no_room(&self, vocabulary: &Vocabulary, missing: usize, why: NotReady) -> EngineError {
        let comes = matches!(why, NotReady::TooMany { limit, .. } if missing <= limit);
        self.not_ready(vocabulary, comes.then_some(ROOM_IN), why)
    }

    fn not_ready(
        &self,
        vocabulary: &Vocabulary,
        retry_after: Option<Duration>,
        why: NotReady,
    ) -> EngineError {
        let (phrases, embedded) = self.embedded(vocabulary);
        EngineError::VocabularyNotReady { embedded, phrases, retry_after, why }
    }
}

/// The progress of a preparation that has nothing to do.
fn already(plan: Plan) -> Progress {
    let Plan { phrases, devices, .. } = plan;
    Progress {
        phrases,
        known: phrases,
        embedded: phrases,
        remaining: Some(Duration::ZERO),
        devices: devices.into_iter().map(|start| (start.device, start.embedded)).collect(),
        state: PreparationState::Ready,
    }
}

/// The refusal of a vocabulary that fits neither cache of a device.
fn too_large(room: &TextRoom) -> NotReady {
    NotReady::TooLarge {
        needed: room.phrases as u64,
        text_cache: room.phrase_capacity as u64,
        assembled: room.assembled as u64,
        vocabulary_cache: room.vocabulary_capacity as u64,
    }
}

/// Hands the assignments of a new effort to its devices.
fn assign(members: &[&Member], assignments: Vec<Assignment>) {
    members.iter().zip(assignments).for_each(|(member, assignment)| member.prepare(assignment));
}
