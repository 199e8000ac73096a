//! The fake's pairs: their scores, rejection, and the map that is made of them.

use std::sync::Arc;

use super::{INPUT_SIDE, MAP_SIDE};
use crate::stages::{
    DecodeRequest, FinishedMap, Level, NetworkInput, OutputSpec, Rejection, ScoreMaps, Sureness, UNLABELLED,
    f16,
};

/// Cells of a picture.
const CELLS: usize = MAP_SIDE * MAP_SIDE;

/// The fake's pairs of one image: its cells, its words and those that are left.
#[derive(Clone, Debug)]
pub struct FakePairs {
    cells: Arc<[u8]>,
    /// One entry for each pair of the vocabulary.
    words: Vec<u64>,
    /// The category of each pair.
    groups: Vec<u32>,
    rejection: Rejection,
    survivors: Vec<u32>,
}

impl FakePairs {
    /// All pairs of a request, less those that are rejected before level 1.
    pub(super) fn of(request: &DecodeRequest<'_, Arc<[u8]>, u64>) -> Self {
        let words = request.text.to_vec();
        let survivors: Vec<u32> = (0..words.len() as u32).collect();
        let groups = request.groups.map_or_else(|| survivors.clone(), <[u32]>::to_vec);
        let cells = Arc::clone(request.features);
        let mut image = Self { cells, words, groups, rejection: request.rejection, survivors };
        image.reject(0);
        image
    }

    /// The pairs behind a level.
    pub(super) fn decoded(mut self, level: Level) -> Self {
        if !level.is_last() {
            self.reject(level.number());
        }
        self
    }

    /// The pairs that are left, rising.
    pub(super) fn survivors(&self) -> &[u32] {
        &self.survivors
    }

    /// The score of a pair at a cell, in (0, 1).
    fn score(&self, level: u32, pair: u32, cell: usize) -> f32 {
        let seed = self.words[pair as usize] ^ (u64::from(self.cells[cell]) << 8) ^ cell as u64;
        let mixed = mix(seed ^ (u64::from(level) << 32));
        ((mixed >> 41) as f32 + 1.0) / ((1_u64 << 23) as f32 + 2.0)
    }

    /// The best pair that is left of each category at a cell, with its score, in the order of the categories.
    fn best_pairs(&self, level: u32, cell: usize) -> Vec<(u32, f32)> {
        let mut best: Vec<(u32, f32)> = Vec::new();
        for &pair in &self.survivors {
            let score = self.score(level, pair, cell);
            match best.last_mut() {
                Some(last) if self.category(last.0) == self.category(pair) => {
                    if score > last.1 {
                        *last = (pair, score);
                    }
                }
                _ => best.push((pair, score)),
            }
        }
        best
    }

    fn category(&self, pair: u32) -> u32 {
        self.groups[pair as usize]
    }

    /// Rejects all pairs but the best ones of the `top_k` best categories of every cell.
    fn reject(&mut self, level: u32) {
        let Rejection::TopK(top_k) = self.rejection else { return };
        let mut keep = vec![false; self.words.len()];
        for cell in 0..CELLS {
            let mut ranked = self.best_pairs(level, cell);
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            ranked.iter().take(top_k.get() as usize).for_each(|(pair, _)| keep[*pair as usize] = true);
        }
        self.survivors.retain(|pair| keep[*pair as usize]);
    }

    /// The map of a specification. Pixels of a category whose threshold is infinite are counted and
    /// unlabelled.
    pub(super) fn finish(&self, output: &OutputSpec) -> FinishedMap {
        let (crop_width, crop_height) = output.crop.unwrap_or((MAP_SIDE as u32, MAP_SIDE as u32));
        let cells: Vec<Cell> = (0..CELLS).map(|cell| Cell::of(self, output, cell)).collect();
        let categories = self.groups.last().map_or(0, |last| *last as usize + 1);
        let mut indices = Vec::with_capacity(output.width as usize * output.height as usize);
        let mut sureness = output.sureness.then(Sureness::default);
        let mut pixels = vec![0_u32; categories];
        let mut sums = vec![0_f64; categories];
        for y in 0..u64::from(output.height) {
            let row = y * u64::from(crop_height) / u64::from(output.height);
            for x in 0..u64::from(output.width) {
                let column = x * u64::from(crop_width) / u64::from(output.width);
                let Cell { category, score, threshold, second } =
                    cells[row as usize * MAP_SIDE + column as usize];
                let labelled = score >= threshold;
                if labelled || threshold.is_infinite() {
                    pixels[category as usize] += 1;
                    sums[category as usize] += f64::from(score);
                }
                indices.push(if labelled { category as u16 } else { UNLABELLED });
                if let Some(sureness) = &mut sureness {
                    let (runner_up, second) = second.unwrap_or((UNLABELLED.into(), 0.0));
                    sureness.scores.push(f16::from_f32(score));
                    sureness.runner_up.push(runner_up as u16);
                    sureness.margins.push(f16::from_f32(score - second));
                }
            }
        }
        let mean = |(sum, pixels): (&f64, &u32)| (sum / f64::from((*pixels).max(1))) as f32;
        FinishedMap {
            width: output.width,
            height: output.height,
            indices,
            mean_scores: sums.iter().zip(&pixels).map(mean).collect(),
            pixels,
            score_maps: output.score_maps.then(|| self.score_maps()),
            sureness,
        }
    }

    /// The scores of the categories that are left, by their best pairs.
    fn score_maps(&self) -> ScoreMaps {
        let mut categories: Vec<u32> = self.survivors.iter().map(|pair| self.category(*pair)).collect();
        categories.dedup();
        let mut scores = vec![0.0; categories.len() * CELLS];
        for cell in 0..CELLS {
            let best = self.best_pairs(3, cell).into_iter();
            best.enumerate().for_each(|(map, (_, score))| scores[map * CELLS + cell] = score);
        }
        ScoreMaps { width: MAP_SIDE as u32, height: MAP_SIDE as u32, categories, scores }
    }
}

/// The result of a cell, the same at each of its pixels.
#[derive(Clone, Copy)]
struct Cell {
    /// The best category.
    category: u32,
    score: f32,
    threshold: f32,
    /// The second best category and its score; `None` where there is none or it is a contrast word.
    second: Option<(u32, f32)>,
}

impl Cell {
    fn of(pairs: &FakePairs, output: &OutputSpec, cell: usize) -> Self {
        let mut ranked = pairs.best_pairs(3, cell);
        // Stable: of equal ones the first is the best.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let place = |place: usize| ranked.get(place).map(|(pair, score)| (pairs.category(*pair), *score));
        let (category, score) = place(0).unwrap_or((0, 0.0));
        let second = place(1).filter(|(category, _)| output.thresholds.of(*category).is_finite());
        Self { category, score, threshold: output.thresholds.of(category), second }
    }
}

/// Mean brightness of every cell, in coarse steps.
pub(super) fn brightness(input: &NetworkInput) -> Vec<u8> {
    let step = INPUT_SIDE / MAP_SIDE;
    let cell_mean = |cell: usize| {
        let (top, left) = (cell / MAP_SIDE * step, cell % MAP_SIDE * step);
        let rows = (top..top + step).flat_map(|y| {
            let start = (y * INPUT_SIDE + left) * 3;
            &input.data[start..start + step * 3]
        });
        rows.sum::<f32>() / (step * step * 3) as f32
    };
    (0..CELLS).map(|cell| (cell_mean(cell) * 2.0).round() as i32 as u8).collect()
}

pub(super) fn hash_text(seed: u64, text: &str) -> u64 {
    text.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}

pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Thresholds;

    /// Pairs of five categories, of which the second has two and the last but one is rejected.
    fn pairs() -> FakePairs {
        FakePairs {
            cells: (0..CELLS as u8).collect(),
            words: (1..7).map(|word| word * 0x1234_5678_9abc).collect(),
            groups: vec![0, 1, 1, 2, 3, 4],
            rejection: Rejection::Off,
            survivors: vec![0, 1, 2, 3, 5],
        }
    }

    fn output(thresholds: Thresholds) -> OutputSpec {
        let (width, height) = (MAP_SIDE as u32, MAP_SIDE as u32);
        OutputSpec { width, height, crop: None, thresholds, score_maps: true, sureness: true }
    }

    #[test]
    fn planes_are_those_of_the_score_maps() {
        // The category of index 2 is a contrast word.
        let thresholds = [0.5, 0.0, f32::INFINITY, 0.9, 0.8];
        let map = pairs().finish(&output(Thresholds::ByCategory(thresholds.into())));
        let (maps, sureness) = (map.score_maps.unwrap(), map.sureness.unwrap());
        assert_eq!(maps.categories, [0, 1, 2, 4]);
        let mut counted = vec![0; 5];
        for cell in 0..CELLS {
            let score = |map: usize| maps.scores[map * CELLS + cell];
            let mut order = [0, 1, 2, 3];
            order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
            let [best, second] = [order[0], order[1]].map(|map| maps.categories[map] as usize);
            let kept = score(order[0]) >= thresholds[best];
            let index = if kept { best } else { UNLABELLED.into() };
            assert_eq!(usize::from(map.indices[cell]), index);
            counted[best] += u32::from(kept || best == 2);
            let (runner_up, deducted) =
                if second == 2 { (UNLABELLED.into(), 0.0) } else { (second, score(order[1])) };
            assert_eq!(usize::from(sureness.runner_up[cell]), runner_up);
            assert_eq!(sureness.scores[cell], f16::from_f32(score(order[0])));
            assert_eq!(sureness.margins[cell], f16::from_f32(score(order[0]) - deducted));
        }
        assert_eq!(map.pixels, counted);
        assert!(counted[2] > 0 && !map.indices.contains(&2));
    }

    #[test]
    fn planes_are_made_only_when_asked() {
        let spec = OutputSpec { sureness: false, ..output(Thresholds::Same(0.3)) };
        assert_eq!(pairs().finish(&spec).sureness, None);
    }
}
