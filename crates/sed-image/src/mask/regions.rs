//! Connected regions of equal index, 4-connected, found over runs of rows instead of pixels.

use super::{IndexMap, UNLABELLED};

/// A run of equal index within one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) y: u32,
    pub(crate) start: u32,
    /// One past the last column.
    pub(crate) end: u32,
    pub(crate) category: u16,
    /// Index into [`Regions::areas`].
    pub(crate) region: u32,
}

/// The regions of a map, the unlabelled ones included.
#[derive(Debug)]
pub(crate) struct Regions {
    /// All runs, row by row, left to right.
    pub(crate) runs: Vec<Run>,
    /// Pixels of each region; regions are numbered by their first run.
    pub(crate) areas: Vec<u64>,
}

impl Regions {
    /// Finds the regions of `map`: pixels belong together when they share an edge and the index.
    pub(crate) fn of(map: &IndexMap) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        // parents[i] leads from run i towards the first run of its region.
        let mut parents: Vec<u32> = Vec::new();
        let mut above = 0..0;
        for y in 0..map.height() {
            let first = runs.len();
            let mut start = 0;
            for run in map.row(y as usize).chunk_by(|a, b| a == b) {
                let end = start + run.len() as u32;
                parents.push(runs.len() as u32);
                runs.push(Run { y, start, end, category: run[0], region: 0 });
                start = end;
            }
            join_rows(&runs, above, first, &mut parents);
            above = first..runs.len();
        }
        let areas = number(&mut runs, &mut parents);
        Self { runs, areas }
    }
}

/// Joins touching runs of equal index in two neighbouring rows.
fn join_rows(runs: &[Run], above: std::ops::Range<usize>, first: usize, parents: &mut [u32]) {
    let mut upper = above.start;
    for lower in first..runs.len() {
        while upper < above.end && runs[upper].end <= runs[lower].start {
            upper += 1;
        }
        let mut touching = upper;
        while touching < above.end && runs[touching].start < runs[lower].end {
            if runs[touching].category == runs[lower].category {
                let (a, b) = (root(parents, touching as u32), root(parents, lower as u32));
                parents[a.max(b) as usize] = a.min(b);
            }
            touching += 1;
        }
    }
}

/// The first run of a run's region, shortening the way for the next question.
fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let next = parents[parents[run as usize] as usize];
        parents[run as usize] = next;
        run = next;
    }
    run
}

/// Numbers the regions in the order of their first runs and sums their areas.
fn number(runs: &mut [Run], parents: &mut [u32]) -> Vec<u64> {
    let mut areas: Vec<u64> = Vec::new();
    for i in 0..runs.len() {
        let first = root(parents, i as u32) as usize;
        // A region's first run comes before its others, so it has its number already.
        runs[i].region = if first == i {
            areas.push(0);
            areas.len() as u32 - 1
        } else {
            runs[first].region
        };
        areas[runs[i].region as usize] += u64::from(runs[i].end - runs[i].start);
    }
    areas
}

/// Makes every connected region smaller than `min_pixels` unlabelled. Regions are 4-connected. The pixels are
/// not given to a neighbour: which one would be a guess.
///
/// Returns the pixels that each category lost, by its index. Categories beyond the end lost none, and the sum
/// is the total.
pub fn remove_small_regions(map: &mut IndexMap, min_pixels: u64) -> Vec<u64> {
    let mut lost: Vec<u64> = Vec::new();
    if min_pixels <= 1 {
        return lost;
    }
    let regions = Regions::of(map);
    let width = map.width() as usize;
    for run in &regions.runs {
        if run.category != UNLABELLED && regions.areas[run.region as usize] < min_pixels {
            let row = run.y as usize * width;
            map.indices_mut()[row + run.start as usize..row + run.end as usize].fill(UNLABELLED);
            let category = usize::from(run.category);
            if category >= lost.len() {
                lost.resize(category + 1, 0);
            }
            lost[category] += u64::from(run.end - run.start);
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    /// The region of every pixel by flooding, as the plain twin.
    fn flood(map: &IndexMap) -> Vec<u64> {
        let (width, height) = (map.width() as usize, map.height() as usize);
        let mut areas = vec![0u64; width * height];
        for start in 0..width * height {
            if areas[start] > 0 {
                continue;
            }
            let (mut members, mut next) = (vec![start], 0);
            while next < members.len() {
                let (x, y) = (members[next] % width, members[next] / width);
                let neighbours = [
                    (x > 0).then(|| members[next] - 1),
                    (x + 1 < width).then(|| members[next] + 1),
                    (y > 0).then(|| members[next] - width),
                    (y + 1 < height).then(|| members[next] + width),
                ];
                for at in neighbours.into_iter().flatten() {
                    if map.indices()[at] == map.indices()[start] && !members.contains(&at) {
                        members.push(at);
                    }
                }
                next += 1;
            }
            for &at in &members {
                areas[at] = members.len() as u64;
            }
        }
        areas
    }

    proptest! {
        #[test]
        fn regions_equal_flooding(map in maps(3)) {
            let areas = flood(&map);
            let regions = Regions::of(&map);
            for run in &regions.runs {
                for x in run.start..run.end {
                    let at = (run.y * map.width() + x) as usize;
                    prop_assert_eq!(regions.areas[run.region as usize], areas[at]);
                }
            }
        }

        #[test]
        fn small_regions_become_unlabelled(map in maps(3), least in 0u64..8) {
            let areas = flood(&map);
            let mut cleaned = map.clone();
            let mut lost = remove_small_regions(&mut cleaned, least);
            lost.resize(lost.len().max(3), 0);
            let mut expected = vec![0; 3];
            for (at, &area) in areas.iter().enumerate() {
                let small = area < least && map.indices()[at] != UNLABELLED;
                if small {
                    expected[usize::from(map.indices()[at])] += 1;
                }
                prop_assert_eq!(cleaned.indices()[at], if small { UNLABELLED } else { map.indices()[at] });
            }
            prop_assert_eq!(lost, expected);
        }
    }
}
