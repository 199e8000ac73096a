//! `demo`: real gRPC with the embedded model and pictures.

use crate::support::{index_map, run, text};

#[test]
fn every_picture_gets_its_overlay_and_mask() {
    let folder = tempfile::tempdir().unwrap();
    let reports = run(&["demo", "--once", "--json", "--output", text(folder.path())]).good().json();
    assert_eq!(reports.len(), 8);
    for report in reports {
        let (width, height, _) = index_map(report["files"]["mask"].as_str().unwrap().as_ref());
        assert_eq!(report["width"], width);
        assert_eq!(report["height"], height);
        let overlay = image::open(report["files"]["overlay"].as_str().unwrap()).unwrap();
        assert!(overlay.width() > width || overlay.height() > height, "no legend: {report}");
        assert!(report["latency"]["total_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(report["categories"].as_array().unwrap().len(), 150);
        let levels = report["rejection"]["levels"].as_array().unwrap();
        assert!(levels[2]["survivors"].as_array().unwrap().len() < 150, "nothing is rejected: {report}");
        let [with, without] = ["decoder_ms", "decoder_ms_without_rejection"].map(|key| report[key].as_f64());
        assert!(with > Some(0.0) && without > Some(0.0), "{with:?} {without:?}");
    }
}

#[test]
fn one_picture_is_shown_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let shown = run(&["demo", "--once", "--picture", "farm", "--output", text(folder.path())]).good().stdout;
    for part in [
        "serving",
        "farm.png",
        "rejection",
        "encode",
        "farm.overlay.png",
        "rejected before the last level",
        "with rejection off",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(!shown.contains("Ctrl-C"), "it does not serve on:\n{shown}");

    let outcome = run(&["demo", "--once", "--picture", "moon", "--output", text(folder.path())]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("no picture \"moon\"; there are farm,"), "{}", outcome.stderr);
}
