//! `bench`: small loads on a private server with the embedded model, and the model by itself.

use serde_json::Value;

use crate::support::{run, text};

/// Runs a benchmark and returns its one JSON object.
#[track_caller]
fn measured(arguments: &[&str]) -> Value {
    let mut objects = run(&[&["bench"][..], arguments, &["--json"]].concat()).good().json();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks the figures that hold for every load without failures.
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
    let folder = tempfile::tempdir().unwrap();
    let (plot, file) = (folder.path().join("cost.png"), folder.path().join("grid.json"));
    let grid = ["model", "--batch", "1,2", "--categories", "3,5", "--top-k", "off,2", "--dtype", "f32,bf16"];
    let rest = ["--rounds", "2", "--threads", "1", "--plot", text(&plot), "--json-file", text(&file)];
    let report = measured(&[&grid[..], &rest].concat());
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, report);

    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 2 * 2 * 2 * 2);
    assert_eq!(report["skipped"], serde_json::json!([]));
    let float = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let peak = &report["peak"];
    assert_eq!(number(&peak["threads"]), 1);
    for result in results {
        assert_eq!((&result["device"], number(&result["rounds"])), (&"cpu".into(), 2));
        let stages = result["stages"].as_array().unwrap();
        let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
        assert_eq!(names[..2], ["encode", "cost_map"]);
        assert_eq!((names.len(), names[5]), (6, "finish"));
        assert!(stages.iter().all(|stage| float(&stage["median_ms"]) > 0.0), "{stages:?}");
        assert!(stages[5]["work"].is_null());
        let gflop: f64 = stages[..5].iter().map(|stage| float(&stage["work"]["gflop"])).sum();
        assert!((gflop / float(&result["work"]["gflop"]) - 1.0).abs() < 1e-9);
        let images = float(&result["images_per_second"]) * float(&result["batch_ms"]) / 1e3;
        assert!((images - float(&result["batch"])).abs() < 1e-6, "{images} images in {}", result["batch"]);

        let categories = float(&result["categories"]);
        let survivors: Vec<f64> = result["survivors"].as_array().unwrap().iter().map(float).collect();
        assert!(survivors.iter().all(|left| (1.0..=categories).contains(left)), "{survivors:?}");
        if result["top_k"] == 0 {
            assert_eq!(survivors, [categories; 3], "rejection is off");
        }
        // Both counts are of the work that was there.
        let [ours, reference] = ["gflop", "reference_gflop"].map(|key| float(&result["work"][key]));
        assert!(ours > 0.1 && reference > 0.1, "{ours} and {reference}");
        let encode = &stages[0]["work"];
        let format_peak = match result["dtype"].as_str().unwrap() {
            "bf16" if !peak["bf16_gflops"].is_null() => float(&peak["bf16_gflops"]),
            _ => float(&peak["f32_gflops"]),
        };
        let share = float(&encode["gflops"]) / format_peak;
        assert!((share - float(&encode["share_of_peak"])).abs() < 1e-9);
    }
    for key in ["rearranged", "reference"] {
        assert!(float(&report["model"]["gmac"][key]["image"]) > 0.1);
    }
    // For both number formats and batches: over categories and over survivors.
    let costs = report["costs"].as_array().unwrap();
    assert_eq!(costs.iter().filter(|cost| cost["over"] == "categories").count(), 4);
    assert!(
        costs.iter().all(|cost| float(&cost["floor_ms"]) > 0.0 && float(&cost["line"]["r_squared"]) <= 1.0)
    );
    assert_eq!(report["text"].as_array().unwrap().len(), 2);
    assert_eq!(number(&report["text"][0]["categories"]), 5);
    assert!(
        float(&report["text"][0]["work"]["reference_gflop"]) > float(&report["text"][0]["work"]["gflop"])
    );
    let picture = image::open(&plot).unwrap();
    assert_eq!((picture.width(), picture.height()), (1920, 1200));
}

#[test]
fn the_models_table_has_times_arithmetic_and_costs() {
    let model = ["bench", "model", "--categories", "2,4", "--top-k", "off", "--rounds", "1"];
    let table = run(&model).good().stdout;
    let parts = ["peak in registers", "images/s", "GFLOP/s (share", "by least squares", "VmHWM", "level 3"];
    for part in parts {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let outcome = run(&["bench", "model", "--categories", "848"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("ask for fewer with --categories"), "{}", outcome.stderr);
    let outcome = run(&["bench", "model", "--random", "sed-b", "--model", "x.pth"]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
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
