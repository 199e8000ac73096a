//! The mix of requests: pictures, words and options, from which every request draws.

mod pictures;
mod words;

use sed_client::{SegmentRequest, v1};
use serde_json::{Value, json};

pub use pictures::{Picture, Size, read_pictures, scale};
pub use words::{WeightedWords, WordSource, of_sizes, server_mixture};

/// The pictures, vocabularies and options that requests draw from.
#[derive(Debug)]
pub struct Mix {
    /// The pictures; at least one, as of everything else that is drawn.
    pub pictures: Vec<Picture>,
    /// The vocabularies with their weights.
    pub vocabularies: Vec<WeightedWords>,
    /// Values of `top_k`; `None` is the server's default.
    pub top_k: Vec<Option<u32>>,
    /// Encodings of the mask; each request asks for one.
    pub encodings: Vec<v1::MaskEncoding>,
    /// The same seed gives the same requests.
    pub seed: u64,
}

/// The draw of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Index of the picture.
    pub picture: usize,
    /// Index of the vocabulary.
    pub vocabulary: usize,
    /// `None` is the server's default.
    pub top_k: Option<u32>,
    encoding: v1::MaskEncoding,
}

impl Mix {
    /// Returns the draw of request `number`, which depends on the number and the seed alone.
    pub fn draw(&self, number: u64) -> Drawn {
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
    pub fn request(&self, number: u64) -> v1::SegmentRequest {
        self.build(self.draw(number), format!("bench-{number}"))
    }

    /// One request for each vocabulary.
    pub fn one_of_each_vocabulary(&self) -> impl Iterator<Item = v1::SegmentRequest> {
        let any = self.draw(0);
        let request = move |vocabulary| self.build(Drawn { vocabulary, ..any }, "bench-prime".to_owned());
        (0..self.vocabularies.len()).map(request)
    }

    fn build(&self, drawn: Drawn, request_id: String) -> v1::SegmentRequest {
        let options = v1::SegmentOptions { top_k: drawn.top_k, ..v1::SegmentOptions::default() };
        let request = SegmentRequest::encoded(self.pictures[drawn.picture].content.clone())
            .vocabulary(self.vocabularies[drawn.vocabulary].words.to_proto())
            .options(options)
            .mask(drawn.encoding)
            .id(request_id);
        request.into()
    }

    /// The parameters in the JSON results.
    pub fn describe(&self) -> Value {
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
