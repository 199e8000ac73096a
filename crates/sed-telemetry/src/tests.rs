//! Families as a crate defines and records them, and their output.

use std::time::Duration;

use crate::{
    Counter, CounterByName, Gauge, GaugeByName, Histogram, Info, SecondsTotal, Telemetry,
    Unit::{Bytes, Count, Seconds},
    families, label, markdown,
};

label! {
    /// A door.
    pub(crate) Door: "door" {
        Front = "front",
        Back = "back",
    }
}

label! {
    /// A kind of visitor.
    pub(crate) Visitor: "visitor" {
        Cat = "cat",
        Dog = "dog",
    }
}

families! {
    /// Families of a house.
    pub(crate) struct House {
        /// Visits.
        visits: Counter<(Door, Visitor)> = "sed_visits_total", Count;
        /// Visitors inside.
        inside: Gauge = "sed_inside", Count;
        /// Visitors that wait,
        /// outside.
        waiting: Gauge<Visitor> = "sed_waiting", Count;
        /// Length of a visit.
        visit: Histogram<Door> = "sed_visit_seconds", Seconds, &[0.5, 2.0];
        /// Time that a door was open.
        open: SecondsTotal = "sed_open_seconds_total";
        /// Letters by name.
        letters: CounterByName<Door> = "sed_letters_total", Count, &["name"];
        /// Food by name.
        food: GaugeByName = "sed_food_bytes", Bytes, &["name"];
        /// The house.
        house: Info<2> = "sed_house_info", &["street", "number"];
    }
}

fn telemetry() -> Telemetry {
    Telemetry::new(&[&House::DEFINITIONS]).unwrap()
}

#[track_caller]
fn assert_lines(telemetry: &Telemetry, lines: &[&str]) {
    let text = telemetry.render().unwrap();
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line {line} in\n{text}");
    }
}

#[test]
fn what_is_recorded_is_rendered() {
    let telemetry = telemetry();
    let house = House::new(&telemetry);
    house.visits.add(Door::Back, Visitor::Cat, 2);
    house.inside.set(3.0);
    let mut share = house.waiting.share(Visitor::Dog, 4.0);
    share.set(1.0);
    let gone = house.waiting.share(Visitor::Cat, 7.0);
    drop(gone);
    house.visit.record(Door::Front, Duration::from_secs(1));
    house.open.add(Duration::from_millis(250));
    house.open.add(Duration::from_millis(500));
    house.letters.create("tom");
    house.letters.add("tom", Door::Front, 1);
    house.food.set("tom", 9.0);
    house.house.set(["high street", "7"]);
    // Families that are made again, perhaps by another crate, go on with the same series.
    House::new(&telemetry).visits.add(Door::Back, Visitor::Cat, 1);
    let lines = [
        "sed_visits_total{door=\"back\",visitor=\"cat\"} 3",
        "sed_visits_total{door=\"back\",visitor=\"dog\"} 0",
        "sed_inside 3",
        "# HELP sed_waiting Visitors that wait, outside.",
        "sed_waiting{visitor=\"dog\"} 1",
        "sed_waiting{visitor=\"cat\"} 0",
        "sed_visit_seconds_bucket{door=\"front\",le=\"0.5\"} 0",
        "sed_visit_seconds_bucket{door=\"front\",le=\"2\"} 1",
        "# TYPE sed_open_seconds_total counter",
        "sed_open_seconds_total 0.75",
        "sed_letters_total{name=\"tom\",door=\"front\"} 1",
        "sed_letters_total{name=\"tom\",door=\"back\"} 0",
        "sed_food_bytes{name=\"tom\"} 9",
        "sed_house_info{street=\"high street\",number=\"7\"} 1",
    ];
    assert_lines(&telemetry, &lines);
    telemetry.run_upkeep();
    assert_lines(&telemetry, &lines);
}

#[test]
fn each_telemetry_counts_apart_and_one_that_is_off_not_at_all() {
    let (one, other) = (telemetry(), telemetry());
    House::new(&one).inside.set(1.0);
    House::new(&other).inside.set(2.0);
    let off = Telemetry::off();
    House::new(&off).inside.set(3.0);
    House::new(&off).food.set("tom", 9.0);
    assert_lines(&one, &["sed_inside 1"]);
    assert_lines(&other, &["sed_inside 2"]);
    assert_eq!(off.render(), None);
}

#[test]
fn a_histogram_without_buckets_is_an_error() {
    let bare = Histogram::<()>::define("sed_bare", "Nothing.", Count, &[]);
    assert!(Telemetry::new(&[&House::DEFINITIONS, &[bare]]).is_err());
}

#[test]
fn the_page_has_a_row_for_each_family() {
    let page = markdown(&[&House::DEFINITIONS]);
    for row in [
        "| `sed_visits_total` | counter | `door`: front, back; `visitor`: cat, dog | | Visits. |",
        "| `sed_visit_seconds` | histogram | `door`: front, back | 0.5, 2 | Length of a visit. |",
        "| `sed_letters_total` | counter | `name`: free; `door`: front, back | | Letters by name. |",
        "| `sed_inside` | gauge | | | Visitors inside. |",
    ] {
        assert!(page.lines().any(|found| found == row), "no row {row} in\n{page}");
    }
}
