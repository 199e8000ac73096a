//! The errors of this crate.

use std::{io, path::PathBuf};

use sed_model::ModelError;
use tokio::task::JoinError;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a mix's pictures and words, or of the model. Advice names the flags of `sed-serve bench`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mix has too many pictures.
    #[error("{pictures} pictures are more than {most}; give fewer")]
    TooManyPictures {
        /// Number of pictures.
        pictures: usize,
        /// The largest number.
        most: usize,
    },
    /// A mix has too many pictures at all sizes together.
    #[error("{pictures} pictures in {sizes} sizes are more than {most}; give fewer")]
    TooManySizes {
        /// Number of pictures.
        pictures: usize,
        /// Number of sizes.
        sizes: usize,
        /// The largest number of both together.
        most: usize,
    },
    /// The files of a mix are too large to be held in memory.
    #[error("the pictures have more than {0} bytes; give fewer")]
    TooManyBytes(usize),
    /// The scaled pictures of a mix are too large to be held in memory.
    #[error("the pictures have {bytes} bytes, more than {most}; give fewer or smaller sizes")]
    ScaledTooLarge {
        /// Their size in bytes.
        bytes: usize,
        /// The largest size.
        most: usize,
    },
    /// A picture's file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A picture cannot be decoded or scaled.
    #[error("{name}")]
    Picture {
        /// The picture.
        name: String,
        /// The fault.
        source: Box<Error>,
    },
    /// A picture is refused.
    #[error(transparent)]
    Image(#[from] sed_image::ImageError),
    /// A scaled picture cannot be encoded.
    #[error(transparent)]
    Encode(#[from] image::ImageError),
    /// The server has no vocabularies to draw from.
    #[error("the server has no named vocabularies; give --words or --categories")]
    NoVocabularies,
    /// No built-in vocabulary has this name.
    #[error("there is no vocabulary {name:?}; there are {known}")]
    NoVocabulary {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A vocabulary of this size cannot be drawn.
    #[error("--categories {size} cannot be: there are {most} words to draw from, and 1 is the least")]
    VocabularySize {
        /// The size.
        size: usize,
        /// Number of words.
        most: usize,
    },
    /// A checkpoint does not become a model.
    #[error("cannot load {origin}")]
    Load {
        /// The checkpoint.
        origin: String,
        /// The fault.
        source: ModelError,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] candle_core::Error),
    /// The thread of the model panicked.
    #[error("the model alone broke down")]
    BrokeDown(#[from] JoinError),
}
