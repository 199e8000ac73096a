//! Contrast words, synonym modes and thresholds of categories, through requests and registered vocabularies.

use sed_engine::{COMMON_WORDS, Category, Vocabulary, builtin_vocabularies, fake::FakeReader, far_from};
use sed_image::mask::{UNLABELLED, raw};
use sed_proto::{
    inference::infer_parameter::ParameterChoice,
    v1::{self, MaskEncoding, contrast::Source, mask::Content},
};
use sed_server::Settings;
use tonic::Code;

use crate::{
    harness::{Running, facts, inline, named, request, with_options},
    images,
    infer::{self, categories, client, image, parameter, texts},
};

fn category(name: &str, synonyms: &[&str]) -> v1::Category {
    v1::Category { name: name.into(), synonyms: synonyms.iter().map(ToString::to_string).collect() }
}

fn things(count: usize) -> Vec<v1::Category> {
    (0..count).map(|index| category(&format!("thing {index}"), &[])).collect()
}

fn written(names: &[&str]) -> Source {
    let categories = names.iter().map(|name| category(name, &[])).collect();
    Source::Categories(v1::CategoryList { categories })
}

fn auto() -> Source {
    Source::Automatic(v1::AutoContrast {})
}

fn contrast(source: Option<Source>) -> Option<v1::Contrast> {
    Some(v1::Contrast { source })
}

/// A request with these words, for a mask of raw indices.
fn with_words(vocabulary: v1::Vocabulary) -> v1::SegmentRequest {
    let mask_encodings = vec![MaskEncoding::Raw.into()];
    let options = v1::SegmentOptions { mask_encodings, list_rejected: true, ..Default::default() };
    v1::SegmentRequest { vocabulary: Some(vocabulary), ..with_options(1, options) }
}

fn asking(count: usize, source: Option<Source>) -> v1::SegmentRequest {
    with_words(v1::Vocabulary { contrast: contrast(source), ..inline(things(count)) })
}

fn indices(answer: &v1::SegmentResponse) -> Vec<u16> {
    let Some(Content::RawIndices(bytes)) = &answer.masks[0].content else { panic!("no indices") };
    raw::decode_u16(40, 24, bytes).unwrap().indices().to_vec()
}

fn names(answer: &v1::SegmentResponse) -> Vec<String> {
    answer.contrast.as_ref().map(|report| report.names.clone()).unwrap_or_default()
}

#[tokio::test]
async fn contrast_words_compete_and_stay_out_of_the_answer() {
    let server = Running::start(Settings::default()).await;
    let others = ["wall", "road", "sea"];
    let all = [things(6), others.map(|name| category(name, &[])).to_vec()].concat();
    let all = server.segment(with_words(inline(all))).await.unwrap();
    let found = server.segment(asking(6, Some(written(&others)))).await.unwrap();
    let taken_out = |index: &u16| if *index < 6 { *index } else { UNLABELLED };
    assert_eq!(indices(&found), indices(&all).iter().map(taken_out).collect::<Vec<u16>>());
    assert_eq!(found.categories, all.categories[..6]);
    let pixels: u64 = all.categories[6..].iter().map(|category| category.pixels).sum();
    assert_eq!(
        found.contrast,
        Some(v1::ContrastReport { names: others.map(str::to_owned).to_vec(), pixels })
    );
    assert_eq!((all.contrast, all.unlabelled_pixels, found.unlabelled_pixels), (None, 0, pixels));
    let (found, all) = (found.rejection.unwrap().levels, all.rejection.unwrap().levels);
    assert_eq!((found[0].candidates, found[0].contrast_candidates), (6, 3));
    for (level, all) in found.iter().zip(&all) {
        assert_eq!(level.candidates + level.contrast_candidates, all.candidates);
        assert_eq!(level.survivors.len() + level.contrast_survivors as usize, all.survivors.len());
        assert!(level.survivors.iter().chain(&level.rejected).all(|index| *index < 6));
    }

    let none = server.segment(asking(6, None)).await.unwrap();
    assert_eq!((none.contrast, none.unlabelled_pixels), (None, 0));
    let by_name = server.segment(asking(6, Some(Source::Name("pets".into())))).await.unwrap();
    assert_eq!(names(&by_name), ["dog", "cat", "bird"]);
}

#[tokio::test]
async fn words_that_do_not_fit_beside_each_other_are_named() {
    let limits = Settings { max_categories: 8, max_phrases: 9, ..Settings::default() };
    let server = Running::start(limits).await;
    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_string(), field.to_string());
    let list = "vocabulary.contrast.categories.categories";
    let synonyms = inline(vec![category("a", &["b", "c"]), category("d", &["e", "f", "g"])]);
    let pets = |source| with_words(v1::Vocabulary { contrast: contrast(Some(source)), ..named("pets") });
    let best = |words| with_words(v1::Vocabulary { synonym_mode: v1::SynonymMode::Best.into(), ..words });
    for (request, expected) in [
        (
            asking(2, Some(written(&["a", "Thing 1"]))),
            invalid("CATEGORY_DUPLICATE", &format!("{list}[1].name")),
        ),
        (asking(7, Some(written(&["a", "b"]))), invalid("VOCABULARY_TOO_LARGE", list)),
        (pets(written(&["sky", "CAT"])), invalid("CATEGORY_DUPLICATE", &format!("{list}[1].name"))),
        (
            asking(2, Some(Source::Name("many".into()))),
            invalid("VOCABULARY_TOO_LARGE", "vocabulary.contrast.name"),
        ),
        (
            asking(2, Some(Source::Name("planets".into()))),
            (Code::NotFound, "VOCABULARY_NOT_FOUND".into(), String::new()),
        ),
        // The list came with the server, but not as so many pairs.
        (best(named("many")), invalid("VOCABULARY_TOO_LARGE", "vocabulary.synonym_mode")),
    ] {
        let refused = server.segment(request).await.unwrap_err();
        assert_eq!(facts(&refused), expected, "{}", refused.message());
    }
    // Words of a named list that are asked for are left out of it: here all.
    assert_eq!(server.segment(pets(Source::Name("pets".into()))).await.unwrap().contrast, None);
    let answer = server.segment(best(synonyms)).await.unwrap();
    assert_eq!(answer.latency.unwrap().stages[3].batches[0].pairs, 7);
    assert_eq!(answer.rejection.unwrap().levels[0].candidates, 2);
    server.segment(with_words(named("many"))).await.unwrap();
}

#[tokio::test]
async fn the_servers_choice_leaves_out_what_is_near_and_is_told() {
    let server = Running::start(Settings::default()).await;
    let list = builtin_vocabularies().get(COMMON_WORDS).unwrap().to_vec();
    let asked = [category("thing 0", &[]), category(&list[2].name, &[])];
    let asking = || with_words(v1::Vocabulary { contrast: contrast(Some(auto())), ..inline(asked.to_vec()) });
    let before = server.control.embedded();
    let answer = server.segment(asking()).await.unwrap();
    let embedded = server.control.embedded();
    let phrases = list.iter().flat_map(Category::phrases).count();
    assert_eq!(embedded - before, phrases + 1, "one of the words asked for is on the list");

    let vocabulary = |categories: Vec<Category>| Vocabulary::built_in(categories, &FakeReader).unwrap();
    let words = vocabulary(asked.iter().map(|category| Category::new(&category.name)).collect());
    let common = server.engine.directions(&vocabulary(list.clone()), None).await.unwrap();
    let words = server.engine.directions(&words, None).await.unwrap();
    let far: Vec<String> =
        far_from(&common, &words).into_iter().map(|word| list[word].name.clone()).collect();
    assert!(far.len() > list.len() / 2 && !far.contains(&list[2].name), "{far:?}");
    assert_eq!(names(&answer), far);
    assert_eq!(answer.categories.len(), 2);

    let again = server.segment(asking()).await.unwrap();
    assert_eq!((names(&again), again.latency.unwrap().vocabulary_cache_hit), (far, true));
    assert_eq!(server.control.embedded(), embedded);

    // A word of the list is left out wherever it is asked for, also as one of many synonyms.
    let many = [category("thing 0", &["thing 1", "thing 2", &list[2].name])];
    let asking = with_words(v1::Vocabulary { contrast: contrast(Some(auto())), ..inline(many.to_vec()) });
    let chosen = names(&server.segment(asking).await.unwrap());
    assert!(!chosen.is_empty() && !chosen.contains(&list[2].name), "{chosen:?}");
}

#[tokio::test]
async fn the_servers_choice_keeps_the_limits() {
    let server = Running::start(Settings { max_categories: 5, ..Settings::default() }).await;
    let answer = server.segment(asking(3, Some(auto()))).await.unwrap();
    assert_eq!(names(&answer).len(), 2);
    let full = server.segment(asking(5, Some(auto()))).await.unwrap();
    assert_eq!(full.contrast, None);
    let large = with_words(v1::Vocabulary { contrast: contrast(Some(auto())), ..named("many") });
    assert_eq!(server.segment(large).await.unwrap().contrast, None);
}

#[tokio::test]
async fn a_registered_vocabulary_has_its_mode_and_contrast_words() {
    let server = Running::start(Settings::default()).await;
    let mut client = server.client();
    let creation = |synonym_mode: v1::SynonymMode, source: Option<Source>| v1::CreateVocabularyRequest {
        categories: Some(v1::CategoryList {
            categories: vec![category("cat", &[]), category("sky", &["heaven"])],
        }),
        synonym_mode: synonym_mode.into(),
        contrast: contrast(source),
        ..Default::default()
    };
    let (mean, best) = (v1::SynonymMode::Mean, v1::SynonymMode::Best);
    let mut seen = Vec::new();
    for (mode, source, size) in [
        (mean, None, 0),
        (best, None, 0),
        (mean, Some(written(&["wall"])), 1),
        (best, Some(written(&["wall"])), 1),
        (mean, Some(Source::Name("pets".into())), 2),
        (best, Some(auto()), 20),
    ] {
        let created = client.create_vocabulary(creation(mode, source)).await;
        let vocabulary = created.unwrap().into_inner().vocabulary.unwrap();
        assert_eq!((vocabulary.size, vocabulary.synonym_mode()), (2, mode));
        assert!(size == 20 || vocabulary.contrast_size == size, "{vocabulary:?}");
        assert_eq!(vocabulary.contrast_size == 0, size == 0);
        assert!(!seen.contains(&vocabulary.name));
        let get = v1::GetVocabularyRequest { name: vocabulary.name.clone() };
        let told = client.get_vocabulary(get).await.unwrap().into_inner().vocabulary.unwrap();
        assert_eq!((told.categories.len(), told.synonym_mode()), (2, mode));
        assert_eq!(told.contrast_size, vocabulary.contrast_size);
        let list =
            client.list_vocabularies(v1::ListVocabulariesRequest::default()).await.unwrap().into_inner();
        let listed = list.vocabularies.iter().find(|listed| listed.name == vocabulary.name).unwrap();
        assert_eq!((listed.synonym_mode(), listed.contrast_size), (mode, vocabulary.contrast_size));
        seen.push(vocabulary.name);
    }

    let usual = server.segment(with_words(named(&seen[3]))).await.unwrap();
    assert_eq!(names(&usual), ["wall"]);
    let off = with_words(v1::Vocabulary { contrast: contrast(None), ..named(&seen[3]) });
    let off = server.segment(off).await.unwrap();
    assert_eq!(
        (off.contrast.clone(), indices(&off)),
        (None, { indices(&server.segment(with_words(named(&seen[1]))).await.unwrap()) })
    );
    // Another mode keeps the contrast words.
    let other = with_words(v1::Vocabulary { synonym_mode: mean.into(), ..named(&seen[3]) });
    let other = server.segment(other).await.unwrap();
    assert_eq!(names(&other), ["wall"]);
    assert_eq!(indices(&other), indices(&server.segment(with_words(named(&seen[2]))).await.unwrap()));
}

#[tokio::test]
async fn warnings_are_about_words_that_the_request_writes_out() {
    let server = Running::start(Settings::default()).await;
    let source = Some(Source::Categories(v1::CategoryList { categories: vec![category("dog", &["hound"])] }));
    let answer =
        server.segment(with_words(v1::Vocabulary { contrast: contrast(source), ..named("pets") })).await;
    let warnings = answer.unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].field, "vocabulary.contrast.categories.categories[0].name");
    assert_eq!(
        warnings[0].message,
        "category 0 and contrast word 0 are both called `dog`; pixels of it may be left unlabelled"
    );
    let words = inline(vec![category("dog", &["hound"]), category("sky", &[])]);
    let by_name = v1::Vocabulary { contrast: contrast(Some(Source::Name("pets".into()))), ..words };
    assert_eq!(server.segment(with_words(by_name)).await.unwrap().warnings, []);
}

#[tokio::test]
async fn thresholds_of_categories_unlabel_their_pixels_alone() {
    let server = Running::start(Settings::default()).await;
    let usual = server.segment(request(4)).await.unwrap();
    let largest = usual.categories.iter().max_by_key(|category| category.pixels).unwrap();
    let index = v1::category_threshold::Category::Index(largest.index);
    let name = v1::category_threshold::Category::Name(largest.name.clone());
    for category in [index, name] {
        let category_thresholds = vec![v1::CategoryThreshold { category: Some(category), threshold: 1.0 }];
        let options = v1::SegmentOptions { category_thresholds, ..Default::default() };
        let answer = server.segment(with_options(4, options)).await.unwrap();
        assert_eq!(answer.unlabelled_pixels, largest.pixels);
        for (category, usual) in answer.categories.iter().zip(&usual.categories) {
            let expected = if usual.index == largest.index { 0 } else { usual.pixels };
            assert_eq!(category.pixels, expected, "{}", category.name);
        }
    }
    let wrong = v1::CategoryThreshold {
        category: Some(v1::category_threshold::Category::Name("Thing 1".into())),
        threshold: 0.5,
    };
    let options = v1::SegmentOptions { category_thresholds: vec![wrong], ..Default::default() };
    let refused = server.segment(with_options(4, options)).await.unwrap_err();
    let field = "options.category_thresholds[0].name".to_string();
    assert_eq!(facts(&refused), (Code::InvalidArgument, "OPTION_INVALID".into(), field));
}

#[tokio::test]
async fn the_open_inference_protocol_has_them_as_parameters() {
    let server = Running::start(Settings::default()).await;
    let text = |text: &str| ParameterChoice::StringParam(text.into());
    let inputs = [
        image(&images::png(40, 24)),
        infer::words("categories", &[2], &["thing 0", "thing 1"]),
        infer::words("synonyms", &[2, 1], &["object", ""]),
    ];
    let asking = [
        ("synonym_mode", text("best")),
        ("contrast", text("pets")),
        ("category_thresholds", text(r#"{"thing 1": 1.0}"#)),
    ];
    let answer = client(&server).model_infer(infer::with(infer::raw(&inputs), &asking)).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!(parameter(&answer, "contrast"), Some(&text("dog\ncat\nbird")));
    let words = v1::Vocabulary {
        synonym_mode: v1::SynonymMode::Best.into(),
        contrast: contrast(Some(Source::Name("pets".into()))),
        ..inline(vec![category("thing 0", &["object"]), category("thing 1", &[])])
    };
    let mut request = with_words(words);
    let threshold =
        v1::CategoryThreshold { category: Some(v1::category_threshold::Category::Index(1)), threshold: 1.0 };
    request.options.as_mut().unwrap().category_thresholds = vec![threshold];
    let segmented = server.segment(request).await.unwrap();
    assert_eq!(infer::numbers(&infer::output(&answer, "mask").2), {
        indices(&segmented).into_iter().map(u32::from).collect::<Vec<_>>()
    });
    let pixels = segmented.contrast.unwrap().pixels as i64;
    assert_eq!(parameter(&answer, "contrast_pixels"), Some(&ParameterChoice::Int64Param(pixels)));
    assert_eq!(texts(&infer::output(&answer, "names").2), ["thing 0", "thing 1"]);

    for (name, value, code) in [
        ("contrast", "planets", Code::NotFound),
        ("contrast", "", Code::InvalidArgument),
        ("category_thresholds", r#"{"thing 9": 0.5}"#, Code::InvalidArgument),
    ] {
        let request = infer::raw(&[image(&images::png(40, 24)), categories(2)]);
        let refused = client(&server).model_infer(infer::with(request, &[(name, text(value))])).await;
        let (found, _, field) = facts(&refused.unwrap_err());
        assert_eq!(found, code, "{name}");
        assert!(code == Code::NotFound || field == format!("parameters.{name}"), "{field}");
    }
}
