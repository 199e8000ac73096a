//! `eval` with files: runs that are killed and go on, masks, Markdown, and warnings of unusual labels.

use std::{
    fs::{copy, create_dir, read, read_to_string, write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    eval::{Dataset, WORDS, answer, example},
    server::Server,
    support::{index_map, nano, run, sed_serve, text},
};

/// Labels that differ from the answers in some pixels.
fn changed(at: usize, category: u8) -> u16 {
    if at.is_multiple_of(5) { u16::from(category + 1) % WORDS.len() as u16 } else { u16::from(category) }
}

/// Kills a process and waits for its end.
fn kill(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// Waits until a file has this many lines.
fn wait_for_lines(file: &Path, count: usize) {
    let begun = Instant::now();
    while read(file).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() < count {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} stays short", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines(file: &Path) -> usize {
    read_to_string(file).unwrap().lines().count()
}

/// The result of a run on a dataset without its times.
fn figures(outcome: &crate::support::Outcome) -> Value {
    let mut run = outcome.json().remove(0)["dataset"].take();
    for timed in ["images_per_second", "mean_latency_ms", "resumed"] {
        assert!(run.as_object_mut().unwrap().remove(timed).is_some(), "{timed}");
    }
    run
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_figures() {
    let dataset = Dataset::new(changed);
    let [pictures, labels] = ["pictures", "labels"].map(|folder| dataset.folder(folder));
    for index in 0..6 {
        let name = format!("farm-{index}.png");
        [&pictures, &labels].iter().for_each(|folder| {
            copy(folder.join("farm.png"), folder.join(&name)).unwrap();
        });
    }
    let counts = dataset.folder("counts.jsonl");
    let words = WORDS.join(",");
    let whole = dataset.eval(&["--words", &words, "--json"]).good();

    let resumed = ["--words", &words, "--json", "--jobs", "1", "--resume", text(&counts)];
    let how = [&["eval", text(&pictures), "--labels", text(&labels)][..], &resumed].concat();
    let process = sed_serve(&how).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_lines(&counts, 3);
    kill(process);
    let done = lines(&counts) - 1;
    assert!(done < 8, "the run was over before it was killed");
    // As if the end of the process had cut a line.
    let torn = [read(&counts).unwrap(), b"{\"picture\":\"farm-5.png\",\"cou".to_vec()].concat();
    write(&counts, torn).unwrap();

    let goes_on = dataset.eval(&resumed).good();
    assert_eq!(goes_on.json()[0]["dataset"]["resumed"], json!(done));
    assert_eq!(figures(&goes_on), figures(&whole));
    assert_eq!(lines(&counts), 9);
    // Nothing is left to ask.
    let again = dataset.eval(&resumed).good();
    assert_eq!(again.json()[0]["dataset"]["resumed"], json!(8));
    assert_eq!(figures(&again), figures(&whole));
    assert_eq!(again.json()[0]["model"], whole.json()[0]["model"]);

    let refused = |more: &[&str], want: &str| {
        let before = read(&counts).unwrap();
        let outcome = dataset.eval(&[more, &["--resume", text(&counts)]].concat());
        assert_eq!(outcome.code, 1, "{}", outcome.stdout);
        assert!(outcome.stderr.contains(want), "no {want:?} in {}", outcome.stderr);
        assert_eq!(read(&counts).unwrap(), before);
    };
    refused(&["--words", &words, "--top-k", "3"], "top-k was 8 and is 3");
    refused(&["--words", &words, "--first-label", "1"], "first-label was 0 and is 1");
    refused(&["--words", "cow, sky"], "words was sha256:");
}

#[test]
fn masks_are_those_of_segment_and_other_runs_are_not_replaced() {
    let dataset = Dataset::new(changed);
    let (masks, counts) = (dataset.folder("masks"), dataset.folder("counts.jsonl"));
    let words = WORDS.join(",");
    let how = ["--words", &words, "--save-predictions", text(&masks)];
    dataset.eval(&how).good();
    for name in ["farm.png", "beach.png"] {
        assert_eq!(index_map(&masks.join(name)), answer(&example(name), &WORDS, &[]), "{name}");
    }
    let run: Value = serde_json::from_slice(&read(masks.join("run.json")).unwrap()).unwrap();
    assert_eq!(run["categories"], json!(WORDS));

    let outcome = dataset.eval(&["--words", "cow, sky", "--save-predictions", text(&masks)]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("is of another run: words was sha256:"), "{}", outcome.stderr);
    let outcome = dataset.eval(&how).good();
    assert!(outcome.stderr.contains("2 masks of an earlier run"), "{}", outcome.stderr);

    // A picture whose mask is missing is not done.
    let both = [&how[..], &["--resume", text(&counts), "--json"]].concat();
    dataset.eval(&both).good();
    std::fs::remove_file(masks.join("farm.png")).unwrap();
    let outcome = dataset.eval(&both).good();
    assert_eq!(outcome.json()[0]["dataset"]["resumed"], json!(1));
    assert!(masks.join("farm.png").is_file());

    let mine = dataset.folder("mine");
    create_dir(&mine).unwrap();
    write(mine.join("farm.png"), "mine").unwrap();
    let outcome = dataset.eval(&["--words", &words, "--save-predictions", text(&mine)]);
    assert_eq!((outcome.code, read(mine.join("farm.png")).unwrap()), (1, b"mine".to_vec()));
    assert!(outcome.stderr.contains("farm.png is there already"), "{}", outcome.stderr);
}

#[test]
fn confusions_and_markdown_stand_beside_the_figures() {
    // Every fifth pixel of a category is labelled as the next one.
    let dataset = Dataset::new(changed);
    let words = WORDS.join(",");
    let run = figures(&dataset.eval(&["--words", &words, "--json"]).good());
    let found = run["confusions"].as_array().unwrap();
    assert!(!found.is_empty());
    let shares: Vec<f64> = found.iter().map(|one| one["share"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted_by(|left, right| left >= right) && shares.iter().all(|share| *share > 1.0));
    let of = |name: &Value| WORDS.iter().position(|word| name == word).unwrap() as u16;
    for one in found {
        let (label, taken) = (of(&one["category"]), of(&one["taken_for"]));
        let labelled = dataset.pixels().iter().filter(|(_, pixel)| *pixel == label).count();
        let given =
            dataset.pixels().iter().filter(|(answer, pixel)| (u16::from(*answer), *pixel) == (taken, label));
        let share = 100.0 * given.count() as f64 / labelled as f64;
        assert!((one["share"].as_f64().unwrap() - share).abs() < 1e-9, "{one}");
    }
    let table = dataset.eval(&["--words", &words]).good().stdout;
    assert!(
        table.contains("taken for") && table.contains(found[0]["taken_for"].as_str().unwrap()),
        "{table}"
    );

    let how = ["--words", &words, "--markdown", "--resize", "official", "--top-k", "0"];
    let table = dataset.eval(&how).good().stdout;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[0].starts_with("| model | dataset | protocol |") && rows[1].starts_with("|---|"), "{table}");
    assert!(rows[2].starts_with("| sed-tiny | own, 6 words | official | 2 | "), "{table}");
    assert!(rows.iter().all(|row| row.matches('|').count() == 11), "{table}");
    let how = ["--vocabulary", "ade20k-150", "--markdown", "--limit", "1", "--top-k", "8"];
    let table = dataset.eval(&how).good().stdout;
    assert!(table.contains("| resize direct, top_k 8, but --limit | 1 | "), "{table}");
    assert!(table.contains("| SED-B 31.6, SED-L 35.2 (fast) |"), "{table}");
}

#[test]
fn labels_of_another_kind_are_remarked_on_once_at_the_end() {
    let words = WORDS.join(",");
    let remarks = |dataset: &Dataset, more: &[&str], want: &[&str], said: &str| {
        let outcome = dataset.eval(&[&["--words", &words, "--json"], more].concat()).good();
        let run = outcome.json().remove(0)["dataset"].take();
        let kinds: Vec<&str> =
            run["warnings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, want);
        assert_eq!(outcome.stderr.matches("warning:").count(), want.len(), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    };
    let from_one = Dataset::new(|at, category| if at == 0 { 6 } else { u16::from(category) + 1 });
    remarks(&from_one, &[], &["counted_from_one"], "give --first-label 1");
    remarks(&from_one, &["--first-label", "1"], &[], "");
    let binary = Dataset::new(|_, category| if category == 1 { 255 } else { 0 });
    remarks(&binary, &[], &["binary_mask"], "binary masks");
    let elsewhere = Dataset::new(|at, category| if at % 10 < 6 { 99 } else { u16::from(category) });
    remarks(&elsewhere, &[], &["outside_vocabulary"], "60 % of the labels' pixels");
}

#[test]
fn files_and_forms_belong_to_labelled_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let folder = text(folder.path());
    let labelled = ["--labels", folder, "--words", "cat"];
    let wrong: [&[&str]; 5] = [
        &["--resume", "x.jsonl"],
        &["--save-predictions", "x"],
        &["--markdown"],
        &["--markdown", "--json"],
        &["--resume", "x.jsonl", "--thresholds"],
    ];
    for (index, arguments) in wrong.iter().enumerate() {
        let of_labels = if index < 3 { &[][..] } else { &labelled[..] };
        let outcome = run(&[&["eval", folder][..], of_labels, arguments].concat());
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.stderr);
    }
}

/// Serves the reduced model at this address.
fn serve(address: &str) -> Server {
    let model = nano("sed_nano.pth");
    let how =
        ["serve", "--model", text(&model), "--json", "--listen", address, "--ops-listen", "127.0.0.1:0"];
    let mut command = sed_serve(&how);
    command.env("SED_BATCH_IMAGES", "1").env("SED_BATCH_PAIRS", "16");
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    Server::of(command)
}

#[test]
fn a_restart_of_the_server_is_outlasted() {
    const PICTURES: usize = 40;
    let root = tempfile::tempdir().unwrap();
    let [pictures, labels] = ["pictures", "labels"].map(|folder| root.path().join(folder));
    [&pictures, &labels].iter().for_each(|folder| create_dir(folder).unwrap());
    let picture: PathBuf = nano("img_b.png");
    let (width, height) = image::image_dimensions(&picture).unwrap();
    for index in 0..PICTURES {
        copy(&picture, pictures.join(format!("{index:02}.png"))).unwrap();
        image::GrayImage::new(width, height).save(labels.join(format!("{index:02}.png"))).unwrap();
    }
    let server = serve("127.0.0.1:0");
    let address = server.ready["address"].as_str().unwrap().to_owned();
    let counts = root.path().join("counts.jsonl");
    let url = format!("http://{address}");
    let how = ["eval", text(&pictures), "--labels", text(&labels), "--words", "cat, sofa", "--jobs", "2"];
    let how = [&how[..], &["--server", &url, "--resume", text(&counts), "--json"]].concat();
    let process = sed_serve(&how).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&counts, 2);
    drop(server);
    let before = lines(&counts) - 1;
    assert!(before < PICTURES, "the run was over before the server was");
    std::thread::sleep(Duration::from_millis(700));
    let _server = serve(&address);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("waiting for the server").count(), 1, "{said}");
    let scores: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(scores["dataset"]["pictures"], json!(PICTURES));
    assert_eq!((&scores["dataset"]["failed"], &scores["dataset"]["resumed"]), (&json!([]), &json!(0)));
    assert_eq!(lines(&counts), PICTURES + 1);
}

#[test]
fn a_server_that_stays_away_ends_the_run_in_its_time() {
    let dataset = Dataset::new(changed);
    let server = serve("127.0.0.1:0");
    let url = format!("http://{}", server.ready["address"].as_str().unwrap());
    let [pictures, labels] = ["pictures", "labels"].map(|folder| dataset.folder(folder));
    for index in 0..30 {
        let name = format!("farm-{index}.png");
        [&pictures, &labels].iter().for_each(|folder| {
            copy(folder.join("farm.png"), folder.join(&name)).unwrap();
        });
    }
    let counts = dataset.folder("counts.jsonl");
    let how = ["eval", text(&pictures), "--labels", text(&labels), "--words", "cat, sofa", "--server", &url];
    let how = [&how[..], &["--resume", text(&counts), "--retry-timeout", "1", "--jobs", "1"]].concat();
    let process = sed_serve(&how).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&counts, 2);
    drop(server);
    let gone = Instant::now();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(gone.elapsed() < Duration::from_secs(30), "{:?}", gone.elapsed());
    assert!(lines(&counts) > 1);
}
