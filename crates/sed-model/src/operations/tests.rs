//! The figures were counted from the layers of the official code, and published with the reference outputs'
//! specification.

use super::*;
use crate::text_tower::TextRows;

/// Fails unless a count is the given number of GMAC, in the digits that are given.
#[track_caller]
fn assert_giga(macs: u64, want: f64, digits: i32) {
    let off = (macs as f64 / 1e9 - want).abs();
    assert!(off <= 0.5 * 10f64.powi(-digits) + 1e-9, "{macs} is not {want} GMAC");
}

#[test]
fn encoders_have_their_known_counts() {
    for (config, trunk, whole) in [(SedConfig::sed_b(), 180.9, 181.9), (SedConfig::sed_l(), 405.9, 407.5)] {
        assert_giga(encoder(&config) as u64, trunk, 1);
        assert_giga(Operations::reference(&config).image, whole, 1);
    }
}

#[test]
fn pairs_have_their_known_counts() {
    let (base, large) = (SedConfig::sed_b(), SedConfig::sed_l());
    let reference = Operations::reference(&base);
    assert_giga(reference.pair(), 1.915, 3);
    assert_giga(Operations::reference(&large).pair(), 1.921, 3);
    assert_giga(reference.candidate + reference.rejection[0], 0.3345, 3);
    // The published counts of the levels hold their own cost-map guidance and heads.
    for (level, want) in [0.5229, 0.5291, 0.5438].into_iter().enumerate() {
        let head = reference.rejection.get(level + 1).copied().unwrap_or(0);
        assert_giga(reference.levels[level] + head + cost_guidance(&base, level) as u64, want, 4);
    }
}

#[test]
fn parts_have_their_known_counts() {
    let base = SedConfig::sed_b();
    assert_giga(similarities(&base) as u64, 0.0295, 4);
    assert_giga(embedding(&base) as u64, 0.2890, 4);
    for (level, guidance) in [0.0059, 0.0047, 0.0047].into_iter().enumerate() {
        assert_giga(cost_guidance(&base, level) as u64, guidance, 4);
        // Upsampling and the two convolutions.
        assert_giga(fusion_in_order(&base, level) as u64, 0.0283 + 0.2973, 3);
        assert_giga(guide(&base, level) as u64, 0.0425, 4);
    }
    for (level, aggregated) in [0.0815 + 0.1086, 0.0874 + 0.1087, 0.0994 + 0.1088].into_iter().enumerate() {
        assert_giga(aggregation(&base, level) as u64, aggregated, 3);
    }
}

/// The savings of each shortcut, as the specification states them.
#[test]
fn shortcuts_save_what_they_are_known_to_save() {
    let base = SedConfig::sed_b();
    let ours = Operations::rearranged(&base);
    // Before the first rejection: 33 MMAC where the official order takes 319 and the guidance 15.
    assert_giga(ours.candidate + ours.rejection[0], 0.0295 + 0.0037, 3);
    for level in 0..Level::COUNT {
        // The upsampling with its part of the first convolution: 155.7 becomes 75.5.
        let saved = fusion_in_order(&base, level) - guide(&base, level) - fusion_folded(&base, level);
        assert_giga(saved as u64, 0.1557 - 0.0755, 3);
    }
    let reference = Operations::reference(&base);
    assert_eq!(ours.image - reference.image, (0..3).map(|level| guide(&base, level) as u64).sum::<u64>());
}

#[test]
fn whole_pictures_have_their_known_counts() {
    let total = |config: &SedConfig, categories: u64| {
        let off =
            BatchWork { images: 1, candidates: categories, survivors: [categories; 3], rejects: [false; 3] };
        Operations::reference(config).stages(&off).iter().sum::<u64>() as f64 / 1e12
    };
    for (categories, base, large) in
        [(20, 0.220, 0.446), (150, 0.469, 0.696), (459, 1.061, 1.289), (847, 1.804, 2.034)]
    {
        assert!((total(&SedConfig::sed_b(), categories) - base).abs() < 6e-4);
        assert!((total(&SedConfig::sed_l(), categories) - large).abs() < 6e-4);
    }
}

#[test]
fn rejection_is_counted_where_it_can_happen() {
    let base = SedConfig::sed_b();
    let work = |rejects| BatchWork { images: 2, candidates: 300, survivors: [40, 30, 20], rejects };
    let (ours, reference) = (Operations::rearranged(&base), Operations::reference(&base));
    let (on, off) = (ours.stages(&work([true; 3])), ours.stages(&work([false; 3])));
    assert_eq!(on[0], 2 * ours.image);
    assert_eq!(on[1] - off[1], 300 * ours.rejection[0]);
    assert_eq!(on[2] - off[2], 40 * ours.rejection[1]);
    assert_eq!(on[3] - off[3], 30 * ours.rejection[2]);
    assert_eq!(on[4], 20 * ours.levels[2]);
    // The official code computes the heads and drops what they say.
    assert_eq!(reference.stages(&work([true; 3])), reference.stages(&work([false; 3])));
    // Official count of the fast path: 181.9 + .3345 N + .5229 n0 + .5291 n1 + .5438 n2, guidance once.
    let official = 2.0 * 181.9
        + 300.0 * 0.3345
        + 40.0 * (0.5229 - 0.0059)
        + 30.0 * (0.5291 - 0.0047)
        + 20.0 * (0.5438 - 0.0047);
    let counted = reference.stages(&work([true; 3])).iter().sum::<u64>() as f64 / 1e9;
    assert!((counted / official - 1.0).abs() < 1e-3, "{counted} of {official}");
}

#[test]
fn prompts_have_their_known_counts() {
    let (base, large) = (SedConfig::sed_b(), SedConfig::sed_l());
    assert_giga(text_per_prompt(&base), 4.633, 3);
    assert_giga(text_per_prompt(&large), 8.866, 3);
    // One more row that no other row attends to: twelve squares of the width in all blocks but the last,
    // where it only has a key and a value; and its own keys.
    let rows = TextRows { rows: 10, keys: 55, ends: 2, end_keys: 20 };
    let more = TextRows { rows: 11, keys: 60, ..rows };
    let added = text_rearranged(&base, &more) - text_rearranged(&base, &rows);
    assert_eq!(added, 11 * (12 * 640 * 640 + 2 * 640 * 5) + 2 * 640 * 640);
}
