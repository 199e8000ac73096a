//! The different images of a batch.

use std::collections::HashMap;

use crate::{requests::image::ImageKey, scheduler::task::MaskTask};

/// For each task the number of its image among the different images, and the number of these.
pub(super) fn distinct_images<T>(tasks: &[MaskTask<T>]) -> (Vec<usize>, usize) {
    let mut numbers: HashMap<ImageKey, usize> = HashMap::new();
    let mut count = 0;
    let of_task = tasks.iter().map(|task| {
        let fresh = count;
        let number = match task.request.image_key() {
            Some(key) => *numbers.entry(key).or_insert(fresh),
            None => fresh,
        };
        count = count.max(number + 1);
        number
    });
    (of_task.collect(), count)
}

/// For each task whether no task before it has the same image.
pub(super) fn first_of_its_image<T>(tasks: &[MaskTask<T>]) -> Vec<bool> {
    let mut known = 0;
    let first = |number: usize| {
        let is_first = number == known;
        known += usize::from(is_first);
        is_first
    };
    distinct_images(tasks).0.into_iter().map(first).collect()
}
