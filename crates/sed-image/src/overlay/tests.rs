//! Overlays of odd pictures: any size, any names, any number of categories.

use proptest::prelude::*;

use super::*;
use crate::mask::tests::maps;

fn grey(width: u32, height: u32) -> RgbImage {
    RgbImage::new(width, height, vec![120; width as usize * height as usize * 3]).unwrap()
}

/// The categories of `map` with these names, and their counts.
fn counted<'a>(map: &IndexMap, names: &'a [impl AsRef<str>]) -> Vec<OverlayCategory<'a>> {
    let pixels = |category| map.indices().iter().filter(|&&index| index == category).count() as u64;
    (0..UNLABELLED)
        .zip(names)
        .map(|(category, name)| OverlayCategory { name: name.as_ref(), pixels: pixels(category) })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_map_and_names_can_be_drawn(map in maps(40), name in "\\PC{0,200}", width in 1u32..90, height in 1u32..90) {
        let names: Vec<String> = (0..40).map(|i| format!("{name}{i}")).collect();
        let options = OverlayOptions { max_side: 320, ..OverlayOptions::default() };
        let drawn = overlay(&grey(width, height), &map, &counted(&map, &names), &options)?;
        prop_assert!(drawn.width() >= 1 && drawn.height() >= 1);
    }
}

#[test]
fn without_legend_and_labels_the_size_is_the_pictures() {
    let map = IndexMap::new(2, 1, vec![0, UNLABELLED]).unwrap();
    let options = OverlayOptions { legend: false, labels: false, ..OverlayOptions::default() };
    let drawn = overlay(&grey(700, 500), &map, &counted(&map, &["sky"]), &options).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (700, 500));
    // Far from borders: half the colour on the left, dimmed on the right.
    let colour = crate::mask::palette::colour(0);
    let expected = colour.map(|c| (120.0 + (f32::from(c) - 120.0) * 0.5).round() as u8);
    assert_eq!(drawn.row(250)[300..303], expected);
    assert_eq!(drawn.row(250)[1800..1803], [74, 74, 74]);
}

#[test]
fn the_tint_fades_where_the_margin_is_small() {
    let map = IndexMap::new(1, 1, vec![0]).unwrap();
    let categories = counted(&map, &["sky"]);
    let bare = OverlayOptions { legend: false, labels: false, ..OverlayOptions::default() };
    let tinted = |share: f32| {
        crate::mask::palette::colour(0).map(|c| (120.0 + (f32::from(c) - 120.0) * 0.5 * share).round() as u8)
    };
    // The margins have a size of their own: a quarter of the picture for each.
    let margins = GreyMap::new(4, 1, vec![0, 13, 26, 255]).unwrap();
    let drawn = OverlayOptions { margins: Some(&margins), ..bare };
    let drawn = overlay(&grey(800, 600), &map, &categories, &drawn).unwrap();
    let row = drawn.row(300);
    assert_eq!([0, 199].map(|x| &row[3 * x..][..3]), [[120; 3]; 2]);
    let faded = tinted(13.0 / 25.5);
    for x in [200, 399] {
        assert!(row[3 * x..].iter().zip(faded).all(|(found, faded)| found.abs_diff(faded) <= 1));
    }
    assert_eq!([400, 599, 600, 799].map(|x| &row[3 * x..][..3]), [tinted(1.0); 4]);

    // Sure pixels look as without margins.
    let sure = GreyMap::new(1, 1, vec![26]).unwrap();
    let sure = OverlayOptions { margins: Some(&sure), ..OverlayOptions::default() };
    let whole = overlay(&grey(80, 60), &map, &categories, &OverlayOptions::default()).unwrap();
    assert_eq!(overlay(&grey(80, 60), &map, &categories, &sure).unwrap().pixels(), whole.pixels());
}

#[test]
fn borders_and_unlabelled_pixels_do_not_fade() {
    let map = IndexMap::new(4, 1, vec![0, 0, 1, UNLABELLED]).unwrap();
    let categories = counted(&map, &["sky", "sea"]);
    let unsure = GreyMap::new(4, 1, vec![0; 4]).unwrap();
    let bare = OverlayOptions { legend: false, labels: false, ..OverlayOptions::default() };
    let row = |options: &OverlayOptions<'_>| {
        overlay(&grey(800, 600), &map, &categories, options).unwrap().row(300).to_vec()
    };
    let (plain, faded) = (row(&bare), row(&OverlayOptions { margins: Some(&unsure), ..bare }));
    let pixel = |row: &[u8], x: usize| [row[3 * x], row[3 * x + 1], row[3 * x + 2]];
    // Inside of a region only the picture is left; its border has its colour as before.
    assert_eq!(pixel(&faded, 100), [120; 3]);
    assert_ne!(pixel(&plain, 100), [120; 3]);
    assert_ne!(pixel(&faded, 399), [120; 3]);
    let differ =
        |x| pixel(&faded, x).iter().zip(pixel(&plain, x)).any(|(one, other)| one.abs_diff(other) > 6);
    assert!(differ(100) && !differ(399));
    assert_eq!(pixel(&faded, 700), pixel(&plain, 700));
}

#[test]
fn thin_pictures_get_a_legend_too() {
    for (width, height) in [(2000, 3), (3, 2000), (1, 1)] {
        let map = IndexMap::new(1, 1, vec![0]).unwrap();
        let categories = counted(&map, &["a name"]);
        let drawn = overlay(&grey(width, height), &map, &categories, &OverlayOptions::default()).unwrap();
        assert!(drawn.height() > 30 && drawn.width() > 30, "{drawn:?}");
    }
}

#[test]
fn the_categories_that_are_shown_come_by_their_share() {
    let map = IndexMap::new(5, 1, vec![3, 3, 1, 2, UNLABELLED]).unwrap();
    let shown = entries(&map, &counted(&map, &["absent", "cat", "dog", "sky"])).unwrap();
    let shown: Vec<_> =
        shown.iter().map(|entry| (entry.category, entry.name.as_str(), entry.share)).collect();
    assert_eq!(shown, [(3, "sky", 0.4), (1, "cat", 0.2), (2, "dog", 0.2)]);
}

#[test]
fn missing_names_and_bad_options_are_errors() {
    let map = IndexMap::new(1, 1, vec![1]).unwrap();
    let categories = counted(&map, &["only one"]);
    let refused =
        |options: OverlayOptions<'_>| overlay(&grey(1, 1), &map, &categories, &options).unwrap_err().reason();
    let sound = OverlayOptions::default();
    assert_eq!(refused(sound), "MASK_CATEGORY_OUT_OF_RANGE");
    assert_eq!(refused(OverlayOptions { tint: f32::NAN, ..sound }), "OPTION_OUT_OF_RANGE");
    assert_eq!(refused(OverlayOptions { max_side: 0, ..sound }), "OPTION_OUT_OF_RANGE");
}
