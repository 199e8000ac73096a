//! The mix of requests: pictures, words and options, from which every request draws.

mod pictures;
mod words;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sed_proto::v1;
use serde_json::{Value, json};

use crate::args::{Words, parse_words};
use words::WeightedWords;

pub(crate) use pictures::{Picture, Size, load as load_pictures};
pub(crate) use words::WordSource;

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
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "index-png")]
    encoding: Vec<Encoding>,

    /// The same seed gives the same requests, and in an open loop the same arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// A mask encoding by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Encoding {
    IndexPng,
    Rle,
    Polygons,
    Raw,
    ScoreMaps,
}

impl From<Encoding> for v1::MaskEncoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::IndexPng => Self::IndexPng,
            Encoding::Rle => Self::CocoRle,
            Encoding::Polygons => Self::Polygons,
            Encoding::Raw => Self::Raw,
            Encoding::ScoreMaps => Self::ScoreMaps,
        }
    }
}

/// The pictures, vocabularies and options that requests draw from.
#[derive(Debug)]
pub(crate) struct Mix {
    pictures: Vec<Picture>,
    vocabularies: Vec<WeightedWords>,
    top_k: Vec<Option<u32>>,
    encodings: Vec<v1::MaskEncoding>,
    seed: u64,
}

/// The draw of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Index of the picture.
    pub(crate) picture: usize,
    /// Index of the vocabulary.
    pub(crate) vocabulary: usize,
    /// `None` is the server's default.
    pub(crate) top_k: Option<u32>,
    encoding: v1::MaskEncoding,
}

impl MixArgs {
    /// Reads the pictures and the words. `named` are the vocabularies that the server knows.
    pub(crate) fn load(&self, named: &[v1::NamedVocabulary]) -> Result<Mix> {
        let mut vocabularies = Vec::new();
        vocabularies.extend(self.vocabulary.iter().map(|name| WordSource::Named(name.clone()).once()));
        vocabularies.extend(self.words.iter().map(|Words(words)| WordSource::Inline(words.clone()).once()));
        vocabularies.extend(words::of_sizes(&self.categories, self.seed)?);
        if self.mix_vocabularies {
            vocabularies.extend(words::server_mixture(named)?);
        }
        if vocabularies.is_empty() {
            vocabularies = words::of_the_demo()?;
        }
        let top_k = self.top_k.iter().copied().map(Some).collect();
        Ok(Mix {
            pictures: pictures::load(&self.pictures, &self.sizes)?,
            vocabularies,
            top_k: if self.top_k.is_empty() { vec![None] } else { top_k },
            encodings: self.encoding.iter().copied().map(Into::into).collect(),
            seed: self.seed,
        })
    }
}

impl Mix {
    /// Returns the draw of request `number`, which depends on the number and the seed alone.
    pub(crate) fn draw(&self, number: u64) -> Drawn {
        // Neighbouring seeds would begin alike; an odd multiplier spreads them.
        let mut rng = fastrand::Rng::with_seed(self.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let total: u32 = self.vocabularies.iter().map(|words| words.weight).sum();
        let mut left = rng.u32(..total);
        let mut lighter = |words: &WeightedWords| {
            let taken = left >= words.weight;
            left = left.saturating_sub(words.weight);
            taken
        };
        Drawn {
            vocabulary: self.vocabularies.iter().take_while(|words| lighter(words)).count(),
            picture: rng.usize(..self.pictures.len()),
            top_k: self.top_k[rng.usize(..self.top_k.len())],
            encoding: self.encodings[rng.usize(..self.encodings.len())],
        }
    }

    /// Builds request `number`.
    pub(crate) fn request(&self, number: u64) -> v1::SegmentRequest {
        self.build(self.draw(number), format!("bench-{number}"))
    }

    /// One request for each vocabulary.
    pub(crate) fn one_of_each_vocabulary(&self) -> impl Iterator<Item = v1::SegmentRequest> {
        let any = self.draw(0);
        let request = move |vocabulary| self.build(Drawn { vocabulary, ..any }, "bench-prime".to_owned());
        (0..self.vocabularies.len()).map(request)
    }

    fn build(&self, drawn: Drawn, request_id: String) -> v1::SegmentRequest {
        let content = self.pictures[drawn.picture].content.clone();
        let mut options = v1::SegmentOptions { top_k: drawn.top_k, ..v1::SegmentOptions::default() };
        options.push_mask_encodings(drawn.encoding);
        v1::SegmentRequest {
            image: Some(v1::Image { source: Some(v1::image::Source::Encoded(content)) }),
            vocabulary: Some(self.vocabularies[drawn.vocabulary].words.to_proto()),
            options: Some(options),
            request_id,
        }
    }

    /// The pictures, by the indices of [`Drawn::picture`].
    pub(crate) fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// The vocabularies, by the indices of [`Drawn::vocabulary`].
    pub(crate) fn vocabularies(&self) -> impl Iterator<Item = &WordSource> {
        self.vocabularies.iter().map(|weighted| &weighted.words)
    }

    /// The parameters in the JSON results.
    pub(crate) fn describe(&self) -> Value {
        let bytes: usize = self.pictures.iter().map(|picture| picture.content.len()).sum();
        let names: Vec<&str> = self.pictures.iter().map(|picture| picture.name.as_str()).collect();
        let words = |weighted: &WeightedWords| match &weighted.words {
            WordSource::Named(name) => json!({ "name": name, "weight": weighted.weight }),
            WordSource::Inline(words) => json!({ "categories": words.len(), "weight": weighted.weight }),
        };
        let encodings = self.encodings.iter().map(v1::MaskEncoding::as_str_name);
        json!({
            "pictures": names,
            "mean_picture_bytes": bytes / self.pictures.len().max(1),
            "vocabularies": self.vocabularies.iter().map(words).collect::<Vec<_>>(),
            "top_k": self.top_k,
            "encodings": encodings.map(|name| name.trim_start_matches("MASK_ENCODING_")).collect::<Vec<_>>(),
            "seed": self.seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn mix(seed: u64) -> Mix {
        let picture = |name: &str| Picture { name: name.to_owned(), content: name.to_owned().into() };
        let words = |name: &str, weight| WeightedWords { words: WordSource::Named(name.to_owned()), weight };
        Mix {
            pictures: vec![picture("p"), picture("q")],
            vocabularies: vec![words("a", 1), words("b", 3)],
            top_k: vec![None, Some(0), Some(8)],
            encodings: vec![v1::MaskEncoding::Raw],
            seed,
        }
    }

    #[test]
    fn draws_follow_the_weights_and_the_seed() {
        let draws: Vec<Drawn> = (0..4000).map(|number| mix(5).draw(number)).collect();
        let share = |holds: &dyn Fn(&Drawn) -> bool| {
            draws.iter().filter(|drawn| holds(drawn)).count() as f64 / draws.len() as f64
        };
        // Five standard errors are at most 4 %.
        assert!((share(&|drawn| drawn.vocabulary == 1) - 0.75).abs() < 0.04);
        assert!((share(&|drawn| drawn.picture == 1) - 0.5).abs() < 0.04);
        let mut top_k: HashMap<Option<u32>, usize> = HashMap::new();
        draws.iter().for_each(|drawn| *top_k.entry(drawn.top_k).or_default() += 1);
        assert!(top_k.len() == 3 && top_k.values().all(|count| (1170..1500).contains(count)), "{top_k:?}");
        assert_eq!(mix(5).draw(17), draws[17]);
        assert!((0..100).any(|number| mix(6).draw(number) != draws[number as usize]));
    }

    #[test]
    fn requests_say_what_was_drawn() {
        let mix = mix(1);
        let requests: Vec<_> = mix.one_of_each_vocabulary().map(|request| request.vocabulary).collect();
        let named = |name: &str| Some(WordSource::Named(name.to_owned()).to_proto());
        assert_eq!(requests, [named("a"), named("b")]);
        let options = mix.request(3).options.unwrap();
        assert_eq!(options.top_k, mix.draw(3).top_k);
        assert_eq!(options.mask_encodings, [i32::from(v1::MaskEncoding::Raw)]);
    }
}
