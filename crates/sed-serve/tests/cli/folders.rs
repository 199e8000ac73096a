//! `segment` over folders, with the embedded model: what is read, named, skipped and left when it is ended.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    eval::example,
    support::{Outcome, run, sed_serve, text},
};

/// A folder of small pictures, with names twice and files that are none.
struct Photos {
    root: TempDir,
}

impl Photos {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let photos = Self { root };
        for folder in ["a", "b/c"] {
            fs::create_dir_all(photos.input().join(folder)).unwrap();
        }
        let picture = image::open(example("farm.png")).unwrap().thumbnail(64, 48);
        for name in ["x.png", "a/x.png", "b/c/x.png"] {
            picture.save(photos.input().join(name)).unwrap();
        }
        picture.to_rgb8().save(photos.input().join("b/x.jpg")).unwrap();
        for name in ["notes.txt", "._x.png", ".hidden"] {
            fs::write(photos.input().join(name), "no picture").unwrap();
        }
        photos
    }

    fn input(&self) -> PathBuf {
        self.root.path().join("photos")
    }

    fn output(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn segment(&self, more: &[&str]) -> Outcome {
        let (input, output) = (self.input(), self.output());
        let how =
            ["segment", text(&input), "--words", "sky, grass, tree, road, cow", "--output", text(&output)];
        run(&[&how[..], more].concat())
    }

    fn coco(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.output().join(file)).unwrap()).unwrap()
    }
}

fn file_names(coco: &Value) -> Vec<&str> {
    let images = coco["images"].as_array().unwrap();
    images.iter().map(|image| image["file_name"].as_str().unwrap()).collect()
}

#[test]
fn what_is_left_out_is_named_and_subfolders_are_mirrored() {
    let photos = Photos::new();
    let flat = photos.segment(&["--json"]).good();
    assert_eq!(flat.json().len(), 1);
    for part in ["left out: 1 file, ", "notes.txt", "left out: 2 subfolders, which --recursive includes"] {
        assert!(flat.stderr.contains(part), "no {part:?} in\n{}", flat.stderr);
    }
    assert!(!flat.stderr.contains("hidden") && !flat.stderr.contains("._x"), "{}", flat.stderr);

    let deep = photos.segment(&["--recursive", "--json", "--jobs", "3"]).good();
    let pictures: Vec<String> =
        deep.json().iter().map(|report| report["picture"].as_str().unwrap().replace('\\', "/")).collect();
    let order = ["photos/x.png", "photos/a/x.png", "photos/b/x.jpg", "photos/b/c/x.png"];
    assert!(pictures.iter().zip(order).all(|(path, end)| path.ends_with(end)), "{pictures:?}");
    for name in ["x", "a/x", "b/x", "b/c/x"] {
        for ending in ["mask.png", "overlay.png", "report.json"] {
            assert!(photos.output().join(format!("{name}.{ending}")).exists(), "{name}.{ending}");
        }
    }
}

#[test]
fn what_is_done_is_skipped_and_coco_files_are_gone_on_with() {
    let photos = Photos::new();
    let broken = photos.input().join("a/broken.png");
    fs::write(&broken, "no picture").unwrap();
    let how = ["--recursive", "--format", "coco-instances,coco-panoptic", "--skip-existing", "--json"];
    let first = photos.segment(&how);
    assert_eq!(first.code, 1);
    assert!(first.stderr.contains("broken.png: image.encoded"), "{}", first.stderr);
    assert!(first.stderr.contains("1 of 5 pictures failed"), "{}", first.stderr);
    let before = photos.coco("coco-instances.json");
    assert_eq!(file_names(&before), ["x.png", "a/x.png", "b/x.jpg", "b/c/x.png"]);

    fs::copy(photos.input().join("x.png"), &broken).unwrap();
    let second = photos.segment(&how).good();
    assert!(second.stderr.contains("skipped: 4 of 5 pictures"), "{}", second.stderr);
    assert_eq!(second.json().len(), 1);
    let after = photos.coco("coco-instances.json");
    assert_eq!(file_names(&after), ["x.png", "a/x.png", "b/x.jpg", "b/c/x.png", "a/broken.png"]);
    assert_eq!(after["annotations"].as_array().unwrap()[..2], before["annotations"].as_array().unwrap()[..2]);
    let panoptic = photos.coco("coco-panoptic.json");
    assert_eq!(file_names(&panoptic), file_names(&after));

    // Nothing is left to do.
    let third = photos.segment(&how).good();
    assert!(third.stdout.is_empty() && third.stderr.contains("skipped: 5 of 5"), "{}", third.stderr);
    assert_eq!(photos.coco("coco-instances.json"), after);

    // A picture whose file went away is done again; other words are refused, and change nothing.
    let (input, output) = (photos.input(), photos.output());
    fs::remove_file(output.join("coco-panoptic/x.png")).unwrap();
    let words = ["segment", text(&input), "--words", "a, b, c, d, e", "--output", text(&output)];
    let refused = run(&[&words[..], &how].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("was made with other words"), "{}", refused.stderr);
    assert_eq!(photos.coco("coco-instances.json"), after);
    assert!(parts(&output).is_empty() && !output.join("coco-panoptic/x.png").exists());
    assert_eq!(photos.segment(&how).good().json().len(), 1);
    let again = photos.coco("coco-panoptic.json");
    assert_eq!(file_names(&again), ["a/x.png", "b/x.jpg", "b/c/x.png", "a/broken.png", "x.png"]);
    assert_eq!(again["annotations"].as_array().unwrap().len(), 5);
}

/// Files that were not finished.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "part")).collect()
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_whole_files() {
    let photos = Photos::new();
    for number in 0..200 {
        fs::copy(photos.input().join("x.png"), photos.input().join(format!("y{number:03}.png"))).unwrap();
    }
    let (input, output) = (photos.input(), photos.output());
    let how = ["segment", text(&input), "--words", "sky, grass, tree, road, cow", "--output", text(&output)];
    let more = ["--format", "coco-instances,coco-panoptic", "--json", "--jobs", "2"];
    let mut command = sed_serve(&[&how[..], &more].concat());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("ended by SIGINT") && stderr.contains("--skip-existing goes on"), "{stderr}");
    let done = 1 + rest.lines().count();
    assert!(done < 201, "all were done before the signal");
    let [instances, panoptic] = ["coco-instances.json", "coco-panoptic.json"].map(|file| photos.coco(file));
    assert_eq!(file_names(&instances).len(), done);
    assert_eq!(file_names(&panoptic).len(), done);
    for annotation in panoptic["annotations"].as_array().unwrap() {
        let png = output.join("coco-panoptic").join(annotation["file_name"].as_str().unwrap());
        image::open(png).unwrap();
    }
    assert!(parts(&output).is_empty() && parts(&output.join("coco-panoptic")).is_empty());
}

#[test]
fn the_run_ends_where_every_picture_would_fail() {
    let photos = Photos::new();
    let outcome = photos.segment(&["--recursive", "--threshold", "no such word=0.5"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("the run ends early"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("no such word").count(), 1, "{}", outcome.stderr);
}
