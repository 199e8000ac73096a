//! The model and the pictures inside the program.

use anyhow::Result;
#[cfg(not(feature = "embedded-model"))]
use anyhow::bail;
#[cfg(feature = "embedded-model")]
use sed_model::{checkpoint::Checkpoint, config::SedConfig};
use serde::Deserialize;

use crate::opened_model::OpenedModel;

/// A file of this repository, inside the program.
#[cfg(feature = "embedded-model")]
macro_rules! repository_file {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path))
    };
}

/// Weights and configuration of a model.
#[cfg(feature = "embedded-model")]
struct Embedded {
    weights: &'static [u8],
    config: &'static [u8],
    /// The weights were made by a rule, not by training.
    synthetic: bool,
}

/// The embedded model.
#[cfg(feature = "embedded-model")]
const MODEL: Embedded = Embedded {
    weights: repository_file!("models/sed-tiny/sed-tiny.safetensors"),
    config: repository_file!("models/sed-tiny/config.json"),
    synthetic: false,
};

/// Caveat shown when the embedded model is used.
#[cfg(feature = "embedded-model")]
pub(crate) const CAVEAT: &str = if MODEL.synthetic {
    "the embedded weights are synthetic, made by a rule and not by training: what they find means nothing; \
     give a trained model with --model"
} else {
    "the embedded model is small, made for drawn scenes and not for photographs; give another with --model"
};
#[cfg(not(feature = "embedded-model"))]
pub(crate) const CAVEAT: &str = "this build carries no model; give one with --model";

/// The embedded checkpoint.
#[cfg(feature = "embedded-model")]
pub(crate) fn open() -> Result<OpenedModel> {
    const ORIGIN: &str = "the embedded model";
    let config = SedConfig::from_json(&String::from_utf8_lossy(MODEL.config), ORIGIN)?;
    Ok(OpenedModel { checkpoint: Checkpoint::from_bytes(MODEL.weights, ORIGIN)?, config })
}

/// Fails: this build has no embedded checkpoint.
#[cfg(not(feature = "embedded-model"))]
pub(crate) fn open() -> Result<OpenedModel> {
    bail!("this build carries no model; give one with --model, or build with the feature embedded-model")
}

/// An example picture with words to look for in it.
#[derive(Debug, Deserialize)]
pub(crate) struct Example {
    /// Its file name.
    pub(crate) file: String,
    /// The words, a few of them for things that are not in it.
    pub(crate) words: Vec<String>,
}

impl Example {
    /// The file's name without its ending.
    pub(crate) fn name(&self) -> &str {
        self.file.trim_end_matches(".png")
    }

    /// The file itself.
    pub(crate) fn content(&self) -> Option<&'static [u8]> {
        PICTURES.iter().find(|(file, _)| *file == self.file).map(|(_, content)| *content)
    }
}

#[cfg(feature = "embedded-model")]
const EXAMPLES: &[u8] = repository_file!("models/sed-tiny/examples/examples.json");
#[cfg(not(feature = "embedded-model"))]
const EXAMPLES: &[u8] = b"[]";

#[cfg(feature = "embedded-model")]
const PICTURES: [(&str, &[u8]); 8] = [
    ("farm.png", repository_file!("models/sed-tiny/examples/farm.png")),
    ("beach.png", repository_file!("models/sed-tiny/examples/beach.png")),
    ("street.png", repository_file!("models/sed-tiny/examples/street.png")),
    ("savanna.png", repository_file!("models/sed-tiny/examples/savanna.png")),
    ("winter.png", repository_file!("models/sed-tiny/examples/winter.png")),
    ("living-room.png", repository_file!("models/sed-tiny/examples/living-room.png")),
    ("table.png", repository_file!("models/sed-tiny/examples/table.png")),
    ("sea-floor.png", repository_file!("models/sed-tiny/examples/sea-floor.png")),
];
#[cfg(not(feature = "embedded-model"))]
const PICTURES: [(&str, &[u8]); 0] = [];

/// The pictures of the demo, in their order; none in a build without them.
pub(crate) fn examples() -> Result<Vec<Example>> {
    Ok(serde_json::from_slice(EXAMPLES)?)
}

/// A word that the embedded model was taught.
#[derive(Debug, Deserialize)]
pub(crate) struct Taught {
    /// The word.
    pub(crate) name: String,
    /// Broader words for the same thing, such as `animal`.
    pub(crate) broader: Vec<String>,
}

#[cfg(feature = "embedded-model")]
const TAUGHT: &[u8] = repository_file!("models/sed-tiny/categories.json");
#[cfg(not(feature = "embedded-model"))]
const TAUGHT: &[u8] = b"[]";

/// The words that the embedded model was taught, in their order; none in a build without it.
pub(crate) fn taught() -> Result<Vec<Taught>> {
    Ok(serde_json::from_slice(TAUGHT)?)
}

#[cfg(all(test, feature = "embedded-model"))]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_model_fits_its_configuration() {
        let OpenedModel { checkpoint, config } = open().unwrap();
        checkpoint.check(&config).unwrap();
    }

    #[test]
    fn every_example_has_its_picture_and_every_picture_its_words() {
        let examples = examples().unwrap();
        assert_eq!(examples.len(), PICTURES.len());
        for example in examples {
            assert!(example.content().is_some(), "{}", example.file);
            assert!(!example.words.is_empty(), "{}", example.file);
        }
    }
}
