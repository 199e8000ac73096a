use proptest::prelude::*;

use std::{collections::BTreeSet, sync::Arc};

use data_encoding::HEXLOWER;
use sed_model::{
    config::SedConfig,
    prompts::{COMMON_WORDS, builtin_vocabulary},
    tokenizer::{PhraseReader, Tokenizer},
};

use super::{
    CategoryPlace::{Asked, Contrast},
    *,
};
use crate::stages::fake::{FakeReader, ROOM};

fn vocabulary(names: &[&str]) -> Result<Vocabulary, VocabularyError> {
    checked(names.iter().copied().map(Category::new).collect())
}

fn checked(categories: Vec<Category>) -> Result<Vocabulary, VocabularyError> {
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader)
}

fn category(name: &str, synonyms: &[&str]) -> Category {
    Category { name: name.into(), synonyms: synonyms.iter().map(ToString::to_string).collect() }
}

fn clip() -> PhraseReader {
    PhraseReader::new(Arc::new(Tokenizer::new(&SedConfig::sed_b().text).unwrap()))
}

#[test]
fn keeps_order_and_text() {
    let checked = vocabulary(&["Zebra, striped", " dog", "猫"]).unwrap();
    let names: Vec<_> = checked.categories().iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["Zebra, striped", " dog", "猫"]);
}

#[test]
fn names_the_rule_and_the_place() {
    let name = |category| Asked(category).name();
    assert_eq!(vocabulary(&[]), Err(VocabularyError::Empty));
    assert_eq!(vocabulary(&["a", " \u{2003}"]), Err(VocabularyError::EmptyPhrase { phrase: name(1) }));
    assert_eq!(vocabulary(&["a\nb"]), Err(VocabularyError::ControlCharacter { phrase: name(0) }));
    assert_eq!(vocabulary(&["a", "&nbsp;"]), Err(VocabularyError::EmptyPhrase { phrase: name(1) }));
    let message = |names: &[&str]| vocabulary(names).unwrap_err().to_string();
    assert_eq!(message(&["sofa", "a", "sofa"]), "duplicate category `sofa` (entries 0 and 2); remove one");
    assert_eq!(
        message(&["traffic light", "a", " Traffic  LIGHT"]),
        "duplicate category ` Traffic  LIGHT` (entries 0 and 2), which the model reads like `traffic light`; remove one"
    );
    assert_eq!(
        vocabulary(&["é".repeat(129).as_str()]),
        Err(VocabularyError::PhraseTooLong { phrase: name(0), found: 258, limit: 256 })
    );
}

#[test]
fn the_digest_knows_words_order_and_borders() {
    let digest = |categories| checked(categories).unwrap().digest();
    let first = digest(vec![category("a", &["b"]), category("c", &[])]);
    assert_eq!(first, digest(vec![category("a", &["b"]), category("c", &[])]));
    for other in [
        vec![category("a", &[]), category("b", &["c"])],
        vec![category("c", &[]), category("a", &["b"])],
        vec![category("ab", &[]), category("c", &[])],
    ] {
        assert_ne!(first, digest(other));
    }
}

#[test]
fn synonyms_are_checked_too() {
    let limits = VocabularyLimits { synonyms: 2, phrases: 4, ..VocabularyLimits::default() };
    let category = |synonyms: &[&str]| category("dog", synonyms);
    let check = |categories| Vocabulary::new(categories, &limits, &FakeReader).map(|_| ());
    assert_eq!(check(vec![category(&["hound", "puppy"])]), Ok(()));
    let error = check(vec![category(&["hound", "Dog"])]).unwrap_err();
    let place = |synonym| Phrase { category: Asked(0), synonym };
    assert!(
        matches!(error, VocabularyError::DuplicatePhrase { first, second, .. }
            if first == place(None) && second == place(Some(1))),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "duplicate phrase `Dog` (the name of category 0 and synonym 1 of category 0), which the model reads like \
         `dog`; remove one"
    );
    assert_eq!(
        check(vec![category(&["a", "b", "c"])]),
        Err(VocabularyError::TooManySynonyms { category: Asked(0), found: 3, limit: 2 })
    );
    assert_eq!(
        check(vec![category(&["a", "b"]), Category::new("cat"), Category::new("cow")]),
        Err(VocabularyError::TooManyPhrases { found: 5, contrast: 0, limit: 4 })
    );
}

#[test]
fn no_vocabulary_outgrows_the_index_map() {
    let many: Vec<_> = (0..65_536).map(|index| Category::new(index.to_string())).collect();
    let limits =
        VocabularyLimits { categories: usize::MAX, phrases: usize::MAX, ..VocabularyLimits::default() };
    let error = VocabularyError::TooManyCategories { found: 65_536, contrast: 0, limit: 65_535 };
    assert_eq!(Vocabulary::new(many.clone(), &limits, &FakeReader), Err(error.clone()));
    assert_eq!(Vocabulary::built_in(many, &FakeReader), Err(error));
}

#[test]
fn names_of_registered_vocabularies_never_change() {
    let words = vec![category("cat", &["kitty"]), category("Sofa", &[]), category("\u{732b}", &[])];
    let digest = HEXLOWER.encode(&checked(words).unwrap().digest().0);
    assert_eq!(digest, "1d0ae0d68c56ef8195147ec3820a25a2f066a3a59d735551c4b75995f4569eae");
}

#[test]
fn phrases_belong_to_their_categories() {
    let words =
        checked(vec![category("cat", &["kitty", "puss"]), category("sofa", &[]), category("sky", &["sun"])]);
    let words = words.unwrap();
    let texts =
        |phrases: &[TokenPhrase]| phrases.iter().map(|phrase| phrase.text().to_owned()).collect::<Vec<_>>();
    let by_category = [vec!["cat", "kitty", "puss"], vec!["sofa"], vec!["sky", "sun"]];
    assert_eq!(words.phrases_by_pair().map(texts).collect::<Vec<_>>(), by_category);
    assert_eq!((words.pairs(), words.groups()), (3, None));
}

#[test]
fn the_same_name_with_other_synonyms_is_accepted_with_a_warning() {
    let words =
        checked(vec![category("bag", &["grip"]), category("sky", &[]), category("Bag", &["purse"])]).unwrap();
    let warning = VocabularyWarning::NameRepeated { first: Asked(0), second: Asked(2), name: "Bag".into() };
    assert_eq!(words.warnings(), std::slice::from_ref(&warning));
    assert_eq!(
        warning.to_string(),
        "categories 0 and 2 are both called `Bag`; only their index tells them apart"
    );
    assert_eq!(checked(vec![category("bag", &["grip"]), category("sky", &["bag"])]).unwrap().warnings(), []);
    // The order of synonyms makes no difference to their mean.
    let twice = checked(vec![category("bag", &["grip", "purse"]), category("grip", &["Purse", "bag"])]);
    assert!(
        matches!(twice, Err(VocabularyError::DuplicateCategory { first: Asked(0), second: Asked(1), .. })),
        "{twice:?}"
    );
}

#[test]
fn a_phrase_that_is_cut_is_accepted_with_a_warning() {
    let long = "x".repeat(ROOM + 1);
    let words = checked(vec![category("cat", &["kitty", &long]), category("sky", &[])]).unwrap();
    let phrase = Phrase { category: Asked(0), synonym: Some(1) };
    let warning = VocabularyWarning::PhraseCut { phrase, text: long.clone(), tokens: ROOM + 1, room: ROOM };
    assert_eq!(words.warnings(), [warning]);
    assert_eq!(vocabulary(&[&long[1..]]).unwrap().warnings(), []);
}

#[test]
fn what_clips_tokenizer_makes_equal_is_a_duplicate() {
    let clip = clip();
    let check = |names: [&str; 2]| {
        let categories = names.map(Category::new).to_vec();
        Vocabulary::new(categories, &VocabularyLimits::default(), &clip).map(|_| ())
    };
    for names in [["caf\u{e9}", "cafe\u{301}"], ["it's", "it\u{2019}s"], ["Dog", "dog"], ["a&b", "a&amp;b"]] {
        let error = check(names);
        assert!(
            matches!(
                error,
                Err(VocabularyError::DuplicateCategory { first: Asked(0), second: Asked(1), .. })
            ),
            "{names:?}"
        );
    }
    for names in [["cafe", "caf\u{e9}"], ["its", "it's"], ["dog", "dogs"]] {
        assert_eq!(check(names), Ok(()), "{names:?}");
    }
    let empty = Err(VocabularyError::EmptyPhrase { phrase: Asked(1).name() });
    assert_eq!(check(["dog", "&nbsp;"]), empty);
}

#[test]
fn official_lists_are_accepted_as_anyone_elses() {
    let clip = clip();
    let warnings = |name: &str| {
        let categories = builtin_vocabulary(name).unwrap();
        Vocabulary::new(categories, &VocabularyLimits::default(), &clip).unwrap().warnings().to_vec()
    };
    assert_eq!(warnings("ade20k-150"), []);
    assert_eq!(warnings("pascal-context-459"), []);
    assert_eq!(warnings(COMMON_WORDS), []);
    let repeated: BTreeSet<String> = warnings("ade20k-847")
        .into_iter()
        .map(|warning| match warning {
            VocabularyWarning::NameRepeated { name, .. } => name,
            other => panic!("{other}"),
        })
        .collect();
    let expected = ["bag", "basket", "control panel", "grill", "patio", "pier", "pipe", "pot", "screen"];
    assert!(repeated.iter().map(String::as_str).eq(expected), "{repeated:?}");
}

fn with(
    words: &Vocabulary,
    mode: SynonymMode,
    contrast: Vec<Category>,
) -> Result<Vocabulary, VocabularyError> {
    words.clone().with(mode, contrast, &VocabularyLimits::default(), &FakeReader)
}

#[test]
fn contrast_words_stand_behind_the_categories_and_are_checked_like_them() {
    let asked = checked(vec![category("cat", &["kitty"]), category("sky", &[])]).unwrap();
    let both = with(&asked, SynonymMode::Mean, vec![category("wall", &["fence"]), category("road", &[])]);
    let both = both.unwrap();
    assert_eq!((both.size(), both.pairs(), both.groups()), (2, 4, None));
    assert_eq!(both.categories(), asked.categories());
    assert_eq!(both.contrast(), [category("wall", &["fence"]), category("road", &[])]);
    assert_eq!(both.all_categories().len(), 4);
    let texts: Vec<_> = both.phrases().iter().map(TokenPhrase::text).collect();
    assert_eq!(texts, ["cat", "kitty", "sky", "wall", "fence", "road"]);
    assert_eq!(both.categories_of(&[0, 2, 3]), [0, 2, 3]);
    // Others take their place, and none leaves the vocabulary as it was.
    let other = with(&both, SynonymMode::Mean, vec![category("sea", &[])]).unwrap();
    assert_eq!(other, with(&asked, SynonymMode::Mean, vec![category("sea", &[])]).unwrap());
    assert_eq!(with(&both, SynonymMode::Mean, Vec::new()), Ok(asked.clone()));

    let refused = |contrast| with(&asked, SynonymMode::Mean, contrast).unwrap_err();
    let duplicate = refused(vec![category("sea", &[]), category("Kitty", &["cat"])]);
    assert_eq!(
        duplicate.to_string(),
        "duplicate category `Kitty` (category 0 and contrast word 1), which the model reads like `cat`; \
         remove one"
    );
    let twice = refused(vec![category("sea", &[]), category("sea", &[])]);
    assert_eq!(twice.to_string(), "duplicate category `sea` (contrast words 0 and 1); remove one");
    let empty = refused(vec![category("sea", &[" "])]);
    assert_eq!(
        empty.to_string(),
        "synonym 0 of contrast word 0 is empty after cleaning; give at least one word"
    );
    let named = with(&asked, SynonymMode::Mean, vec![category("sky", &["cloud"])]).unwrap();
    let warning =
        VocabularyWarning::NameRepeated { first: Asked(1), second: Contrast(0), name: "sky".into() };
    assert_eq!(named.warnings(), [warning]);
    assert_eq!(with(&named, SynonymMode::Best, Vec::new()).unwrap().warnings(), []);
}

#[test]
fn limits_count_contrast_words_and_the_phrases_of_mode_best() {
    let limits = VocabularyLimits { categories: 3, synonyms: 1, phrases: 4, phrase_bytes: 9 };
    let three = ["a", "b", "c"].map(Category::new).to_vec();
    let built_in = Vocabulary::built_in(
        (0..5).map(|index| category(&index.to_string(), &["also"])).collect(),
        &FakeReader,
    );
    let (few, many) = (Vocabulary::new(three, &limits, &FakeReader).unwrap(), built_in.unwrap());
    let with = |words: &Vocabulary, mode, contrast: Vec<Category>| {
        words.clone().with(mode, contrast, &limits, &FakeReader).map(|words| words.pairs())
    };
    let wall = || vec![category("wall", &[])];
    let error = VocabularyError::TooManyCategories { found: 4, contrast: 1, limit: 3 };
    assert_eq!(error.to_string(), "4 categories (1 of them for contrast words) are more than the limit of 3");
    assert_eq!(with(&few, SynonymMode::Mean, wall()), Err(error));
    // A list that came with the program may be above the limits, but not with more.
    assert_eq!(with(&many, SynonymMode::Mean, Vec::new()), Ok(5));
    let error = VocabularyError::TooManyPhrases { found: 10, contrast: 0, limit: 4 };
    assert_eq!(with(&many, SynonymMode::Best, Vec::new()), Err(error));
    assert!(matches!(
        with(&many, SynonymMode::Mean, wall()),
        Err(VocabularyError::TooManyCategories { found: 6, .. })
    ));
    let two = vec![category("a", &["x"]), category("b", &[])];
    let two = Vocabulary::new(two, &limits, &FakeReader).unwrap();
    assert_eq!(with(&two, SynonymMode::Best, wall()), Ok(4));
    let error = VocabularyError::TooManyPhrases { found: 5, contrast: 2, limit: 4 };
    assert_eq!(with(&two, SynonymMode::Best, vec![category("wall", &["fence"])]), Err(error));
    let error = VocabularyError::TooManySynonyms { category: Contrast(0), found: 2, limit: 1 };
    assert_eq!(with(&two, SynonymMode::Mean, vec![category("wall", &["fence", "hedge"])]), Err(error));
}

#[test]
fn in_mode_best_every_phrase_is_a_pair() {
    let asked = checked(vec![category("cat", &["kitty", "puss"]), category("sky", &[])]).unwrap();
    let best = with(&asked, SynonymMode::Best, vec![category("wall", &["fence"])]).unwrap();
    assert_eq!((best.size(), best.pairs()), (2, 6));
    assert_eq!(best.groups(), Some([0, 0, 0, 1, 2, 2].as_slice()));
    let pairs: Vec<Vec<&str>> =
        best.phrases_by_pair().map(|phrases| phrases.iter().map(TokenPhrase::text).collect()).collect();
    assert_eq!(pairs, ["cat", "kitty", "puss", "sky", "wall", "fence"].map(|text| vec![text]));
    assert_eq!(best.categories_of(&[1, 2, 4, 5]), [0, 2]);
    // Without synonyms there is nothing to choose the best of.
    let alone = with(&vocabulary(&["cat", "sky"]).unwrap(), SynonymMode::Best, Vec::new()).unwrap();
    assert_eq!((alone.pairs(), alone.groups(), alone.synonym_mode()), (2, None, SynonymMode::Best));
}

#[test]
fn the_digest_knows_the_mode_and_the_contrast_words() {
    let words = |categories| checked(categories).unwrap();
    let asked = words(vec![category("a", &["b"]), category("c", &[])]);
    let mut digests = vec![
        asked.digest(),
        words(vec![category("a", &["b"]), category("c", &[]), category("d", &[])]).digest(),
    ];
    for mode in [SynonymMode::Mean, SynonymMode::Best] {
        for contrast in [vec![], vec![category("d", &[])], vec![category("d", &["e"])]] {
            let usual = mode == SynonymMode::Mean && contrast.is_empty();
            let digest = with(&asked, mode, contrast.clone()).unwrap().digest();
            assert_eq!(digest, with(&asked, mode, contrast).unwrap().digest());
            if !usual {
                assert!(!digests.contains(&digest));
                digests.push(digest);
            }
        }
    }
    assert_eq!(digests.len(), 7);
}

proptest! {
    /// Categories out of few spellings of few words, so that many are equal to the model.
    #[test]
    fn exactly_the_lists_with_equal_sets_of_tokens_are_refused(
        lists in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec!["cat", "CAT", " cat ", "caf\u{e9}", "cafe\u{301}", "dog", "sea  lion", "Sea lion"]),
                1..4,
            ),
            1..5,
        )
    ) {
        let categories: Vec<_> = lists.iter().map(|phrases| category(phrases[0], &phrases[1..])).collect();
        let ids = |phrase: &&str| FakeReader.read(phrase).ids;
        let sets: Vec<BTreeSet<Vec<u32>>> = lists.iter().map(|phrases| phrases.iter().map(ids).collect()).collect();
        let all_differ = sets.iter().collect::<BTreeSet<_>>().len() == sets.len();
        let none_twice = lists.iter().zip(&sets).all(|(phrases, set)| phrases.len() == set.len());
        match checked(categories) {
            Ok(accepted) => {
                prop_assert!(all_differ && none_twice);
                prop_assert_eq!(accepted.size(), lists.len());
            }
            Err(VocabularyError::DuplicateCategory { first, second, .. }) => {
                let (Asked(first), Asked(second)) = (first, second) else {
                    panic!("there are no contrast words")
                };
                prop_assert!(first < second && sets[first] == sets[second]);
            }
            Err(VocabularyError::DuplicatePhrase { first, second, .. }) => {
                let text = |place: Phrase| {
                    let Asked(category) = place.category else { panic!("there are no contrast words") };
                    lists[category][place.synonym.map_or(0, |synonym| synonym + 1)]
                };
                prop_assert!(first != second && ids(&text(first)) == ids(&text(second)));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn what_is_accepted_keeps_every_rule(
        categories in prop::collection::vec((".{0,6}", prop::collection::vec("[ab\u{0}-\u{20}]{0,3}", 0..4)), 0..6)
    ) {
        let limits = VocabularyLimits { categories: 4, synonyms: 2, phrases: 6, phrase_bytes: 8 };
        let categories: Vec<_> =
            categories.into_iter().map(|(name, synonyms)| Category { name, synonyms }).collect();
        if let Ok(accepted) = Vocabulary::new(categories.clone(), &limits, &FakeReader) {
            prop_assert_eq!(accepted.categories(), categories.as_slice());
            prop_assert!((1..=4).contains(&accepted.size()));
            let phrases: Vec<_> = accepted.categories().iter().flat_map(Category::phrases).collect();
            prop_assert!(phrases.len() <= 6);
            prop_assert!(phrases.iter().all(|text| text.len() <= 8 && !text.trim().is_empty()));
            prop_assert!(!phrases.iter().any(|text| text.contains(char::is_control)));
        }
    }
}
