//! Batches of what waits at a station, whatever the vocabularies of its requests.
//!
//! The request that goes next decides the kind of its batch: a submission if it can go through all stages in
//! one, else a batch of the stage. In both cases the batch ends at the first request of the other kind.

use std::{collections::HashSet, sync::Arc, time::Instant};

use super::{Scheduler, text::NextPhrases};
use crate::{
    requests::image::ImageKey,
    scheduler::{
        lanes::Lanes,
        launch::Work,
        task::{Cut, Encoding, Given, MaskTask, Sliced},
        ticket::Ticket,
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
        if let Some(work) = self.form_whole(stage, now) {
            return Some(work);
        }
        let pairs = self.budget.get(Unit::Pairs);
        match stage {
            Stage::TextEmbedding => Some(Work::phrases(phrases.phrases)),
            Stage::Encode => self.form_images(now),
            Stage::CostMap => {
                let whole = self.budget.whole();
                let joins = |ticket: &Ticket| !goes_whole(ticket, whole);
                match form_pairs(&mut self.stations.cost_map, pairs, joins, now)? {
                    Batch::Whole(tasks) => Some(Work::CostMap(tasks)),
                    Batch::Large(task) => Some(Work::part(task.map(Sliced::CostMap), pairs)),
                }
            }
            Stage::Decode(level) => {
                let station = &mut self.stations.decode[level.index()];
                match form_pairs(station, pairs, |_| true, now)? {
                    Batch::Whole(tasks) => Some(Work::Decode(level, tasks)),
                    Batch::Large(task) => Some(Work::part(task.map(|cut| Sliced::Decode(level, cut)), pairs)),
                }
            }
            Stage::Finish => form_maps(&mut self.stations.finish, pairs, now).map(Work::Finish),
        }
    }

    /// A submission of what waits for the encoder or for the cost map, in order, as far as it fits the
    /// budget. Returns `None` if the next request goes stage by stage.
    fn form_whole(&mut self, stage: Stage, now: Instant) -> Option<Work<S>> {
        let admission = Arc::clone(&self.admission);
        let mut room = Room::new(self.budget.get(Unit::Images), self.budget.whole());
        let mut tasks: Vec<MaskTask<Given<S>>> = Vec::new();
        match stage {
            Stage::Encode => {
                while let Some(task) = self.stations.encode.pop_as(now, |task| {
                    let maps = admission.predict_maps(&task.ticket.demand);
                    if room.fits(&task.ticket, task.request.image_key(), maps) { Ok(task) } else { Err(task) }
                }) {
                    let Some(pixels) = task.request.pixels.get() else {
                        task.abandon(Stage::Encode, now, &self.metrics);
                        continue;
                    };
                    let maps = admission.predict_maps(&task.ticket.demand);
                    room.take(&task.ticket, task.request.image_key(), maps);
                    tasks.push(task.map(|text| Given::Pixels(Encoding { text, pixels })));
                }
            }
            Stage::CostMap => {
                while let Some(task) = self.stations.cost_map.pop_as(now, |task| {
                    let maps = admission.predict_maps(&task.ticket.demand);
                    let fits = room.fits(&task.ticket, None, maps);
                    task.whole_if(fits)
                }) {
                    room.take(&task.ticket, None, admission.predict_maps(&task.ticket.demand));
                    tasks.push(task.map(Given::Features));
                }
            }
            Stage::TextEmbedding | Stage::Decode(_) | Stage::Finish => {}
        }
        (!tasks.is_empty()).then_some(Work::Whole(tasks))
    }

    /// Reports whether a request would go through all stages in one submission.
    pub(super) fn goes_whole(&self, ticket: &Ticket) -> bool {
        goes_whole(ticket, self.budget.whole())
    }

    /// A batch for the encoder, which holds the pixels of its images.
    fn form_images(&mut self, now: Instant) -> Option<Work<S>> {
        let (budget, whole) = (self.budget.get(Unit::Images), self.budget.whole());
        let mut tasks: Vec<MaskTask<Encoding<S>>> = Vec::new();
        let (mut keys, mut images) = (HashSet::new(), 0);
        while let Some(task) = self.stations.encode.pop_as(now, |task| {
            let key = task.request.image_key();
            let same_image = key.is_some_and(|key| keys.contains(&key));
            let fits = same_image || images == 0 || images < budget;
            if fits && !goes_whole(&task.ticket, whole) { Ok(task) } else { Err(task) }
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

/// Reports whether a request goes through all stages in one submission, of at most so many pairs.
fn goes_whole(ticket: &Ticket, most: usize) -> bool {
    !ticket.one_by_one && ticket.pairs <= most
}

/// The room that is left in a submission.
struct Room {
    /// The most pairs of a submission.
    most: usize,
    images: usize,
    pairs: usize,
    /// Enlarged maps of the last stage, by prediction.
    maps: f64,
    keys: HashSet<ImageKey>,
    is_empty: bool,
}

impl Room {
    fn new(images: usize, pairs: usize) -> Self {
        let (keys, is_empty) = (HashSet::new(), true);
        Self { most: pairs, images, pairs, maps: MOST_ENLARGED, keys, is_empty }
    }

    /// Reports whether a request fits that will probably have so many maps. An image that is there already
    /// needs no room for itself.
    fn fits(&self, ticket: &Ticket, image: Option<ImageKey>, maps: f64) -> bool {
        let is_known = image.is_some_and(|key| self.keys.contains(&key));
        let has_room = (is_known || self.images > 0) && ticket.pairs <= self.pairs && maps <= self.maps;
        goes_whole(ticket, self.most) && (self.is_empty || has_room)
    }

    /// Books the room of a request.
    fn take(&mut self, ticket: &Ticket, image: Option<ImageKey>, maps: f64) {
        if image.is_none_or(|key| self.keys.insert(key)) {
            self.images = self.images.saturating_sub(1);
        }
        self.pairs = self.pairs.saturating_sub(ticket.pairs);
        self.maps -= maps;
        self.is_empty = false;
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
    joins: impl Fn(&Ticket) -> bool,
    now: Instant,
) -> Option<Batch<T, P>> {
    let first = station.pop(now)?;
    let mut pairs = first.ticket.pairs;
    let mut tasks = match first.whole_if(pairs <= budget) {
        Ok(first) => vec![first],
        Err(large) => return Some(Batch::Large(large)),
    };
    while let Some(task) = station.pop_as(now, |task| {
        let fits = pairs + least_pair(&task) <= budget && joins(&task.ticket);
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
