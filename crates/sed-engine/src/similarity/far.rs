//! The words of a list that are not near the words asked for, to be their contrast words.

use super::{directions::Directions, typical::Typical};

/// The share of the way from a typical pair to the same word from which a contrast word is too near a word
/// that is asked for. A contrast word that means the same, or more than that (bird for duck), would claim the
/// pixels that are asked for, which is worse than doing without it. Of 94 such pairs this finds 90 % with the
/// embedded model, and 93 % with a sentence embedding model; of the 64 common words it costs two on average.
const NEAR: f32 = 0.25;

/// The indices of those of the categories that `list` asks for that are not near any that `asked` asks for,
/// rising. What is near is measured by the spread of the list.
pub fn far_from(list: &Directions, asked: &Directions) -> Vec<usize> {
    let near = Typical::of(list, None).at(NEAR);
    let is_far = |&word: &usize| {
        let own = list.row(word);
        (0..asked.asked()).all(|other| Directions::between(own, asked.row(other)) < near)
    };
    (0..list.asked()).filter(is_far).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::directions::tests::random;

    #[test]
    fn words_near_an_asked_one_are_left_out() {
        let rows = random(64, 48, 5);
        let list = Directions::new(&rows, rows.len());
        let halfway: Vec<f32> = rows[7].iter().zip(&rows[8]).map(|(one, other)| one + other).collect();
        let length = halfway.iter().map(|x| x * x).sum::<f32>().sqrt();
        let halfway: Vec<f32> = halfway.into_iter().map(|x| x / length).collect();
        let asked = Directions::new(&[rows[20].clone(), halfway, rows[40].clone()], 2);
        let far = far_from(&list, &asked);
        assert!(far.is_sorted());
        for near in [7, 8, 20] {
            assert!(!far.contains(&near), "{near}: {far:?}");
        }
        assert!(far.contains(&40), "contrast words that are there already do not count");
        let threshold = Typical::of(&list, None).at(NEAR);
        let naive = |&word: &usize| {
            (0..2).all(|index| Directions::between(&rows[word], asked.row(index)) < threshold)
        };
        assert_eq!(far, (0..64).filter(naive).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_near_where_nothing_is_asked() {
        let list = Directions::new(&random(64, 48, 5), 64);
        assert_eq!(far_from(&list, &Directions::new(&[], 0)).len(), 64);
        assert_eq!(far_from(&Directions::new(&[], 0), &list), [0; 0]);
    }
}
