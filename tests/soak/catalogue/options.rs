//! Options: every mask encoding, size and way to resize.

use sed_proto::v1::{
    CategoryThreshold, MaskEncoding, OutputSize, OutputSizePreset, Overlay, ResizeMode, SegmentOptions, Size,
    category_threshold::Category, output_size::Kind,
};

const ENCODINGS: [MaskEncoding; 12] = [
    MaskEncoding::IndexPng,
    MaskEncoding::IndexPng8,
    MaskEncoding::IndexPng16,
    MaskEncoding::CocoRle,
    MaskEncoding::Polygons,
    MaskEncoding::Raw,
    MaskEncoding::ScoreMaps,
    MaskEncoding::ScorePng,
    MaskEncoding::ScoreRaw,
    MaskEncoding::RunnerUpPng,
    MaskEncoding::MarginPng,
    MaskEncoding::MarginRaw,
];

pub(super) fn draw(random: &mut fastrand::Rng) -> SegmentOptions {
    let mut encodings = ENCODINGS;
    random.shuffle(&mut encodings);
    let output_size = match random.u32(0..4) {
        0 => Some(Kind::Preset(OutputSizePreset::Model.into())),
        1 => Some(Kind::Exact(Size { width: random.u32(1..200), height: random.u32(1..200) })),
        _ => None,
    };
    let two_step = random.u32(0..8) == 0;
    let overlay = Overlay { opacity: Some(0.6), fade_unsure: random.bool(), ..Overlay::default() };
    // Every vocabulary has a category 0.
    let threshold = CategoryThreshold { category: Some(Category::Index(0)), threshold: random.f32() };
    SegmentOptions {
        top_k: (random.u32(0..4) > 0).then(|| random.u32(0..6)),
        score_threshold: random.bool().then(|| random.f32()),
        output_size: output_size.map(|kind| OutputSize { kind: Some(kind) }),
        resize_mode: if two_step { ResizeMode::TwoStep.into() } else { ResizeMode::Direct.into() },
        mask_encodings: encodings[..random.usize(0..4)].iter().map(|one| i32::from(*one)).collect(),
        min_area: if random.bool() { random.u32(0..30) } else { 0 },
        overlay: (random.u32(0..8) == 0).then_some(overlay),
        priority: 0,
        polygon_tolerance: random.bool().then(|| 3.0 * random.f32()),
        list_rejected: random.bool(),
        category_thresholds: random.bool().then_some(threshold).into_iter().collect(),
        report_ambiguities: random.bool(),
    }
}
