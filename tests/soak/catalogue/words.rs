//! Vocabularies.

use sed_proto::v1;

const WORDS: [&str; 48] = [
    "dog", "cat", "horse", "tree", "house", "sky", "grass", "sand", "water", "snow", "road", "car", "bus",
    "boat", "sun", "cloud", "flower", "ball", "chair", "table", "lamp", "cup", "apple", "bread", "bridge",
    "river", "mountain", "fence", "window", "door", "shoe", "hat", "bird", "fish", "train", "plane", "rock",
    "leaf", "bench", "clock", "book", "phone", "bottle", "plate", "knife", "spoon", "carpet", "wall",
];
/// The synonyms of a category that has some.
const SYNONYMS: [&str; 4] = ["thing", "piece", "part", "kind"];

/// Built-in vocabularies and how often each is drawn. Larger ones would evict everything each time.
const BUILT_IN: [&str; 4] = ["pascal-voc-20", "pascal-voc-20", "pascal-voc-20", "pascal-context-59"];

pub(crate) fn categories(names: impl IntoIterator<Item = String>) -> v1::CategoryList {
    let category = |name| v1::Category { name, synonyms: Vec::new() };
    v1::CategoryList { categories: names.into_iter().map(category).collect() }
}

pub(crate) fn inline(list: v1::CategoryList) -> v1::Vocabulary {
    v1::Vocabulary { source: Some(v1::vocabulary::Source::Categories(list)), ..Default::default() }
}

pub(crate) fn named(name: &str) -> v1::Vocabulary {
    v1::Vocabulary { source: Some(v1::vocabulary::Source::Name(name.to_owned())), ..Default::default() }
}

/// A built-in vocabulary, or some words.
pub(super) fn draw(random: &mut fastrand::Rng) -> v1::Vocabulary {
    if random.u32(0..6) == 0 {
        return named(BUILT_IN[random.usize(..BUILT_IN.len())]);
    }
    let count = random.usize(1..24);
    let synonym_mode = random.i32(0..=v1::SynonymMode::Best as i32);
    v1::Vocabulary { synonym_mode, contrast: contrast(random), ..inline(some(random, count)) }
}

/// Mostly no contrast words.
fn contrast(random: &mut fastrand::Rng) -> Option<v1::Contrast> {
    let source = match random.u32(0..12) {
        0 => v1::contrast::Source::Automatic(v1::AutoContrast {}),
        1 => v1::contrast::Source::Categories(categories(["a wall of fog".to_owned()])),
        _ => return None,
    };
    Some(v1::Contrast { source: Some(source) })
}

/// So many known words in a row, some with a synonym.
pub(super) fn some(random: &mut fastrand::Rng, count: usize) -> v1::CategoryList {
    let first = random.usize(..WORDS.len());
    let mut list = categories((0..count).map(|offset| WORDS[(first + offset) % WORDS.len()].to_owned()));
    for category in &mut list.categories {
        if random.u32(0..8) == 0 {
            let synonym = SYNONYMS[random.usize(..SYNONYMS.len())];
            category.synonyms = vec![format!("{} {synonym}", category.name)];
        }
    }
    list
}

/// Words that nothing has asked for before, and a few known ones. `number` makes them new.
pub(crate) fn cold(random: &mut fastrand::Rng, number: u64) -> v1::CategoryList {
    let count = random.usize(1..5);
    let mut list = some(random, count);
    for part in 0..random.u32(1..4) {
        let name = format!("{} {number} {part}", WORDS[random.usize(..WORDS.len())]);
        list.categories.push(v1::Category { name, synonyms: Vec::new() });
    }
    list
}
