use proptest::prelude::*;
use prost::Message;

use sed_engine::fake::FakeReader;

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

fn refusal(request: &v1::SegmentRequest) -> (ErrorReason, String) {
    let error = validate_segment(request, &Settings::default(), &FakeReader).unwrap_err();
    (error.reason, error.field.to_string())
}

#[test]
fn a_request_without_options_gets_the_usual_ones() {
    let valid = validate_segment(&good(), &Settings::default(), &FakeReader).unwrap();
    let expected = ValidatedOptions {
        rejection: None,
        score_threshold: 0.0,
        output_size: OutputSize::Original,
        resize_mode: ResizeMode::Direct,
        mask_encodings: vec![MaskEncoding::IndexPng],
        min_area: 0,
        polygon_tolerance: 1.0,
        overlay: None,
        priority: Priority::Normal,
        list_rejected: false,
    };
    assert_eq!(valid.options, expected);
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
    assert_eq!(valid.overlay, Some(OverlayOptions { opacity: Some(0.0), legend: true, labels: true }));
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
    assert_eq!(create(Some(&["dog", "cat"])).unwrap().size(), 2);
    let refusal = |names| create(names).map(|_| ()).map_err(|error| (error.reason, error.field.to_string()));
    assert_eq!(refusal(None), Err((ErrorReason::FieldMissing, "categories".into())));
    assert_eq!(refusal(Some(&[])), Err((ErrorReason::VocabularyEmpty, "categories.categories".into())));
    let field = "categories.categories[1].name".to_string();
    assert_eq!(refusal(Some(&["dog", ""])), Err((ErrorReason::CategoryNameInvalid, field)));
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
    let list = |categories| {
        Some(v1::Vocabulary {
            source: Some(vocabulary::Source::Categories(v1::CategoryList { categories })),
            ..Default::default()
        })
    };
    let category = |name: &str, synonyms: &[&str]| v1::Category {
        name: name.into(),
        synonyms: synonyms.iter().map(ToString::to_string).collect(),
    };
    request.vocabulary = list(vec![category("a", &[]), category("b", &["c", ""])]);
    let path = "vocabulary.categories.categories[1].synonyms[1]";
    assert_eq!(refusal(&request), (ErrorReason::CategoryNameInvalid, path.into()));
    request.vocabulary = list(vec![category("a", &[]), category("A ", &[])]);
    let path = "vocabulary.categories.categories[1].name";
    assert_eq!(refusal(&request), (ErrorReason::CategoryDuplicate, path.into()));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-d]{0,3}", ".{0,4}", "x{250,260}"]
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
    let category = (any_text(), prop::collection::vec(any_text(), 0..3))
        .prop_map(|(name, synonyms)| v1::Category { name, synonyms });
    let vocabulary = prop_oneof![
        4 => prop::collection::vec(category, 0..5).prop_map(|categories| {
            Some(vocabulary::Source::Categories(v1::CategoryList { categories }))
        }),
        1 => any_text().prop_map(|name| Some(vocabulary::Source::Name(name))),
        1 => Just(None),
    ];
    let size = prop_oneof![
        (-1_i32..4).prop_map(output_size::Kind::Preset),
        (0_u32..20_000, 0_u32..20_000)
            .prop_map(|(width, height)| output_size::Kind::Exact(v1::Size { width, height })),
    ];
    let numbers = (-1_i32..4, -1_i32..5, prop::collection::vec(-1_i32..9, 0..3));
    let reals = prop::option::of(prop_oneof![-0.5_f32..1.5, Just(f32::NAN)]);
    let options = (prop::option::of(0_u32..2000), reals, prop::option::of(size), numbers).prop_map(
        |(top_k, real, size, (resize_mode, priority, mask_encodings))| v1::SegmentOptions {
            top_k,
            score_threshold: real,
            polygon_tolerance: real,
            output_size: size.map(|kind| v1::OutputSize { kind: Some(kind) }),
            resize_mode,
            priority,
            mask_encodings,
            ..Default::default()
        },
    );
    (image, vocabulary, prop::option::of(options), any_text()).prop_map(
        |(image, vocabulary, options, request_id)| v1::SegmentRequest {
            image: Some(v1::Image { source: image }),
            vocabulary: Some(v1::Vocabulary { source: vocabulary, ..Default::default() }),
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
