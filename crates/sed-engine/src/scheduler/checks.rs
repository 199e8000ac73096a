//! Checks of what the stages return, since later code indexes by it.

use crate::stages::{FinishedMap, Level, OutputSpec, StageError, Sureness};

/// Checks that there is a result for every input.
pub(super) fn counted<T>(results: Vec<T>, expected: usize) -> Result<Vec<T>, StageError> {
    if results.len() == expected {
        Ok(results)
    } else {
        Err(StageError::Failed(format!("gave {} results for {expected} inputs", results.len())))
    }
}

/// Checks the pairs that entered the levels, of so many in all.
pub(super) fn check_survivors(survivors: &[Vec<u32>; Level::COUNT], all: usize) -> Result<(), StageError> {
    let are_rising = survivors.iter().all(|level| level.is_sorted_by(|a, b| a < b));
    let are_pairs = survivors.iter().filter_map(|level| level.last()).all(|last| (*last as usize) < all);
    if are_rising && are_pairs {
        Ok(())
    } else {
        Err(StageError::Failed(format!("gave survivors that are not among {all} pairs, rising")))
    }
}

/// Checks the sizes of the model's map, planes and counts, since later code indexes by them and subtracts the
/// counts.
pub(super) fn check_map(map: &FinishedMap, output: &OutputSpec, categories: usize) -> Result<(), StageError> {
    let area = map.width as usize * map.height as usize;
    let planes_fit = map.sureness.as_ref().map_or(!output.sureness, |sureness| {
        let Sureness { scores, runner_up, margins } = sureness;
        output.sureness && [scores.len(), runner_up.len(), margins.len()] == [area; 3]
    });
    let sizes_fit = (map.width, map.height) == (output.width, output.height)
        && planes_fit
        && map.indices.len() == area
        && map.pixels.len() == categories
        && map.mean_scores.len() == categories;
    if !sizes_fit {
        return Err(StageError::Failed("gave a map of another size than asked for".into()));
    }
    let counted: u64 = map.pixels.iter().copied().map(u64::from).sum();
    if counted > area as u64 {
        return Err(StageError::Failed(format!("counted {counted} pixels in a map of {area}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_rise_and_are_pairs() {
        let check = |level: &[u32]| check_survivors(&[vec![0, 1, 3], level.to_vec(), Vec::new()], 4).is_ok();
        assert!(check(&[1, 3]) && check(&[]));
        assert!(!check(&[1, 4]) && !check(&[1, 1]) && !check(&[3, 1]));
    }
}
