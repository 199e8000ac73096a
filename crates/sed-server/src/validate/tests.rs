use proptest::prelude::*;
use prost::Message;

use sed_engine::{Category, SynonymMode, fake::FakeReader};
use sed_proto::v1::{contrast, vocabulary};

use super::*;

fn good() -> v1::SegmentRequest {
    let categories = ["dog", "grass"].map(|name| v1::Category { name: name.into(), synonyms: Vec::new() });
    v1::SegmentRequest {
        image: Some(v1::Image { source: Some(image::Source::Encoded(Bytes::from_static(b"not looked at"))) }),
        vocabulary: Some(v1::Vocabulary {
            source: Some(vocabulary::Source::Categories(v1::CategoryList {
                categories: categories.to_vec(),
            })),
            ..Default::default()
        }),
        options: None,
        request_id: String::new(),
    }
}

fn with_options(options: v1::SegmentOptions) -> v1::SegmentRequest {
    v1::SegmentRequest { options: Some(options), ..good() }
}

/// The options of a request without any.
pub(crate) fn usual() -> ValidatedOptions {
    validate_segment(&good(), &Settings::default(), &FakeReader).unwrap().options
}

fn refusal(request: &v1::SegmentRequest) -> (ErrorReason, String) {
    let error = validate_segment(request, &Settings::default(), &FakeReader).unwrap_err();
    (error.reason, error.field.to_string())
}

#[test]
fn a_request_without_options_gets_the_usual_ones() {
    let expected = ValidatedOptions {
        rejection: None,
        score_threshold: 0.0,
        category_thresholds: Vec::new(),
        output_size: OutputSize::Original,
        resize_mode: ResizeMode::Direct,
        mask_encodings: vec![MaskEncoding::IndexPng],
        min_area: 0,
        polygon_tolerance: 1.0,
        overlay: None,
        priority: Priority::Normal,
        list_rejected: false,
        report_ambiguities: false,
        raw_runner_up: false,
    };
    assert_eq!(usual(), expected);
}

#[test]
fn zero_is_a_value_and_not_an_absence() {
    let options = v1::SegmentOptions {
        top_k: Some(0),
        polygon_tolerance: Some(0.0),
        overlay: Some(v1::Overlay { opacity: Some(0.0), ..Default::default() }),
        ..Default::default()
    };
    let valid = validate_segment(&with_options(options), &Settings::default(), &FakeReader).unwrap().options;
    assert_eq!((valid.rejection, valid.polygon_tolerance), (Some(Rejection::Off), 0.0));
    let painted = OverlayOptions { opacity: Some(0.0), legend: true, labels: true, fade_unsure: false };
    assert_eq!(valid.overlay, Some(painted));
}

#[test]
fn sureness_is_shown_where_it_is_asked_for() {
    let options = v1::SegmentOptions {
        mask_encodings: vec![MaskEncoding::ScorePng.into(), MaskEncoding::MarginRaw.into()],
        overlay: Some(v1::Overlay { fade_unsure: true, ..Default::default() }),
        report_ambiguities: true,
        ..Default::default()
    };
    let valid = validate_segment(&with_options(options), &Settings::default(), &FakeReader).unwrap().options;
    assert_eq!(valid.mask_encodings, [MaskEncoding::ScorePng, MaskEncoding::MarginRaw]);
    assert!(valid.overlay.is_some_and(|overlay| overlay.fade_unsure) && valid.report_ambiguities);
    assert!(!valid.raw_runner_up);
}

#[test]
fn an_empty_message_misses_its_image() {
    assert_eq!(refusal(&v1::SegmentRequest::default()), (ErrorReason::FieldMissing, "image.source".into()));
}

#[test]
fn an_image_can_be_meant_by_its_id() {
    let by_id = |id: &str, options| {
        let image = Some(v1::Image { source: Some(image::Source::Id(id.into())) });
        validate_segment(
            &v1::SegmentRequest { image, ..with_options(options) },
            &Settings::default(),
            &FakeReader,
        )
    };
    let id = format!("img-{}", "0a".repeat(32));
    let valid = by_id(&id, v1::SegmentOptions::default()).unwrap();
    assert_eq!(valid.image, ImageSource::Id(ImageKey([10; 32])));

    let refusal = |id: &str, options| {
        by_id(id, options).map(|_| ()).map_err(|error| (error.reason, error.field.to_string()))
    };
    let invalid = |field: &str| Err((ErrorReason::OptionInvalid, field.to_string()));
    for wrong in ["", "img-", &id[4..], &id.to_uppercase(), &format!("{id} ")] {
        assert_eq!(refusal(wrong, v1::SegmentOptions::default()), invalid("image.id"), "{wrong}");
    }
    let overlay = v1::SegmentOptions { overlay: Some(v1::Overlay::default()), ..Default::default() };
    assert_eq!(refusal(&id, overlay), invalid("options.overlay"));
}

#[test]
fn words_to_register_are_checked_like_others() {
    let create = |names: Option<&[&str]>| {
        let category = |name: &&str| v1::Category { name: (*name).into(), synonyms: Vec::new() };
        let list = names.map(|names| v1::CategoryList { categories: names.iter().map(category).collect() });
        let request = v1::CreateVocabularyRequest { categories: list, embed: false, ..Default::default() };
        validate_create_vocabulary(&request, &Settings::default(), &FakeReader)
    };
    let VocabularySource::Inline(words) = create(Some(&["dog", "cat"])).unwrap().source else {
        panic!("no words")
    };
    assert_eq!(words.size(), 2);
    let refusal = |names| create(names).map(|_| ()).map_err(|error| (error.reason, error.field.to_string()));
    assert_eq!(refusal(None), Err((ErrorReason::FieldMissing, "categories".into())));
    assert_eq!(refusal(Some(&[])), Err((ErrorReason::VocabularyEmpty, "categories.categories".into())));
    let field = "categories.categories[1].name".to_string();
    assert_eq!(refusal(Some(&["dog", ""])), Err((ErrorReason::CategoryNameInvalid, field)));
}

fn category(name: &str, synonyms: &[&str]) -> v1::Category {
    v1::Category { name: name.into(), synonyms: synonyms.iter().map(ToString::to_string).collect() }
}

fn list(categories: &[v1::Category]) -> v1::CategoryList {
    v1::CategoryList { categories: categories.to_vec() }
}

/// Two written categories with contrast words of this source.
fn with_contrast(source: Option<contrast::Source>) -> v1::SegmentRequest {
    let mut request = good();
    if let Some(words) = &mut request.vocabulary {
        words.contrast = Some(v1::Contrast { source });
    }
    request
}

fn words(request: &v1::SegmentRequest) -> ValidatedWords {
    validate_segment(request, &Settings::default(), &FakeReader).unwrap().words
}

#[test]
fn words_that_are_written_out_are_complete() {
    let written = list(&[category("wall", &["fence"]), category("road", &[])]);
    let mut request = with_contrast(Some(contrast::Source::Categories(written)));
    request.vocabulary.as_mut().unwrap().synonym_mode = v1::SynonymMode::Best.into();
    let words = words(&request);
    assert_eq!((words.synonym_mode, &words.contrast), (None, &ContrastSource::Vocabulary));
    let VocabularySource::Inline(vocabulary) = words.source else { panic!("no words") };
    assert_eq!((vocabulary.size(), vocabulary.pairs()), (2, 5));
    assert_eq!(vocabulary.synonym_mode(), SynonymMode::Best);
    assert_eq!(vocabulary.contrast()[1], Category::new("road"));
}

#[test]
fn what_is_to_be_found_is_left_open() {
    let contrast = |source| words(&with_contrast(source)).contrast;
    assert_eq!(contrast(None), ContrastSource::Vocabulary);
    assert_eq!(contrast(Some(contrast::Source::Automatic(v1::AutoContrast {}))), ContrastSource::Auto);
    let name = contrast::Source::Name("pets".into());
    assert_eq!(contrast(Some(name)), ContrastSource::Named("pets".into()));

    let mut request = with_contrast(None);
    let vocabulary = request.vocabulary.as_mut().unwrap();
    vocabulary.source = Some(vocabulary::Source::Name("pets".into()));
    assert_eq!(words(&request).contrast, ContrastSource::Off);
    let written = Some(contrast::Source::Categories(list(&[category("wall", &[])])));
    request.vocabulary.as_mut().unwrap().contrast = Some(v1::Contrast { source: written });
    request.vocabulary.as_mut().unwrap().synonym_mode = v1::SynonymMode::Mean.into();
    let found = words(&request);
    assert_eq!(found.synonym_mode, Some(SynonymMode::Mean));
    assert_eq!(found.contrast, ContrastSource::Inline(vec![Category::new("wall")]));
    request.vocabulary.as_mut().unwrap().contrast = None;
    assert_eq!(words(&request).contrast, ContrastSource::Vocabulary);
}

#[test]
fn contrast_words_are_checked_like_others() {
    let refused = |categories: &[v1::Category]| {
        refusal(&with_contrast(Some(contrast::Source::Categories(list(categories)))))
    };
    let at = |path: &str| format!("vocabulary.contrast.categories.categories{path}");
    assert_eq!(refused(&[]), (ErrorReason::VocabularyEmpty, at("")));
    assert_eq!(refused(&[category("a", &[""])]), (ErrorReason::CategoryNameInvalid, at("[0].synonyms[0]")));
    let duplicate = (ErrorReason::CategoryDuplicate, at("[1].name"));
    assert_eq!(refused(&[category("a", &[]), category("Grass", &[])]), duplicate);
    assert_eq!(refused(&[category("a", &[]), category("A", &[])]), duplicate);
    let many: Vec<_> = (0..1023).map(|index| category(&index.to_string(), &[])).collect();
    assert_eq!(refused(&many), (ErrorReason::VocabularyTooLarge, at("")));
    assert_eq!(refused(&[category("a", &["x"; 17])]), (ErrorReason::VocabularyTooLarge, at("[0].synonyms")));
    let name = |name: &str| refusal(&with_contrast(Some(contrast::Source::Name(name.into()))));
    assert_eq!(name(""), (ErrorReason::FieldMissing, "vocabulary.contrast.name".into()));
    assert_eq!(name(&"x".repeat(257)), (ErrorReason::OptionInvalid, "vocabulary.contrast.name".into()));
    let mut mode = good();
    mode.vocabulary.as_mut().unwrap().synonym_mode = 9;
    assert_eq!(refusal(&mode), (ErrorReason::OptionInvalid, "vocabulary.synonym_mode".into()));

    let create = |contrast, synonym_mode| {
        let contrast = Some(v1::Contrast { source: Some(contrast) });
        let categories = Some(list(&[category("dog", &[])]));
        let request =
            v1::CreateVocabularyRequest { categories, synonym_mode, contrast, ..Default::default() };
        let refused = validate_create_vocabulary(&request, &Settings::default(), &FakeReader).unwrap_err();
        (refused.reason, refused.field.to_string())
    };
    let same = contrast::Source::Categories(list(&[category("Dog", &[])]));
    let path = "contrast.categories.categories[0].name".to_string();
    assert_eq!(create(same, 0), (ErrorReason::CategoryDuplicate, path));
    let auto = contrast::Source::Automatic(v1::AutoContrast {});
    assert_eq!(create(auto, -1), (ErrorReason::OptionInvalid, "synonym_mode".into()));
    let name = contrast::Source::Name(String::new());
    assert_eq!(create(name, 0), (ErrorReason::FieldMissing, "contrast.name".into()));
}

fn by_index(index: u32, threshold: f32) -> v1::CategoryThreshold {
    v1::CategoryThreshold { category: Some(v1::category_threshold::Category::Index(index)), threshold }
}

fn by_name(name: &str, threshold: f32) -> v1::CategoryThreshold {
    v1::CategoryThreshold { category: Some(v1::category_threshold::Category::Name(name.into())), threshold }
}

#[test]
fn thresholds_of_categories_override_the_general_one() {
    let bag = |synonym: &str| Category { name: "bag".into(), synonyms: vec![synonym.into()] };
    let categories = vec![bag("grip"), Category::new("sky"), bag("purse"), Category::new("sea")];
    let limits = Settings::default().vocabulary_limits();
    let vocabulary = sed_engine::Vocabulary::new(categories, &limits, &FakeReader).unwrap();
    let resolve = |thresholds: &[v1::CategoryThreshold]| {
        let category_thresholds = thresholds.to_vec();
        let options =
            v1::SegmentOptions { score_threshold: Some(0.2), category_thresholds, ..Default::default() };
        let valid = validate_segment(&with_options(options), &Settings::default(), &FakeReader);
        let resolved = valid.and_then(|valid| super::thresholds(&valid.options, &vocabulary));
        resolved.map_err(|error| (error.reason, error.field.to_string()))
    };
    let of = |thresholds: &[f32]| Ok(sed_engine::Thresholds::ByCategory(thresholds.into()));
    assert_eq!(resolve(&[]), Ok(sed_engine::Thresholds::Same(0.2)));
    assert_eq!(resolve(&[by_index(3, 0.0)]), of(&[0.2, 0.2, 0.2, 0.0]));
    assert_eq!(resolve(&[by_name("bag", 0.5), by_index(1, 1.0)]), of(&[0.5, 1.0, 0.5, 0.2]));

    let entry = |path: &str| format!("options.category_thresholds[1].{path}");
    let invalid = |path: &str| Err((ErrorReason::OptionInvalid, entry(path)));
    for (second, path) in [
        (by_index(4, 0.5), "index"),
        (by_index(u32::MAX, 0.5), "index"),
        (by_index(1, 0.5), "index"),
        (by_name("sky", 0.5), "name"),
        (by_name("Bag", 0.5), "name"),
        (by_name(&"x".repeat(257), 0.5), "name"),
        (by_index(0, 1.5), "threshold"),
        (by_index(0, f32::NAN), "threshold"),
        (by_index(0, f32::INFINITY), "threshold"),
    ] {
        assert_eq!(resolve(&[by_index(1, 0.3), second.clone()]), invalid(path), "{second:?}");
    }
    assert_eq!(resolve(&[by_index(2, 0.3), by_name("bag", 0.3)]), invalid("name"));
    let nothing = v1::CategoryThreshold { category: None, threshold: 0.5 };
    assert_eq!(resolve(&[by_index(1, 0.3), nothing]), Err((ErrorReason::FieldMissing, entry("category"))));
}

#[test]
fn every_option_is_checked() {
    let refused = |options| refusal(&with_options(options));
    let invalid = |field: &str| (ErrorReason::OptionInvalid, field.to_string());
    let options = v1::SegmentOptions::default;
    let size = |kind| Some(v1::OutputSize { kind: Some(kind) });
    let exact = |width, height| size(output_size::Kind::Exact(v1::Size { width, height }));

    assert_eq!(refused(v1::SegmentOptions { top_k: Some(1025), ..options() }), invalid("options.top_k"));
    for threshold in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        let options = v1::SegmentOptions { score_threshold: Some(threshold), ..options() };
        assert_eq!(refused(options), invalid("options.score_threshold"));
    }
    assert_eq!(refused(v1::SegmentOptions { resize_mode: 9, ..options() }), invalid("options.resize_mode"));
    assert_eq!(refused(v1::SegmentOptions { priority: -1, ..options() }), invalid("options.priority"));
    let tolerance = v1::SegmentOptions { polygon_tolerance: Some(101.0), ..options() };
    assert_eq!(refused(tolerance), invalid("options.polygon_tolerance"));
    let overlay = v1::Overlay { opacity: Some(2.0), ..Default::default() };
    let overlay = v1::SegmentOptions { overlay: Some(overlay), ..options() };
    assert_eq!(refused(overlay), invalid("options.overlay.opacity"));

    let preset = v1::SegmentOptions { output_size: size(output_size::Kind::Preset(7)), ..options() };
    assert_eq!(refused(preset), invalid("options.output_size.preset"));
    let empty = v1::SegmentOptions { output_size: exact(0, 5), ..options() };
    assert_eq!(refused(empty), invalid("options.output_size.exact"));
    for (width, height) in [(16_385, 1), (9000, 9000), (u32::MAX, u32::MAX)] {
        let huge = v1::SegmentOptions { output_size: exact(width, height), ..options() };
        assert_eq!(refused(huge), (ErrorReason::OutputTooLarge, "options.output_size.exact".into()));
    }
    for encodings in [vec![1, 0], vec![1, 99], vec![4, 4]] {
        let encodings = v1::SegmentOptions { mask_encodings: encodings, ..options() };
        assert_eq!(refused(encodings), invalid("options.mask_encodings[1]"));
    }
}

#[test]
fn paths_lead_to_the_phrase() {
    let mut request = good();
    let list = |categories: &[v1::Category]| {
        Some(v1::Vocabulary {
            source: Some(vocabulary::Source::Categories(list(categories))),
            ..Default::default()
        })
    };
    request.vocabulary = list(&[category("a", &[]), category("b", &["c", ""])]);
    let path = "vocabulary.categories.categories[1].synonyms[1]";
    assert_eq!(refusal(&request), (ErrorReason::CategoryNameInvalid, path.into()));
    request.vocabulary = list(&[category("a", &[]), category("A ", &[])]);
    let path = "vocabulary.categories.categories[1].name";
    assert_eq!(refusal(&request), (ErrorReason::CategoryDuplicate, path.into()));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-d]{0,3}", ".{0,4}", "x{250,260}"]
}

fn any_list() -> impl Strategy<Value = v1::CategoryList> {
    let category = (any_text(), prop::collection::vec(any_text(), 0..3))
        .prop_map(|(name, synonyms)| v1::Category { name, synonyms });
    prop::collection::vec(category, 0..5).prop_map(|categories| v1::CategoryList { categories })
}

fn any_contrast() -> impl Strategy<Value = v1::Contrast> {
    let source = prop_oneof![
        4 => any_list().prop_map(contrast::Source::Categories),
        1 => any_text().prop_map(contrast::Source::Name),
        1 => Just(contrast::Source::Automatic(v1::AutoContrast {})),
    ];
    prop::option::of(source).prop_map(|source| v1::Contrast { source })
}

fn any_threshold() -> impl Strategy<Value = v1::CategoryThreshold> {
    use v1::category_threshold::Category;
    let category = prop_oneof![any_text().prop_map(Category::Name), any::<u32>().prop_map(Category::Index)];
    (prop::option::of(category), -0.5_f32..1.5)
        .prop_map(|(category, threshold)| v1::CategoryThreshold { category, threshold })
}

fn any_request() -> impl Strategy<Value = v1::SegmentRequest> {
    let image = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| Some(image::Source::Encoded(bytes.into()))),
        (0_u32..20_000, 0_u32..20_000, any::<u32>()).prop_map(|(width, height, row_stride)| {
            Some(image::Source::Raw(v1::RawImage { pixels: Bytes::new(), width, height, row_stride }))
        }),
        Just(None),
    ];
    let source = prop_oneof![
        4 => any_list().prop_map(|list| Some(vocabulary::Source::Categories(list))),
        1 => any_text().prop_map(|name| Some(vocabulary::Source::Name(name))),
        1 => Just(None),
    ];
    let vocabulary = (source, prop_oneof![4 => 0_i32..3, 1 => -1_i32..5], prop::option::of(any_contrast()))
        .prop_map(|(source, synonym_mode, contrast)| v1::Vocabulary { source, synonym_mode, contrast });
    let size = prop_oneof![
        (-1_i32..4).prop_map(output_size::Kind::Preset),
        (0_u32..20_000, 0_u32..20_000)
            .prop_map(|(width, height)| output_size::Kind::Exact(v1::Size { width, height })),
    ];
    let numbers = (-1_i32..4, -1_i32..5, prop::collection::vec(-1_i32..9, 0..3));
    let reals = prop::option::of(prop_oneof![-0.5_f32..1.5, Just(f32::NAN)]);
    let thresholds = prop::collection::vec(any_threshold(), 0..3);
    let options = (prop::option::of(0_u32..2000), reals, prop::option::of(size), numbers, thresholds)
        .prop_map(|(top_k, real, size, (resize_mode, priority, mask_encodings), category_thresholds)| {
            v1::SegmentOptions {
                category_thresholds,
                top_k,
                score_threshold: real,
                polygon_tolerance: real,
                output_size: size.map(|kind| v1::OutputSize { kind: Some(kind) }),
                resize_mode,
                priority,
                mask_encodings,
                ..Default::default()
            }
        });
    (image, vocabulary, prop::option::of(options), any_text()).prop_map(
        |(image, vocabulary, options, request_id)| v1::SegmentRequest {
            image: Some(v1::Image { source: image }),
            vocabulary: Some(vocabulary),
            options,
            request_id,
        },
    )
}

proptest! {
    #[test]
    fn what_is_accepted_keeps_the_limits(request in any_request()) {
        let limits = Settings::default();
        match validate_segment(&request, &limits, &FakeReader) {
            Ok(valid) => {
                prop_assert!(valid.request_id.is_ascii() && valid.request_id.len() <= limits.max_request_id_bytes);
                if let ImageSource::Sent(SentImage::Raw { width, height, .. }) = valid.image {
                    prop_assert!(width >= 1 && height >= 1);
                    prop_assert!(u64::from(width) * u64::from(height) <= limits.max_image_pixels);
                }
                if let VocabularySource::Inline(words) = valid.words.source {
                    prop_assert!(words.all_categories().len() <= limits.max_categories);
                    prop_assert!(words.pairs() <= limits.max_phrases);
                }
                let options = valid.options;
                prop_assert!((0.0..=1.0).contains(&options.score_threshold));
                prop_assert!(options.polygon_tolerance.is_finite());
                prop_assert!(options.rejection.unwrap_or_default().top_k() <= limits.max_top_k);
                prop_assert!(!options.mask_encodings.is_empty());
                if let OutputSize::Exact { width, height } = options.output_size {
                    prop_assert!(width >= 1 && height >= 1 && width.max(height) <= limits.max_output_side);
                    prop_assert!(u64::from(width) * u64::from(height) <= limits.max_output_pixels);
                }
            }
            Err(error) => {
                prop_assert!(!error.field.to_string().is_empty() && !error.message.is_empty());
                prop_assert_eq!(crate::status::code_of(error.reason), tonic::Code::InvalidArgument);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = v1::SegmentRequest::decode(bytes.as_slice()) {
            let _ = validate_segment(&request, &Settings::default(), &FakeReader);
        }
    }
}
