//! Runs of equal indices in a map, and the memory that masks take for them.

use sed_image::IndexMap;

use super::form::form_of;
use crate::{config::Settings, validate::ValidatedOptions};

/// Bytes of a run while regions are found, with the growth of its lists.
const REGION_RUN: u64 = 64;

/// Returns the bytes that the masks of `map` take for its runs. They are counted only where a form is made of
/// them.
pub(super) fn bytes_of_runs(map: &IndexMap, options: &ValidatedOptions, limits: &Settings) -> u64 {
    // The number of categories only decides between forms that are not made of runs.
    let forms = || options.mask_encodings.iter().map(|encoding| form_of(*encoding, 0));
    let regions = options.min_area > 1;
    if !regions && forms().all(|form| form.bytes_of_runs(Runs::default(), limits).is_none()) {
        return 0;
    }
    let runs = Runs::of(map);
    let of_regions = if regions { runs.along_rows * REGION_RUN } else { 0 };
    of_regions + forms().filter_map(|form| form.bytes_of_runs(runs, limits)).sum::<u64>()
}

/// Runs of equal indices in a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) along_rows: u64,
    pub(super) along_columns: u64,
}

impl Runs {
    fn of(map: &IndexMap) -> Self {
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

    fn usual() -> ValidatedOptions {
        let request = sed_proto::v1::SegmentRequest {
            image: Some(sed_proto::v1::Image {
                source: Some(sed_proto::v1::image::Source::Encoded(vec![1].into())),
            }),
            vocabulary: Some(sed_proto::v1::Vocabulary {
                source: Some(sed_proto::v1::vocabulary::Source::Name("pets".into())),
            }),
            ..Default::default()
        };
        let reader = sed_engine::fake::FakeReader;
        crate::validate_segment(&request, &Settings::default(), &reader).unwrap().options
    }

    #[test]
    fn runs_are_counted_in_both_directions() {
        let map = IndexMap::new(3, 2, vec![1, 1, 2, 1, 3, 2]).unwrap();
        let options = ValidatedOptions { min_area: 5, ..usual() };
        assert_eq!(Runs::of(&map), Runs { along_rows: 5, along_columns: 4 });
        assert_eq!(bytes_of_runs(&map, &usual(), &Settings::default()), 0);
        assert_eq!(bytes_of_runs(&map, &options, &Settings::default()), 5 * REGION_RUN);
    }
}
