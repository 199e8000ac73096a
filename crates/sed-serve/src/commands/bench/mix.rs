//! Flags of a mix of requests, and the pictures and words of the demo.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Args;
use sed_bench::mix::{
    Mix, Picture, Size, WeightedWords, WordSource, of_sizes, read_pictures, scale, server_mixture,
};
use sed_client::{MaskEncoding, v1};
use sed_model::prompts::Category;

use crate::{
    args::{Words, any_encoding, parse_words},
    embedded, pictures,
};

/// Flags of a mix. Requests draw evenly from several values of a flag.
#[derive(Debug, Args)]
#[command(next_help_heading = "Requests")]
pub(crate) struct MixArgs {
    /// Pictures, and folders of them. [default: those of the demo]
    #[arg(value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,

    /// Scale every picture to these sizes before the run, and send it as JPEG.
    #[arg(long, value_name = "WxH,...", value_delimiter = ',')]
    sizes: Vec<Size>,

    /// A vocabulary that the server knows by name; may be given several times.
    #[arg(long, value_name = "NAME")]
    vocabulary: Vec<String>,

    /// Words, separated by commas, synonyms by `|`; may be given several times. [default: those of the demo]
    #[arg(long, value_name = "WORDS", value_parser = parse_words)]
    words: Vec<Words>,

    /// All vocabularies that the server knows, those of up to 64 categories four times as often and those of
    /// up to 256 twice as often as larger ones.
    #[arg(long)]
    mix_vocabularies: bool,

    /// Vocabularies of these sizes, of words from the built-in lists.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    categories: Vec<usize>,

    /// Rejection: the top_k of the requests; 0 is off. [default: the server's]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    top_k: Vec<u32>,

    /// Encodings of the masks; each request asks for one.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = any_encoding())]
    #[arg(default_value = "index-png")]
    encoding: Vec<MaskEncoding>,

    /// The same seed gives the same requests, and in an open loop the same arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

impl MixArgs {
    /// Reads the pictures and the words. `named` are the vocabularies that the server knows.
    pub(crate) fn load(&self, named: &[v1::NamedVocabulary]) -> Result<Mix> {
        let mut vocabularies = Vec::new();
        vocabularies.extend(self.vocabulary.iter().map(|name| WordSource::Named(name.clone()).once()));
        vocabularies.extend(self.words.iter().map(|Words(words)| WordSource::Inline(words.clone()).once()));
        vocabularies.extend(of_sizes(&self.categories, self.seed)?);
        if self.mix_vocabularies {
            vocabularies.extend(server_mixture(named)?);
        }
        if vocabularies.is_empty() {
            vocabularies = words_of_the_demo()?;
        }
        let top_k = self.top_k.iter().copied().map(Some).collect();
        Ok(Mix {
            pictures: load_pictures(&self.pictures, &self.sizes)?,
            vocabularies,
            top_k: if self.top_k.is_empty() { vec![None] } else { top_k },
            encodings: self.encoding.clone(),
            seed: self.seed,
        })
    }
}

/// Loads the pictures in `paths`, or those of the demo, each at every size; without sizes, at its own.
pub(crate) fn load_pictures(paths: &[PathBuf], sizes: &[Size]) -> Result<Vec<Picture>> {
    let originals =
        if paths.is_empty() { pictures_of_the_demo()? } else { read_pictures(pictures::find(paths)?)? };
    Ok(scale(originals, sizes)?)
}

fn pictures_of_the_demo() -> Result<Vec<Picture>> {
    let picture = |example: embedded::Example| {
        Some(Picture { content: Bytes::from_static(example.content()?), name: example.file.clone() })
    };
    let pictures: Vec<Picture> = embedded::examples()?.into_iter().filter_map(picture).collect();
    if pictures.is_empty() {
        bail!("this build carries no pictures; give files or folders");
    }
    Ok(pictures)
}

/// The words of the demo's pictures, one vocabulary for each.
fn words_of_the_demo() -> Result<Vec<WeightedWords>> {
    let examples = embedded::examples()?;
    if examples.is_empty() {
        bail!("this build carries no words; give --words, --vocabulary or --categories");
    }
    let words =
        |example: &embedded::Example| WordSource::Inline(example.words.iter().map(Category::new).collect());
    Ok(examples.iter().map(|example| words(example).once()).collect())
}

#[cfg(all(test, feature = "embedded-model"))]
mod tests {
    use sed_image::DecodeLimits;

    use super::*;

    #[test]
    fn every_picture_comes_in_every_size_as_jpeg() {
        let sizes = [Size { width: 64, height: 48 }, Size { width: 33, height: 20 }];
        let originals = load_pictures(&[], &[]).unwrap();
        let pictures = load_pictures(&[], &sizes).unwrap();
        assert_eq!(pictures.len(), 2 * originals.len());
        for (picture, size) in pictures.iter().zip(sizes.iter().cycle()) {
            let decoded = sed_image::decode(&picture.content, &DecodeLimits::default()).unwrap();
            assert_eq!(decoded.format, sed_image::ImageFormat::Jpeg);
            assert_eq!((decoded.image.width(), decoded.image.height()), (size.width, size.height));
        }
    }
}
