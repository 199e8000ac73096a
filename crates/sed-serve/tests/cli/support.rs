//! The command, its output, and the reference outputs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The command, in an environment that sets nothing but the GPU under test, if there is one:
/// `SED_TEST_DEVICE=cuda:0`.
pub(crate) fn sed_serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sed-serve"));
    command.env_clear().args(arguments);
    if let Some(device) = std::env::var_os("SED_TEST_DEVICE") {
        command.env("SED_DEVICE", device);
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|folders| ("LD_LIBRARY_PATH", folders)));
    }
    command
}

/// Exit code and output of a run of the command.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Self {
            code: status.code().expect("the command was ended by a signal"),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Fails unless everything was done.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON objects on standard output, one a line.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    Outcome::of(&mut sed_serve(arguments))
}

/// A file of the reduced model's reference outputs.
pub(crate) fn nano(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/nano").join(name)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The metadata of the five-category case of the reference outputs.
pub(crate) fn five_categories() -> Value {
    let meta: Value = serde_json::from_slice(&std::fs::read(nano("meta.json")).unwrap()).unwrap();
    meta["cases"]["sed_nano.c5"].clone()
}

/// The words of that case as a file in the official form.
pub(crate) fn official_words(folder: &Path) -> PathBuf {
    let path = folder.join("words.txt");
    let lines = five_categories()["classes"].clone();
    let lines: Vec<String> = serde_json::from_value(lines).unwrap();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// An index map: width, height and the category of every pixel.
pub(crate) fn index_map(path: &Path) -> (u32, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    // A palette stays a palette: the indices are wanted, not the colours.
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    assert_eq!(reader.output_color_type().1, png::BitDepth::Eight);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels.len(), (info.width * info.height) as usize);
    (info.width, info.height, pixels)
}

/// Fails unless two index maps agree but for `most` pixels.
#[track_caller]
pub(crate) fn assert_same_map(got: &Path, want: &Path, most: u64) {
    let (got, want) = (index_map(got), index_map(want));
    assert_eq!((got.0, got.1), (want.0, want.1));
    let different = got.2.iter().zip(&want.2).filter(|(got, want)| got != want).count() as u64;
    assert!(different <= most, "{different} pixels differ, at most {most} are near ties");
}
