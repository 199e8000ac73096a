//! Scores, runners-up and margins beside the score maps that they come from.

use sed_model::{FinishedMap, UNLABELLED, f16};

use crate::compare::{interpolate, score_maps};

/// Fails unless every pixel's category, score, runner-up and margin are those of the score maps, of which all
/// are interpolated and sorted at every pixel. `map` has score maps and sureness, and no thresholds; `crop`
/// is the part of the maps that was used, `(width, height)`.
#[track_caller]
pub fn assert_sureness(map: &FinishedMap, crop: (u32, u32), what: &str) {
    let sureness = map.sureness.as_ref().expect("the test asks for sureness");
    let categories = &map.score_maps.as_ref().expect("the test asks for score maps").categories;
    let scores = score_maps(map).to_vec3::<f32>().unwrap();
    let rows_and_columns = |(width, height): (u32, u32)| (height as usize, width as usize);
    let (size, crop) = (rows_and_columns((map.width, map.height)), rows_and_columns(crop));
    for pixel in 0..size.0 * size.1 {
        let at = (pixel / size.1, pixel % size.1);
        let values: Vec<f32> = scores.iter().map(|scores| interpolate(scores, crop, size, at)).collect();
        let mut order: Vec<usize> = (0..values.len()).collect();
        // Stable: of equal scores the lowest category comes first.
        order.sort_by(|&a, &b| values[b].partial_cmp(&values[a]).unwrap());
        let category = |place: usize| order.get(place).map_or(UNLABELLED, |&map| categories[map] as u16);
        let score = |place: usize| order.get(place).map_or(0.0, |&map| values[map]);
        let found = (map.indices[pixel], sureness.runner_up[pixel]);
        assert_eq!(found, (category(0), category(1)), "{what}: best and second best at {at:?}");
        let found = (sureness.scores[pixel], sureness.margins[pixel]);
        let wanted = (f16::from_f32(score(0)), f16::from_f32(score(0) - score(1)));
        assert_eq!(found, wanted, "{what}: score and margin at {at:?}");
    }
}
