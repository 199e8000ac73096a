//! Upper bounds of the histograms' buckets. They stand close where the answers of a good day lie, so that a
//! change of a few percent shows.

/// Whole requests and their waits: from a cached picture on a GPU to a large vocabulary on a CPU.
pub const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75,
    1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// One stage.
pub const STAGE_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
    0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Images of a batch.
pub const IMAGES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0];

/// Pairs of a batch.
pub const PAIRS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
    20_000.0,
];

/// Categories of a request; the usual vocabularies (20, 59, 150, 171, 459, 847) fall into buckets of their
/// own.
pub const CATEGORIES: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0, 150.0, 200.0, 300.0, 460.0, 600.0, 850.0, 1024.0];

/// Pixels of an image.
pub const PIXELS: &[f64] =
    &[65_536.0, 262_144.0, 524_288.0, 1e6, 2e6, 4e6, 8e6, 12e6, 16e6, 24e6, 32e6, 64e6];

/// Bytes of messages: 1 KiB to 128 MiB.
pub const BYTES: &[f64] = &[
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
];
