//! Runs of equal indices in a map.

use sed_image::IndexMap;

/// Runs of equal indices in a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) along_rows: u64,
    pub(super) along_columns: u64,
}

impl Runs {
    pub(super) fn of(map: &IndexMap) -> Self {
        let width = map.width() as usize;
        let rows = map.indices().chunks_exact(width.max(1));
        let changes = |row: &[u16]| row.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
        let along_rows = rows.clone().map(changes).sum::<u64>() + u64::from(map.height());
        let between = rows.clone().zip(rows.skip(1));
        let differ = |(upper, lower): (&[u16], &[u16])| {
            upper.iter().zip(lower).filter(|(one, other)| one != other).count() as u64
        };
        let along_columns = between.map(differ).sum::<u64>() + u64::from(map.width());
        Self { along_rows, along_columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_in_both_directions() {
        let map = IndexMap::new(3, 2, vec![1, 1, 2, 1, 3, 2]).unwrap();
        assert_eq!(Runs::of(&map), Runs { along_rows: 5, along_columns: 4 });
    }
}
