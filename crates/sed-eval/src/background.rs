//! The vocabulary of Pascal VOC with background, of which many categories count as one.
//!
//! Source: the `VOCbEvaluator` of `train_net.py` in github.com/xb534/SED at commit db20d93, which counts
//! predictions of 20 and above as 20.

use sed_client::{v1, v1::vocabulary::Source};

/// The vocabulary whose categories from [`FIRST`] on count as one, the background.
const VOCABULARY: &str = "pascal-voc-20b";
/// The index of the background in labels, and the first category of the vocabulary that is part of it.
const FIRST: u16 = 20;

/// Returns the index from which the categories of a vocabulary count as one, the background.
pub(crate) fn of(vocabulary: &v1::Vocabulary) -> Option<u16> {
    let is_one = matches!(&vocabulary.source, Some(Source::Name(name)) if name == VOCABULARY);
    is_one.then_some(FIRST)
}

#[cfg(test)]
mod tests {
    use sed_client::named;

    use super::*;
    use crate::official::DATASETS;

    #[test]
    fn only_one_vocabulary_has_a_background() {
        let names = DATASETS.iter().map(|dataset| dataset.name);
        let with: Vec<&str> = names.filter(|name| of(&named(*name)).is_some()).collect();
        assert_eq!(with, ["pascal-voc-20b"]);
        assert_eq!(of(&v1::Vocabulary::default()), None);
    }
}
