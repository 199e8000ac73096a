//! The parts of a good answer beside its masks.

use std::time::Duration;

use sed_engine::{
    Category, JobImage, OutputSpec, Priority, Rejection, SegmentJob, Thresholds, Vocabulary,
    VocabularyLimits, fake::FakeReader,
};
use sed_proto::v1;
use sed_server::Settings;

use crate::{
    harness::{Running, named, request, request_for, with_options},
    images,
};

fn seconds(duration: Option<prost_types::Duration>) -> Duration {
    duration.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn the_mask_is_the_engines() {
    let server = Running::start(Settings::default()).await;
    let answer = server.segment(request(6)).await.unwrap();

    let picture = sed_image::decode(&images::png(40, 24), &Default::default()).unwrap().image;
    let input = sed_image::network_input(&picture, 32, sed_image::ResizeMode::Direct).unwrap();
    let categories = (0..6).map(|index| Category::new(format!("thing {index}"))).collect();
    let job = SegmentJob {
        image: JobImage::Pixels { input: input.into(), facts: None },
        vocabulary: Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap(),
        rejection: Rejection::from_top_k(8),
        output: OutputSpec {
            width: 40,
            height: 24,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        },
        waiting_since: std::time::Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    };
    let map = server.engine.segment(job).await.unwrap().map;

    let Some(v1::mask::Content::IndexPng(png)) = &answer.masks[0].content else { panic!("no png") };
    assert_eq!(answer.masks[0].encoding(), v1::MaskEncoding::IndexPng8);
    assert_eq!(sed_image::mask::png::decode(png, 10_000).unwrap().indices(), map.indices);
    let scores: Vec<f32> = answer.categories.iter().map(|category| category.mean_score).collect();
    assert_eq!(scores, map.mean_scores);
    assert_eq!((answer.model_name.as_str(), answer.model_digest.len()), ("fake", 71));
}

#[tokio::test]
async fn categories_come_in_order_with_true_counts() {
    let server = Running::start(Settings::default()).await;
    let answer = server.segment(request(12)).await.unwrap();
    let map = index_map(&answer);
    assert_eq!(answer.categories.len(), 12);
    for (index, category) in answer.categories.iter().enumerate() {
        assert_eq!((category.index as usize, category.name.clone()), (index, format!("thing {index}")));
        let places: Vec<u32> =
            (0..960).filter(|place| usize::from(map.indices()[*place as usize]) == index).collect();
        assert_eq!(category.pixels as usize, places.len());
        assert!((category.area_share - places.len() as f32 / 960.0).abs() < 1e-6);
        let left = places.iter().map(|place| place % 40).min();
        let bottom = places.iter().map(|place| place / 40 + 1).max();
        assert_eq!(category.bounding_box.map(|bounds| bounds.x), left);
        assert_eq!(category.bounding_box.map(|bounds| bounds.y + bounds.height), bottom);
    }
    assert_eq!(answer.unlabelled_pixels, 0);
}

fn index_map(answer: &v1::SegmentResponse) -> sed_image::IndexMap {
    let Some(v1::mask::Content::IndexPng(png)) = &answer.masks[0].content else { panic!("no png") };
    sed_image::mask::png::decode(png, 1 << 20).unwrap()
}

#[tokio::test]
async fn every_image_format_is_read() {
    let server = Running::start(Settings::default()).await;
    for format in images::FORMATS {
        let image = images::encoded(&images::picture(40, 24), format);
        let answer = server.segment(request_for(image, 3)).await.unwrap();
        assert_eq!(answer.image_size, Some(v1::Size { width: 40, height: 24 }), "{format:?}");
    }
}

#[tokio::test]
async fn an_exif_orientation_turns_the_picture() {
    let server = Running::start(Settings::default()).await;
    let answer = server.segment(request_for(images::turned_jpeg(40, 24), 3)).await.unwrap();
    assert_eq!(answer.image_size, Some(v1::Size { width: 24, height: 40 }));
    assert_eq!(answer.mask_size, Some(v1::Size { width: 24, height: 40 }));
}

#[tokio::test]
async fn raw_pixels_with_padded_rows_give_the_same_mask() {
    let server = Running::start(Settings::default()).await;
    let picture = images::picture(40, 24);
    let padded: Vec<u8> =
        picture.as_raw().chunks(120).flat_map(|row| row.iter().copied().chain([7; 8])).collect();
    let raw = v1::RawImage { pixels: padded.into(), width: 40, height: 24, row_stride: 128 };
    let mut by_pixels = request(6);
    by_pixels.image = Some(v1::Image { source: Some(v1::image::Source::Raw(raw)) });
    let by_pixels = server.segment(by_pixels).await.unwrap();
    let by_file = server.segment(request(6)).await.unwrap();
    assert_eq!(by_pixels.masks, by_file.masks);
}

#[tokio::test]
async fn masks_have_the_size_that_was_asked_for() {
    let server = Running::start(Settings::default()).await;
    let sized = |kind| {
        let size = v1::OutputSize { kind: Some(kind) };
        with_options(3, v1::SegmentOptions { output_size: Some(size), ..Default::default() })
    };
    let exact = v1::Size { width: 100, height: 7 };
    let cases = [
        (v1::output_size::Kind::Preset(v1::OutputSizePreset::Original.into()), (40, 24)),
        (v1::output_size::Kind::Preset(v1::OutputSizePreset::Model.into()), (8, 8)),
        (v1::output_size::Kind::Exact(exact), (100, 7)),
    ];
    for (kind, (width, height)) in cases {
        let answer = server.segment(sized(kind)).await.unwrap();
        assert_eq!(answer.mask_size, Some(v1::Size { width, height }));
        let map = index_map(&answer);
        assert_eq!((map.width(), map.height()), (width, height));
        assert_eq!(answer.image_size, Some(v1::Size { width: 40, height: 24 }));
    }
}

#[tokio::test]
async fn the_official_resize_cuts_the_map_of_a_very_long_picture() {
    let server = Running::start(Settings::default()).await;
    let mut thin = request_for(images::png(2, 4000), 30);
    thin.options = Some(v1::SegmentOptions { top_k: Some(0), ..Default::default() });
    let whole = index_map(&server.segment(thin.clone()).await.unwrap());
    thin.options = Some(v1::SegmentOptions {
        top_k: Some(0),
        resize_mode: v1::ResizeMode::TwoStep.into(),
        ..Default::default()
    });
    let cut = index_map(&server.segment(thin).await.unwrap());
    // 1 of 8 columns of the map is left, so both columns of a row come from it.
    assert!(cut.indices().chunks(2).all(|row| row[0] == row[1]));
    assert!(whole.indices().chunks(2).any(|row| row[0] != row[1]));
}

#[tokio::test]
async fn rejection_is_reported_and_can_be_turned_off() {
    let server = Running::start(Settings { default_top_k: Some(1), ..Settings::default() }).await;
    let rejection = |answer: v1::SegmentResponse| answer.rejection.unwrap();

    let listed = v1::SegmentOptions { list_rejected: true, ..Default::default() };
    let usual = rejection(server.segment(with_options(200, listed)).await.unwrap());
    assert_eq!(usual.top_k, 1);
    assert_eq!(usual.levels.iter().map(|level| level.level).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(usual.levels[0].candidates, 200);
    for level in &usual.levels {
        assert_eq!(level.survivors.len() + level.rejected.len(), level.candidates as usize);
    }
    assert!(usual.levels.iter().all(|level| !level.rejected.is_empty()));

    let short = rejection(server.segment(request(200)).await.unwrap());
    assert!(short.levels.iter().all(|level| level.rejected.is_empty()));
    for (short, usual) in short.levels.iter().zip(&usual.levels) {
        assert_eq!((short.candidates, &short.survivors), (usual.candidates, &usual.survivors));
    }

    let off = v1::SegmentOptions { top_k: Some(0), ..Default::default() };
    let off = rejection(server.segment(with_options(200, off)).await.unwrap());
    assert_eq!(off.top_k, 0);
    assert!(off.levels.iter().all(|level| level.survivors.len() == 200));
}

#[tokio::test]
async fn the_times_are_told_and_add_up() {
    let server = Running::start(Settings::default()).await;
    server.control.inject(sed_engine::Stage::Encode, sed_engine::fake::Fault::Delay(Duration::from_secs(1)));
    let latency = server.segment(request(5)).await.unwrap().latency.unwrap();
    let stages: Vec<_> = latency.stages.iter().map(v1::StageLatency::stage).collect();
    assert_eq!(stages, (1..=9).map(|number| v1::Stage::try_from(number).unwrap()).collect::<Vec<_>>());
    let total = seconds(latency.total);
    let parts: Duration =
        latency.stages.iter().map(|stage| seconds(stage.queue_wait) + seconds(stage.duration)).sum();
    assert!(parts <= total && parts > total.mul_f64(0.98), "{parts:?} of {total:?}");
    assert!(seconds(latency.stages[2].duration) >= Duration::from_secs(1));
    assert_eq!(latency.stages[3].batches[0].pairs, 5);
    assert_eq!((latency.text_cache_hits, latency.text_cache_misses), (0, 5));

    let again = server.segment(request(7)).await.unwrap().latency.unwrap();
    assert_eq!((again.text_cache_hits, again.text_cache_misses), (5, 2));
    assert_eq!((again.vocabulary_cache_hit, again.image_cache_hit), (false, true));
    let same = server.segment(request(7)).await.unwrap().latency.unwrap();
    assert_eq!((same.text_cache_misses, same.vocabulary_cache_hit, same.image_cache_hit), (0, true, true));
    let stages: Vec<_> = same.stages.iter().map(v1::StageLatency::stage).collect();
    assert!(!stages.contains(&v1::Stage::Encode) && stages.contains(&v1::Stage::ImageDecode), "{stages:?}");
}

#[tokio::test]
async fn thresholds_and_small_regions_leave_pixels_unlabelled() {
    let server = Running::start(Settings::default()).await;
    let strict = v1::SegmentOptions { score_threshold: Some(0.9), ..Default::default() };
    let answer = server.segment(with_options(3, strict)).await.unwrap();
    let labelled: u64 = answer.categories.iter().map(|category| category.pixels).sum();
    assert!(answer.unlabelled_pixels > 0);
    assert_eq!(labelled + answer.unlabelled_pixels, 960);

    let large = v1::SegmentOptions { min_area: 961, ..Default::default() };
    let answer = server.segment(with_options(3, large)).await.unwrap();
    assert_eq!(answer.unlabelled_pixels, 960);
    assert!(answer.categories.iter().all(|category| category.mean_score == 0.0));
}

#[tokio::test]
async fn counts_are_those_of_the_map_that_is_sent() {
    let server = Running::start(Settings::default()).await;
    for (score_threshold, min_area) in [(0.0, 0), (0.5, 0), (0.0, 31), (0.5, 31)] {
        let options =
            v1::SegmentOptions { score_threshold: Some(score_threshold), min_area, ..Default::default() };
        let answer = server.segment(with_options(3, options)).await.unwrap();
        let map = index_map(&answer);
        for category in &answer.categories {
            let of_category = |index: &&u16| u32::from(**index) == category.index;
            let counted = map.indices().iter().filter(of_category).count();
            let case = format!("{score_threshold} {min_area} {category:?}");
            assert_eq!(category.pixels, counted as u64, "{case}");
            assert_eq!(category.area_share, (counted as f64 / 960.0) as f32, "{case}");
            assert_eq!(category.bounding_box.is_some(), counted > 0, "{case}");
        }
        let unlabelled = map.indices().iter().filter(|index| **index == sed_image::UNLABELLED).count();
        assert_eq!(answer.unlabelled_pixels, unlabelled as u64);
        // Both options leave pixels out, and not all.
        assert_eq!(unlabelled > 0, score_threshold > 0.0 || min_area > 0);
        assert!(unlabelled < 960);
    }
}

#[tokio::test]
async fn an_overlay_is_a_picture() {
    let server = Running::start(Settings::default()).await;
    let overlay =
        v1::Overlay { opacity: Some(0.4), without_legend: true, without_labels: false, ..Default::default() };
    let options = v1::SegmentOptions { overlay: Some(overlay), ..Default::default() };
    let mut request = with_options(3, options);
    assert!(server.segment(self::request(3)).await.unwrap().overlay_png.is_empty());
    let source = v1::image::Source::Encoded(images::png(3000, 1500).into());
    request.image = Some(v1::Image { source: Some(source) });
    let answer = server.segment(request).await.unwrap();
    let painted = sed_image::decode(&answer.overlay_png, &Default::default()).unwrap().image;
    assert_eq!((painted.width(), painted.height()), (2048, 1024));
}

#[tokio::test]
async fn an_overlay_fades_where_it_is_asked_to() {
    let server = Running::start(Settings::default()).await;
    let painted = async |fade_unsure| {
        let overlay = v1::Overlay { opacity: Some(1.0), fade_unsure, ..Default::default() };
        let options = v1::SegmentOptions { overlay: Some(overlay), ..Default::default() };
        let answer = server.segment(with_options(9, options)).await.unwrap();
        sed_image::decode(&answer.overlay_png, &Default::default()).unwrap().image
    };
    let (plain, faded) = (painted(false).await, painted(true).await);
    assert_eq!((plain.width(), plain.height()), (faded.width(), faded.height()));
    // Of nine random scores some two best are close, and most are not.
    let pairs = plain.pixels().chunks(3).zip(faded.pixels().chunks(3));
    let differing = pairs.filter(|(plain, faded)| plain != faded).count();
    assert!(differing > 0 && differing < plain.pixels().len() / 3, "{differing}");
}

#[tokio::test]
async fn named_vocabularies_are_found() {
    let server = Running::start(Settings::default()).await;
    let mut by_name = request(1);
    by_name.vocabulary = Some(named("pets"));
    let answer = server.segment(by_name.clone()).await.unwrap();
    let names: Vec<_> = answer.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["dog", "cat", "bird"]);
    // 300 categories do not fit 8 bits.
    by_name.vocabulary = Some(named("many"));
    let answer = server.segment(by_name).await.unwrap();
    assert_eq!(answer.masks[0].encoding(), v1::MaskEncoding::IndexPng16);
    assert_eq!(answer.masks[0].unlabelled_index, 65_535);
}

#[tokio::test]
async fn request_ids_come_back_or_are_made_up() {
    let server = Running::start(Settings::default()).await;
    let mine = v1::SegmentRequest { request_id: "camera 7/0042".into(), ..request(2) };
    assert_eq!(server.segment(mine).await.unwrap().request_id, "camera 7/0042");
    let first = server.segment(request(2)).await.unwrap().request_id;
    let second = server.segment(request(2)).await.unwrap().request_id;
    assert!(first.len() == 16 && first != second, "{first} {second}");
}

#[tokio::test]
async fn server_info_tells_model_limits_and_vocabularies() {
    let raw = Settings {
        max_categories: 77,
        default_top_k: Some(3),
        queue_capacity: Some(21),
        queue_pairs: 123,
        max_timeout_seconds: 2.5,
        batch_images: 3,
        batch_pairs: 45,
        text_cache_bytes: 1001,
        vocabulary_cache_bytes: 1002,
        image_cache_bytes: 1003,
        max_registered_vocabularies: 7,
        max_preparing_phrases: 9,
        max_stream_requests: 5,
        ..Settings::default()
    };
    let server = Running::start(raw).await;
    let info = server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    let model = info.model.unwrap();
    assert_eq!((model.name.as_str(), model.input_side, model.map_side), ("fake", 32, 8));
    let limits = info.limits.unwrap();
    assert_eq!(limits.max_categories, 77);
    assert_eq!(limits.max_message_bytes, Settings::default().max_message_bytes as u64);
    assert_eq!(limits.max_timeout, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    assert_eq!((limits.max_queued_requests, limits.max_queued_pairs), (21, 123));
    assert_eq!((limits.max_batch_images, limits.max_batch_pairs), (3, 45));
    let caches = [limits.text_cache_bytes, limits.vocabulary_cache_bytes, limits.image_cache_bytes];
    assert_eq!(caches, [1001, 1002, 1003]);
    assert_eq!((limits.max_registered_vocabularies, limits.max_stream_requests), (7, 5));
    assert_eq!(limits.max_preparing_phrases, 9);
    assert_eq!(limits.max_registered_vocabulary_bytes, 64 << 20);
    assert_eq!(info.defaults.unwrap().top_k, 3);
    let named = |info: v1::NamedVocabulary| (info.name, info.size, info.built_in);
    let named: Vec<_> = info.vocabularies.into_iter().map(named).collect();
    assert_eq!(named, [("many".into(), 300, true), ("pets".into(), 3, true)]);
    assert_eq!(info.mask_encodings.len(), 12);
    assert_eq!(info.image_formats, ["jpeg", "png", "webp", "gif", "bmp", "tiff"]);
    assert_eq!(info.server_version, env!("CARGO_PKG_VERSION"));
}
