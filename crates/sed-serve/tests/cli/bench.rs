//! `bench`: small loads on a private server with the embedded model, and the model by itself.

use serde_json::Value;

use crate::support::{run, text};

/// Runs a benchmark and gives its one JSON object.
#[track_caller]
fn measured(arguments: &[&str]) -> Value {
    let mut objects = run(&[&["bench"][..], arguments, &["--json"]].concat()).good().json();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks what holds for every load in which all went well.
#[track_caller]
fn assert_sound(result: &Value, attempted: u64) {
    let counts = &result["counts"];
    let ended = ["succeeded", "failed", "dropped", "abandoned"].map(|key| number(&counts[key]));
    assert_eq!(number(&counts["attempted"]), attempted, "{counts}");
    assert_eq!(ended, [attempted, 0, 0, 0], "{counts}");
    assert_eq!(number(&result["latency_ms"]["count"]), attempted);
    let latency = ["min", "p50", "p90", "p95", "p99", "p99_9", "max"]
        .map(|key| result["latency_ms"][key].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    let means =
        ["latency_ms", "server_ms", "client_overhead_ms"].map(|key| result[key]["mean"].as_f64().unwrap());
    assert!(means[0] > means[1], "the client waits for the server: {means:?}");

    let stages = result["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert!(names.starts_with(&["image_decode", "text_embedding", "encode", "cost_map"]), "{names:?}");
    let encode = &stages[2];
    assert!(encode["duration_ms"]["mean"].as_f64().unwrap() > 0.0);
    assert!(encode["batches"]["mean_images"].as_f64().unwrap() >= 1.0);
    // The stages make up most of the server's time.
    let sum: f64 = stages
        .iter()
        .map(|stage| {
            stage["duration_ms"]["mean"].as_f64().unwrap() + stage["wait_ms"]["mean"].as_f64().unwrap()
        })
        .sum();
    assert!(sum > 0.5 * means[1] && sum < 1.1 * means[1], "{sum} of {}", means[1]);
}

#[test]
fn a_closed_loop_is_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("latency.png");
    let load = ["load", "--clients", "2", "--requests", "20", "--warm-up", "0", "--sizes", "160x120,96x128"];
    let mix = ["--categories", "3,6", "--top-k", "0,2", "--encoding", "rle,index-png", "--plot", text(&plot)];
    let report = measured(&[&load[..], &mix].concat());
    let result = &report["result"];
    assert_sound(result, 20);
    let throughput = result["throughput"].as_f64().unwrap();
    let seconds = result["seconds"].as_f64().unwrap();
    assert!((throughput * seconds - 20.0).abs() < 1e-6, "{throughput} in {seconds} s");

    assert_eq!(report["parameters"]["pace"]["clients"], 2);
    assert_eq!(report["parameters"]["mix"]["pictures"].as_array().unwrap().len(), 16);
    assert_eq!(report["server"]["model"], "sed-tiny");
    assert!(number(&report["machine"]["cores"]) >= 1);
    // The words were embedded before the run.
    assert_eq!(number(&result["text_cache"]["misses"]), 0);
    assert!(number(&result["text_cache"]["hits"]) >= 20 * 3);
    let picture = image::open(&plot).unwrap();
    assert_eq!((picture.width(), picture.height()), (1920, 1200));
}

#[test]
fn an_open_loop_counts_from_when_requests_were_due() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("latency.svg");
    let load = ["load", "--rate", "200", "--requests", "20", "--warm-up", "0", "--words", "sky, grass"];
    let report = measured(&[&load[..], &["--plot", text(&plot)]].concat());
    assert_sound(&report["result"], 20);
    assert_eq!(report["parameters"]["pace"]["rate"], 200.0);
    // Latency holds the time until a request was sent.
    let mean = |key: &str| report["result"][key]["mean"].as_f64().unwrap();
    let parts = mean("send_delay_ms") + mean("server_ms") + mean("client_overhead_ms");
    assert!((mean("latency_ms") / parts - 1.0).abs() < 0.01, "{} of {parts}", mean("latency_ms"));
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.contains("Latency of sed-tiny") && svg.contains("</svg>"));
}

#[test]
fn what_fails_is_counted_by_its_reason() {
    let load =
        ["bench", "load", "--requests", "6", "--warm-up", "0", "--vocabulary", "no-such-list", "--json"];
    let outcome = run(&load);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let report = outcome.json().remove(0);
    assert_eq!(number(&report["result"]["counts"]["failed"]), 6);
    let error = &report["result"]["errors"][0];
    assert_eq!((&error["code"], &error["reason"]), (&"NotFound".into(), &"VOCABULARY_NOT_FOUND".into()));

    let outcome = run(&["bench", "load", "--server", "http://127.0.0.1:9", "--requests", "1"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("cannot reach http://127.0.0.1:9"), "{}", outcome.stderr);
}

#[test]
fn a_sweep_names_its_knee() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("sweep.svg");
    let sweep = ["sweep", "--steps", "1,2", "--requests", "8", "--warm-up", "0", "--words", "sky, grass"];
    let report = measured(&[&sweep[..], &["--plot", text(&plot)]].concat());
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["load"].as_f64().unwrap()).collect::<Vec<_>>(), [1.0, 2.0]);
    steps.iter().for_each(|step| assert_sound(&step["result"], 8));
    assert!(number(&report["knee"]) < 2);
    assert!(std::fs::read_to_string(&plot).unwrap().contains("knee: closed loop"));
}

#[test]
fn the_model_alone_is_measured_by_stage() {
    let model = ["model", "--batch", "1,2", "--categories", "5", "--top-k", "0", "--rounds", "2"];
    let report = measured(&model);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for (result, batch) in results.iter().zip([1, 2]) {
        assert_eq!((number(&result["batch"]), number(&result["rounds"])), (batch, 2));
        let stages = result["stages"].as_array().unwrap();
        assert_eq!(stages.len(), 6);
        let stages: Vec<f64> = stages.iter().map(|stage| stage["median_ms"].as_f64().unwrap()).collect();
        assert!(stages.iter().all(|time| *time > 0.0), "{stages:?}");
        let (rate, time) = (&result["images_per_second"], &result["batch_ms"]);
        let images = rate.as_f64().unwrap() * time.as_f64().unwrap() / 1e3;
        assert!((images - batch as f64).abs() < 1e-6, "{images} images in a batch of {batch}");
        assert_eq!(result["survivors"], serde_json::json!([5.0, 5.0, 5.0]), "rejection is off");
        assert!(result["encoder_gflops"].as_f64().unwrap() > 0.0);
    }
    assert!(report["model"]["gmac"]["encoder"].as_f64().unwrap() > 0.1);
}

#[test]
fn the_service_is_compared_with_the_model_alone() {
    let load = ["load", "--clients", "2", "--requests", "4", "--warm-up", "0", "--categories", "4"];
    let report = measured(&[&load[..], &["--against-model", "--turns", "2"]].concat());
    assert_sound(&report["result"], 8);
    let against = &report["against_model"];
    assert_eq!(against["rounds"].as_array().unwrap().len(), 2);
    let rates = ["model_images_per_second", "service_images_per_second", "ratio"]
        .map(|key| against[key].as_f64().unwrap());
    assert!(rates[0] > 0.0 && (rates[1] / rates[0] - rates[2]).abs() < 1e-9, "{rates:?}");
}

#[test]
fn the_table_says_where_the_time_went() {
    let load = ["bench", "load", "--clients", "1", "--requests", "3", "--warm-up", "0"];
    let table = run(&load).good().stdout;
    for part in
        ["images/s", "closed loop, 1 client", "3 answered", "p99.9", "decode level 3", "from the cache"]
    {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    assert!(!table.contains('\u{1b}'), "colours in a pipe:\n{table}");
}
