//! The stations where requests wait, one for each stage, each with the tasks that its stage works on.

use std::time::{Duration, Instant};

use crate::{
    scheduler::{
        lanes::{Lanes, Waits as _},
        launch::Work,
        task::{Arrival, Cut, CutImage, CutPairs, Given, MaskTask, Request, Sliced, Task, Texts, WordTask},
        ticket::Ticket,
    },
    stages::{Level, Stages, stage::Stage},
};

/// All stations.
pub(super) struct Stations<S: Stages> {
    pub(super) words: Lanes<WordTask<S>>,
    pub(super) encode: Lanes<MaskTask<Texts<S>>>,
    pub(super) cost_map: Lanes<MaskTask<CutImage<S>>>,
    pub(super) decode: [Lanes<MaskTask<CutPairs<S>>>; Level::COUNT],
    pub(super) finish: Lanes<MaskTask<S::Pairs>>,
}

/// A station, whatever its stage needs of the tasks.
pub(super) trait Station {
    /// The tickets of all its tasks, in no particular order of priority.
    fn tickets(&self) -> Box<dyn Iterator<Item = &Ticket> + '_>;

    /// The rank of the task that goes next; `None` without tasks.
    fn head_rank(&self, now: Instant) -> Option<f64>;

    /// Removes the tasks for which `chosen` holds.
    fn remove(&mut self, chosen: &dyn Fn(&Ticket) -> bool) -> Vec<Arrival>;
}

impl<R: Into<Request>, T> Station for Lanes<Task<R, T>> {
    fn tickets(&self) -> Box<dyn Iterator<Item = &Ticket> + '_> {
        Box::new(self.iter().map(|task| &*task.ticket))
    }

    fn head_rank(&self, now: Instant) -> Option<f64> {
        self.head(now).map(|head| self.rank_of(head.priority(), head.since(), now))
    }

    fn remove(&mut self, chosen: &dyn Fn(&Ticket) -> bool) -> Vec<Arrival> {
        self.take(|task| chosen(&task.ticket)).into_iter().map(Task::into_arrival).collect()
    }
}

/// Puts a task where it waits for a stage.
pub(super) fn enter<R, T>(station: &mut Lanes<Task<R, T>>, mut task: Task<R, T>, now: Instant) {
    task.ticket.entered = now;
    station.push(task);
}

impl<S: Stages> Stations<S> {
    pub(super) fn new(ageing: Duration) -> Self {
        Self {
            words: Lanes::new(ageing),
            encode: Lanes::new(ageing),
            cost_map: Lanes::new(ageing),
            decode: std::array::from_fn(|_| Lanes::new(ageing)),
            finish: Lanes::new(ageing),
        }
    }

    /// The station of a stage.
    pub(super) fn of(&self, stage: Stage) -> &dyn Station {
        match stage {
            Stage::TextEmbedding => &self.words,
            Stage::Encode => &self.encode,
            Stage::CostMap => &self.cost_map,
            Stage::Decode(level) => &self.decode[level.index()],
            Stage::Finish => &self.finish,
        }
    }

    /// The station of a stage, to change.
    pub(super) fn of_mut(&mut self, stage: Stage) -> &mut dyn Station {
        match stage {
            Stage::TextEmbedding => &mut self.words,
            Stage::Encode => &mut self.encode,
            Stage::CostMap => &mut self.cost_map,
            Stage::Decode(level) => &mut self.decode[level.index()],
            Stage::Finish => &mut self.finish,
        }
    }

    /// Puts the requests of a launch back where they waited for it.
    pub(super) fn put_back(&mut self, work: Work<S>, now: Instant) {
        match work {
            Work::Phrases(words) => words.tasks.into_iter().for_each(|task| self.words.push(task)),
            Work::Encode(tasks) => tasks
                .into_iter()
                .for_each(|task| enter(&mut self.encode, task.map(|encoding| encoding.text), now)),
            Work::CostMap(tasks) => {
                tasks.into_iter().for_each(|task| enter(&mut self.cost_map, task.map(Cut::Whole), now));
            }
            Work::Decode(level, tasks) => {
                let station = &mut self.decode[level.index()];
                tasks.into_iter().for_each(|task| enter(station, task.map(Cut::Whole), now));
            }
            Work::Finish(tasks) => tasks.into_iter().for_each(|task| enter(&mut self.finish, task, now)),
            Work::Whole(tasks) => {
                for Task { ticket, request, state } in tasks {
                    match state {
                        Given::Pixels(encoding) => {
                            enter(&mut self.encode, Task { ticket, request, state: encoding.text }, now);
                        }
                        Given::Features(image) => {
                            let state = Cut::Whole(image);
                            enter(&mut self.cost_map, Task { ticket, request, state }, now);
                        }
                    }
                }
            }
            Work::Part(part) => {
                let Task { ticket, request, state } = *part.task;
                match state {
                    Sliced::CostMap(state) => enter(&mut self.cost_map, Task { ticket, request, state }, now),
                    Sliced::Decode(level, state) => {
                        enter(&mut self.decode[level.index()], Task { ticket, request, state }, now);
                    }
                }
            }
        }
    }
}
