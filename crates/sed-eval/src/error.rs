//! The errors of this crate.

use std::{io, path::PathBuf};

use tokio::task::JoinError;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The fault of a file's content, or of reading it.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of pictures, labels, scenes or calls. Advice names the flags of `sed-serve eval`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A picture cannot be read, or the server did not segment it.
    #[error(transparent)]
    Client(#[from] sed_client::Error),
    /// The mask of an answer cannot be decoded.
    #[error(transparent)]
    Mask(#[from] sed_image::ImageError),
    /// A task panicked.
    #[error("the work on a picture broke down")]
    BrokeDown(#[from] JoinError),
    /// One picture failed.
    #[error("{picture}")]
    Picture {
        /// The picture's file.
        picture: String,
        /// The failure.
        source: Box<Error>,
    },
    /// All pictures failed.
    #[error("none of {0} pictures could be scored")]
    NoneScored(usize),
    /// There is nothing to score.
    #[error("there are no {0}")]
    Nothing(&'static str),
    /// The labels do not fit the vocabulary.
    #[error("no pixel of any label is in the vocabulary; is it counted from --first-label?")]
    NothingLabelled,
    /// The EXIF orientation of a picture cannot be removed.
    #[error("{0}")]
    Exif(&'static str),
    /// The name of a file cannot be compared with others.
    #[error("the name {} is not UTF-8; rename the file", .0.display())]
    NotUtf8(PathBuf),
    /// The folder for masks lies where pictures or labels are looked for.
    #[error(
        "the folder {} for masks lies in {}, where they would count as pictures or labels; name another",
        .0.display(), .1.display()
    )]
    Inside(PathBuf, PathBuf),
    /// A label cannot be read.
    #[error("cannot read the label {}", file.display())]
    Label {
        /// The file.
        file: PathBuf,
        /// The fault.
        source: Cause,
    },
    /// Label and picture differ in size.
    #[error(
        "the label {} is {} × {} and the picture {} × {}; they must be of one size{advice}",
        file.display(), label.0, label.1, picture.0, picture.1
    )]
    Sizes {
        /// The label's file.
        file: PathBuf,
        /// Width and height of the label in pixels.
        label: (u32, u32),
        /// Those of the picture.
        picture: (u32, u32),
        /// A remedy where the sides are swapped, else empty.
        advice: &'static str,
    },
    /// A label has an index beyond the words of its scene.
    #[error("the label {} has a pixel of word {word}, but the last word is {last}", file.display())]
    Word {
        /// The label's file.
        file: PathBuf,
        /// The index.
        word: u16,
        /// The largest index that would be right.
        last: usize,
    },
    /// The folder of labels does not exist.
    #[error("the folder of labels {} is not there", .0.display())]
    NoLabels(PathBuf),
    /// An answer lacks the scores of its pixels.
    #[error("the server sent no scores; is its version another than this program's?")]
    NoScores,
    /// A picture has no label.
    #[error(
        "{} has no label: there is no {stem}.png (or .tif) in {}; {bare} of the pictures have none: name \
         those that have one with --list",
        picture.display(), labels.display()
    )]
    NoLabel {
        /// The picture's file.
        picture: PathBuf,
        /// The label's name without the ending.
        stem: String,
        /// The folder of labels.
        labels: PathBuf,
        /// Number of pictures without a label.
        bare: usize,
    },
    /// There is no picture to score.
    #[error(
        "the folder {} holds no pictures{}",
        folder.display(),
        ending_in(suffix)
    )]
    NoPictures {
        /// The folder.
        folder: PathBuf,
        /// The end of the names of pictures.
        suffix: String,
    },
    /// A label holds a value that means nothing in its dataset.
    #[error(
        "the label {} holds the value {value}, which is neither a category ({first} to {last}) nor ignored \
         ({}); is it the one that the script of the dataset writes?",
        file.display(), listed(ignored)
    )]
    Value {
        /// The label's file.
        file: PathBuf,
        /// The value.
        value: u16,
        /// The value of the first category.
        first: u16,
        /// That of the last.
        last: usize,
        /// The values of ignored pixels.
        ignored: &'static [u16],
    },
    /// A list of names cannot be read.
    #[error("cannot read the list of names {}", file.display())]
    List {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A list of names is empty.
    #[error("the list {} holds no name", .0.display())]
    EmptyList(PathBuf),
    /// Names of a list have no picture.
    #[error(
        "{missing} of the {names} names in {} are of no picture in {}, such as {first}",
        file.display(), pictures.display()
    )]
    NotListed {
        /// The list.
        file: PathBuf,
        /// Number of names without a picture.
        missing: usize,
        /// Number of all names.
        names: usize,
        /// The first of the missing.
        first: String,
        /// The folder of pictures.
        pictures: PathBuf,
    },
    /// A name of a list has two pictures.
    #[error(
        "the name {name} in {} is that of {first} and of {second}; write the folder, too",
        file.display()
    )]
    Ambiguous {
        /// The list.
        file: PathBuf,
        /// The name.
        name: String,
        /// One of the pictures.
        first: String,
        /// The other.
        second: String,
    },
    /// A half of an official dataset is missing.
    #[error(
        "the {half} of {name} are not there: {} is no folder{}",
        folder.display(),
        made_by(script)
    )]
    NoDataset {
        /// The dataset.
        name: &'static str,
        /// `pictures` or `labels`.
        half: &'static str,
        /// The folder that was looked for.
        folder: PathBuf,
        /// The script that makes it, or nothing.
        script: &'static str,
    },
    /// Pictures and labels of an official dataset have no name in common.
    #[error(
        "{name} has no picture with a label: {} and {} have no name in common",
        pictures.display(), labels.display()
    )]
    NoPairs {
        /// The dataset.
        name: &'static str,
        /// The folder of pictures.
        pictures: PathBuf,
        /// The folder of labels.
        labels: PathBuf,
    },
    /// A folder cannot be listed.
    #[error("cannot list the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The JSON file of a scene is wrong.
    #[error("cannot read the words of a scene in {}", file.display())]
    Scene {
        /// The file.
        file: PathBuf,
        /// The fault.
        source: Cause,
    },
    /// A scene lacks its picture or its label.
    #[error("the scene {} lacks {}", scene.display(), file.display())]
    Incomplete {
        /// The scene's JSON file.
        scene: PathBuf,
        /// The missing file.
        file: PathBuf,
    },
    /// A list of words in the JSON file of a scene is none.
    #[error("{}: \"{count}\" is no list of words", file.display())]
    NotAList {
        /// The file.
        file: PathBuf,
        /// The name of the list.
        count: usize,
        /// The fault.
        source: serde_json::Error,
    },
    /// A scene lacks a list that others of its condition have.
    #[error("{} has no list \"{count}\", as other scenes of {condition} have", file.display())]
    NoList {
        /// The scene's JSON file.
        file: PathBuf,
        /// The name of the list.
        count: usize,
        /// The condition.
        condition: String,
    },
    /// No scene of a condition has a list of this many words with categories.
    #[error("{condition} has no list of {wanted} words with categories; there are {there:?}")]
    NoCount {
        /// The condition.
        condition: String,
        /// The number of words, or `a` for any.
        wanted: String,
        /// The numbers that there are.
        there: Vec<usize>,
    },
    /// Facts or counts cannot be written as JSON.
    #[error("cannot write the counts as JSON")]
    Encoding {
        /// The fault.
        source: serde_json::Error,
    },
    /// A file of counts cannot be used.
    #[error("cannot use {}", file.display())]
    Saved {
        /// The file.
        file: PathBuf,
        /// The fault.
        source: Cause,
    },
    /// A file that is to hold counts holds something else.
    #[error("{} holds no counts of an eval; name another file, or one that is not there yet", .0.display())]
    NoCounts(PathBuf),
    /// A file is of another run.
    #[error("{} is of another run: {differences}; run it as before, or name another place", file.display())]
    OtherRun {
        /// The file.
        file: PathBuf,
        /// The differences, each with both values.
        differences: String,
    },
    /// A mask cannot be written.
    #[error("cannot write {}", file.display())]
    Prediction {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file with the name of a mask exists and is of unknown origin.
    #[error("{} is there already and may be of another run; name another folder, or remove it", .0.display())]
    Taken(PathBuf),
    /// Two pictures would have one mask.
    #[error("{} and {} would both be the mask {}; rename a picture", pictures[0], pictures[1], file.display())]
    OneMask {
        /// The mask's file.
        file: PathBuf,
        /// The names of the pictures.
        pictures: [String; 2],
    },
    /// The scenes have more categories than indices.
    #[error("the scenes have more than {0} categories")]
    TooManyCategories(usize),
}

fn ending_in(suffix: &str) -> String {
    if suffix.is_empty() { String::new() } else { format!(" whose names end in {suffix}") }
}

fn made_by(script: &str) -> String {
    if script.is_empty() {
        return String::new();
    }
    format!("; datasets/{script} of SED's repository makes it")
}

fn listed(values: &[u16]) -> String {
    let values: Vec<String> = values.iter().map(u16::to_string).collect();
    values.join(", ")
}
