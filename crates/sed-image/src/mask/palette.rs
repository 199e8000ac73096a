//! A colour for every category: the same in index PNGs and in overlays, on every machine.
//!
//! The colours are chosen one after the other, each as far as possible from all before it in the
//! perceptual space OKLab, out of a pleasant middle range of lightness and chroma. So the first few are
//! as different as can be, and a longer vocabulary only adds finer steps. The first ones are vivid; muted
//! colours join in when those get close to each other.

use std::sync::OnceLock;

/// Colours before they repeat: as many as an 8-bit index PNG has categories.
const COLOURS: usize = 255;

/// The colour (R, G, B) of a category. From category 255 on the colours repeat.
pub fn colour(category: u16) -> [u8; 3] {
    static TABLE: OnceLock<Vec<[u8; 3]>> = OnceLock::new();
    TABLE.get_or_init(table)[usize::from(category) % COLOURS]
}

/// Lightness steps of the candidates, in thousandths.
const LIGHTNESS: [i32; 6] = [520, 590, 660, 730, 800, 865];

/// Chroma steps of the candidates, in thousandths.
const CHROMA: [i32; 5] = [70, 105, 140, 175, 210];

/// Hues of the candidates around the circle.
const HUES: i32 = 72;

/// Number of vivid colours at the beginning, and the least chroma and lightness of a vivid colour, in
/// thousandths.
const VIVID: usize = 24;
const VIVID_CHROMA: i32 = 140;
const VIVID_LIGHTNESS: i32 = 590;

/// The first colour: a clear blue.
const FIRST: [i32; 3] = [660, 140, 250];

/// A colour that can be chosen, in OKLab thousandths.
struct Candidate {
    rgb: [u8; 3],
    lab: [i32; 3],
    vivid: bool,
    /// Squared distance to the nearest chosen colour.
    nearest: i64,
}

fn table() -> Vec<[u8; 3]> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for lightness in LIGHTNESS {
        for chroma in CHROMA {
            for hue in 0..HUES {
                candidates.extend(candidate(lightness, chroma, hue * 360 / HUES));
            }
        }
    }
    let mut chosen = Vec::with_capacity(COLOURS);
    let mut next = candidate(FIRST[0], FIRST[1], FIRST[2]);
    while let Some(colour) = next.take() {
        chosen.push(colour.rgb);
        if chosen.len() == COLOURS {
            break;
        }
        for other in &mut candidates {
            other.nearest = other.nearest.min(distance(&other.lab, &colour.lab));
        }
        // Of equally far ones the first in the list: the choice is the same everywhere.
        let open = |c: &Candidate| c.vivid || chosen.len() >= VIVID;
        let far = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| open(candidate))
            .max_by_key(|(i, candidate)| (candidate.nearest, std::cmp::Reverse(*i)));
        next = far.map(|(i, _)| i).map(|i| candidates.swap_remove(i));
    }
    chosen
}

/// Squared distance; lightness counts less than hue, which is what a person names a colour by.
fn distance(a: &[i32; 3], b: &[i32; 3]) -> i64 {
    let square = |i: usize| i64::from(a[i] - b[i]).pow(2);
    square(0) / 2 + 2 * (square(1) + square(2))
}

/// The candidate of a lightness, chroma and hue (degrees), if the screen can show it.
fn candidate(lightness: i32, chroma: i32, hue: i32) -> Option<Candidate> {
    let (l, c) = (f64::from(lightness) / 1000.0, f64::from(chroma) / 1000.0);
    let (sin, cos) = f64::from(hue).to_radians().sin_cos();
    let rgb = to_srgb(l, c * cos, c * sin)?;
    let thousandths = |value: f64| (value * 1000.0).round() as i32;
    Some(Candidate {
        rgb,
        lab: [lightness, thousandths(c * cos), thousandths(c * sin)],
        vivid: chroma >= VIVID_CHROMA && lightness >= VIVID_LIGHTNESS,
        nearest: i64::MAX,
    })
}

/// OKLab to 8-bit sRGB; `None` outside the gamut.
fn to_srgb(l: f64, a: f64, b: f64) -> Option<[u8; 3]> {
    let long = (l + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (l - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (l - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
    ];
    if linear.iter().any(|channel| !(-0.001..=1.001).contains(channel)) {
        return None;
    }
    Some(linear.map(|channel| {
        let channel = channel.clamp(0.0, 1.0);
        let encoded =
            if channel <= 0.003_130_8 { 12.92 * channel } else { 1.055 * channel.powf(1.0 / 2.4) - 0.055 };
        (encoded * 255.0).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_differ_and_the_first_ones_differ_most() {
        let all: Vec<[u8; 3]> = (0..255).map(colour).collect();
        let apart = |count: usize| {
            let mut least = i32::MAX;
            for i in 0..count {
                for j in 0..i {
                    least =
                        least.min((0..3).map(|c| (i32::from(all[i][c]) - i32::from(all[j][c])).pow(2)).sum());
                }
            }
            least
        };
        assert!(apart(8) > 80 * 80, "{}", apart(8));
        assert!(apart(20) > 40 * 40, "{}", apart(20));
        assert!(apart(255) >= 5 * 5, "{}", apart(255));
        assert_eq!(colour(255), colour(0));
    }
}
