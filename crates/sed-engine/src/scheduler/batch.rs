//! Batches of what waits at a station, whatever the vocabularies of its requests.

use std::{collections::HashSet, time::Instant};

use super::{Scheduler, text::NextPhrases};
use crate::{
    scheduler::{
        lanes::Lanes,
        launch::Work,
        task::{Cut, Encoding, MaskTask, Sliced},
    },
    stages::{
        Stages,
        stage::{Stage, Unit},
    },
};

/// The most maps, each counted as often as its output is larger than it, of one launch of the last stage with
/// several requests: with outputs of 640 x 480 pixels some hundreds, but one of 60 megapixels is alone, so
/// that small ones do not wait for large ones.
pub(super) const MOST_ENLARGED: f64 = 8192.0;

impl<S: Stages> Scheduler<S> {
    /// A batch of what waits at a station, in order, as far as it fits the budget. Returns `None` if the
    /// callers of all of it have gone in the meantime.
    pub(super) fn form(&mut self, stage: Stage, phrases: NextPhrases, now: Instant) -> Option<Work<S>> {
        let pairs = self.budget.get(Unit::Pairs);
        match stage {
            Stage::TextEmbedding => Some(Work::phrases(phrases.phrases)),
            Stage::Encode => self.form_images(now),
            Stage::CostMap => match form_pairs(&mut self.stations.cost_map, pairs, now)? {
                Batch::Whole(tasks) => Some(Work::CostMap(tasks)),
                Batch::Large(task) => Some(Work::part(task.map(Sliced::CostMap), pairs)),
            },
            Stage::Decode(level) => match form_pairs(&mut self.stations.decode[level.index()], pairs, now)? {
                Batch::Whole(tasks) => Some(Work::Decode(level, tasks)),
                Batch::Large(task) => Some(Work::part(task.map(|cut| Sliced::Decode(level, cut)), pairs)),
            },
            Stage::Finish => form_maps(&mut self.stations.finish, pairs, now).map(Work::Finish),
        }
    }

    /// A batch for the encoder, which holds the pixels of its images.
    fn form_images(&mut self, now: Instant) -> Option<Work<S>> {
        let budget = self.budget.get(Unit::Images);
        let mut tasks: Vec<MaskTask<Encoding<S>>> = Vec::new();
        let (mut keys, mut images) = (HashSet::new(), 0);
        while let Some(task) = self.stations.encode.pop_as(now, |task| {
            let key = task.request.image_key();
            let same_image = key.is_some_and(|key| keys.contains(&key));
            if same_image || images == 0 || images < budget { Ok(task) } else { Err(task) }
        }) {
            let Some(pixels) = task.request.pixels.get() else {
                task.abandon(Stage::Encode, now, &self.metrics);
                continue;
            };
            let is_new = task.request.image_key().is_none_or(|key| keys.insert(key));
            images += usize::from(is_new);
            tasks.push(task.map(|text| Encoding { text, pixels }));
        }
        (!tasks.is_empty()).then_some(Work::Encode(tasks))
    }
}

/// A batch for the cost map or a decoder level.
enum Batch<T, P> {
    Whole(Vec<MaskTask<T>>),
    /// A request with more pairs than the budget, or in parts already.
    Large(MaskTask<Cut<T, P>>),
}

fn form_pairs<T, P>(
    station: &mut Lanes<MaskTask<Cut<T, P>>>,
    budget: usize,
    now: Instant,
) -> Option<Batch<T, P>> {
    let first = station.pop(now)?;
    let mut pairs = first.ticket.pairs;
    let mut tasks = match first.whole_if(pairs <= budget) {
        Ok(first) => vec![first],
        Err(large) => return Some(Batch::Large(large)),
    };
    while let Some(task) = station.pop_as(now, |task| {
        let fits = pairs + least_pair(&task) <= budget;
        task.whole_if(fits)
    }) {
        pairs += least_pair(&task);
        tasks.push(task);
    }
    Some(Batch::Whole(tasks))
}

/// A batch for the last stage. A request alone is never cut, since the stage makes nothing that grows with
/// the pairs.
fn form_maps<T>(station: &mut Lanes<MaskTask<T>>, budget: usize, now: Instant) -> Option<Vec<MaskTask<T>>> {
    let first = station.pop(now)?;
    let (mut pairs, mut enlarged) = (first.ticket.pairs, first.ticket.enlarged());
    let mut tasks = vec![first];
    while let Some(task) = station.pop_as(now, |task| {
        let larger = enlarged + task.ticket.enlarged();
        if pairs + least_pair(&task) <= budget && larger <= MOST_ENLARGED { Ok(task) } else { Err(task) }
    }) {
        pairs += least_pair(&task);
        enlarged += task.ticket.enlarged();
        tasks.push(task);
    }
    Some(tasks)
}

/// The pairs that a task adds to a batch. One without survivors counts as a pair, so that a batch can always
/// be made smaller.
fn least_pair<T>(task: &MaskTask<T>) -> usize {
    task.ticket.pairs.max(1)
}
