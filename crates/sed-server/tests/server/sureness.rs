//! Score, runner-up and margin of every pixel.

use sed_engine::{Stage, f16};
use sed_image::mask::{UNLABELLED, grey, png, raw};
use sed_proto::v1::{self, MaskEncoding, mask::Content};
use sed_server::Settings;
use tonic::Code;

use crate::harness::{Running, facts, metadata, named, request, with_options};

/// The planes, in the order in which [`Planes::of`] expects their masks.
const PLANES: [MaskEncoding; 6] = [
    MaskEncoding::Raw,
    MaskEncoding::ScoreRaw,
    MaskEncoding::ScorePng,
    MaskEncoding::RunnerUpPng,
    MaskEncoding::MarginRaw,
    MaskEncoding::MarginPng,
];

/// The decoded masks of an answer.
#[derive(Debug, PartialEq)]
struct Planes {
    indices: Vec<u16>,
    scores: Vec<f32>,
    grey_scores: Vec<u8>,
    runner_up: Vec<u16>,
    margins: Vec<f32>,
    grey_margins: Vec<u8>,
}

impl Planes {
    #[track_caller]
    fn of(answer: &v1::SegmentResponse) -> Self {
        assert_eq!(answer.masks.iter().map(v1::Mask::encoding).collect::<Vec<_>>(), PLANES);
        let v1::Size { width, height } = answer.mask_size.unwrap();
        let contents: Vec<_> = answer.masks.iter().map(|mask| mask.content.as_ref().unwrap()).collect();
        let [
            Content::RawIndices(indices),
            Content::RawScores(scores),
            Content::ScorePng(grey_scores),
            Content::RunnerUpPng(runner_up),
            Content::RawMargins(margins),
            Content::MarginPng(grey_margins),
        ] = contents[..]
        else {
            panic!("other contents: {contents:?}")
        };
        let floats = |bytes: &[u8]| -> Vec<f32> {
            assert_eq!(bytes.len() as u32, 2 * width * height);
            bytes.chunks(2).map(|pair| f32::from(f16::from_le_bytes([pair[0], pair[1]]))).collect()
        };
        let octets = |file: &[u8]| {
            let map = grey::decode(file, 10_000).unwrap();
            assert_eq!((map.width(), map.height()), (width, height));
            map.values().to_vec()
        };
        Self {
            indices: raw::decode_u16(width, height, indices).unwrap().into_indices(),
            scores: floats(scores),
            grey_scores: octets(grey_scores),
            runner_up: png::decode(runner_up, 10_000).unwrap().into_indices(),
            margins: floats(margins),
            grey_margins: octets(grey_margins),
        }
    }
}

fn options() -> v1::SegmentOptions {
    v1::SegmentOptions { mask_encodings: PLANES.map(i32::from).to_vec(), ..Default::default() }
}

#[tokio::test]
async fn every_pixel_has_a_score_a_runner_up_and_a_margin() {
    let server = Running::start(Settings::default()).await;
    // Some pixels are unlabelled.
    let strict = v1::SegmentOptions { score_threshold: Some(0.9), ..options() };
    let answer = server.segment(with_options(9, strict)).await.unwrap();
    assert_eq!(answer.masks[3].unlabelled_index, 255);
    let planes = Planes::of(&answer);
    assert!(planes.indices.contains(&UNLABELLED));
    assert!(planes.indices.iter().any(|index| *index != UNLABELLED));
    for (pixel, index) in planes.indices.iter().enumerate() {
        let (score, margin) = (planes.scores[pixel], planes.margins[pixel]);
        let runner_up = planes.runner_up[pixel];
        assert!((0.0..=1.0).contains(&score) && (0.0..=score).contains(&margin), "{score} {margin}");
        // The threshold is no float of 16 bits.
        assert!(if *index == UNLABELLED { score <= 0.9 } else { score >= 0.8995 }, "{score}");
        assert!(runner_up < 9 && runner_up != *index, "{runner_up} {index}");
        assert_eq!(planes.grey_scores[pixel], (255.0 * score).round() as u8);
        assert_eq!(planes.grey_margins[pixel], (255.0 * margin).round() as u8);
    }
    assert!(planes.margins.iter().any(|margin| *margin != planes.margins[0]));

    // Neither thresholds nor the least area change them.
    let large = v1::SegmentOptions { min_area: 961, ..options() };
    let bare = Planes::of(&server.segment(with_options(9, large)).await.unwrap());
    assert!(bare.indices.iter().all(|index| *index == UNLABELLED));
    assert_eq!(Planes { indices: planes.indices.clone(), ..bare }, planes);
}

#[tokio::test]
async fn planes_are_the_best_and_the_second_of_the_score_maps() {
    let server = Running::start(Settings::default()).await;
    let size = v1::output_size::Kind::Preset(v1::OutputSizePreset::Model.into());
    let mut wanted = v1::SegmentOptions {
        output_size: Some(v1::OutputSize { kind: Some(size) }),
        top_k: Some(0),
        ..options()
    };
    let planes = Planes::of(&server.segment(with_options(9, wanted.clone())).await.unwrap());
    wanted.mask_encodings = vec![MaskEncoding::ScoreMaps.into()];
    let answer = server.segment(with_options(9, wanted)).await.unwrap();
    let Some(Content::ScoreMaps(maps)) = &answer.masks[0].content else { panic!("no score maps") };
    let scores: Vec<f32> =
        maps.scores.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    for pixel in 0..64 {
        let mut ranked: Vec<(u16, f32)> =
            (0..9).map(|map| (map, scores[usize::from(map) * 64 + pixel])).collect();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
        let [(best, score), (second, next), ..] = ranked[..] else { panic!("no two maps") };
        assert_eq!((planes.indices[pixel], planes.runner_up[pixel]), (best, second));
        assert!((planes.scores[pixel] - score).abs() < 5e-4, "{} {score}", planes.scores[pixel]);
        assert!((planes.margins[pixel] - (score - next)).abs() < 1e-3, "{}", planes.margins[pixel]);
    }
}

#[tokio::test]
async fn the_only_category_has_no_runner_up() {
    let server = Running::start(Settings::default()).await;
    let planes = Planes::of(&server.segment(with_options(1, options())).await.unwrap());
    assert!(planes.runner_up.iter().all(|runner_up| *runner_up == UNLABELLED));
    assert_eq!(planes.margins, planes.scores);
}

#[tokio::test]
async fn the_runner_up_has_the_depth_of_the_vocabulary() {
    let server = Running::start(Settings::default()).await;
    let wanted = v1::SegmentOptions { mask_encodings: vec![MaskEncoding::RunnerUpPng.into()], ..options() };
    for (vocabulary, unlabelled, depth) in [("pets", 255, 8), ("many", 65_535, 16)] {
        let request = v1::SegmentRequest {
            vocabulary: Some(named(vocabulary)),
            options: Some(wanted.clone()),
            ..request(1)
        };
        let answer = server.segment(request).await.unwrap();
        assert_eq!(answer.masks[0].unlabelled_index, unlabelled);
        let Some(Content::RunnerUpPng(file)) = &answer.masks[0].content else { panic!("no runner-up") };
        assert_eq!(file[24], depth); // the depth in bits, behind width and height
        let map = png::decode(file, 10_000).unwrap();
        assert!(map.indices().iter().all(|index| *index < 300));
    }
}

#[tokio::test]
async fn masks_that_never_fit_an_answer_are_refused_before_the_device_works() {
    let server = Running::start(Settings { max_response_bytes: 3800, ..Settings::default() }).await;
    let asking = |encodings: &[MaskEncoding]| {
        let mask_encodings = encodings.iter().map(|encoding| i32::from(*encoding)).collect();
        with_options(2, v1::SegmentOptions { mask_encodings, ..Default::default() })
    };
    let encoded = server.control.calls(Stage::Encode);
    let both = asking(&[MaskEncoding::ScoreRaw, MaskEncoding::MarginRaw]);
    let refused = server.segment(both.clone()).await.unwrap_err();
    let expected =
        (Code::InvalidArgument, "OUTPUT_TOO_LARGE".to_owned(), "options.mask_encodings".to_owned());
    assert_eq!(facts(&refused), expected);
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("3800"));
    assert_eq!(server.control.calls(Stage::Encode), encoded);

    // One of them fits; and so the picture is known by its id from then on.
    let answer = server.segment(asking(&[MaskEncoding::ScoreRaw])).await.unwrap();
    let id = Some(v1::Image { source: Some(v1::image::Source::Id(answer.image_id)) });
    let refused = server.segment(v1::SegmentRequest { image: id, ..both }).await.unwrap_err();
    assert_eq!(facts(&refused), expected);
}
