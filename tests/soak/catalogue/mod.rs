//! The honest requests of the load. Each is answered once at first, alone and without faults; from then on every answer
//! to it must be that one.

mod infer;
mod options;
mod pictures;
mod words;

use std::sync::OnceLock;

use sed_proto::{inference, v1};

pub(crate) use infer::{
    MODEL, categories as infer_categories, image as infer_image, request as infer_request,
};
pub(crate) use pictures::png;
pub(crate) use words::{categories, cold, inline, named};

/// Requests for masks, and those of them that are also asked over the Open Inference Protocol.
const CASES: usize = 120;
const INFERRED: usize = 30;

/// A request and its answer.
#[derive(Debug)]
pub(crate) struct Case<Q, A> {
    pub(crate) request: Q,
    reference: OnceLock<A>,
}

impl<Q, A> Case<Q, A> {
    fn new(request: Q) -> Self {
        Self { request, reference: OnceLock::new() }
    }

    /// Stores the answer that the request got alone.
    pub(crate) fn set_reference(&self, answer: A) {
        assert!(self.reference.set(answer).is_ok(), "a case has one reference");
    }

    pub(crate) fn reference(&self) -> &A {
        self.reference.get().expect("the load begins when all references are there")
    }
}

pub(crate) type SegmentCase = Case<v1::SegmentRequest, v1::SegmentResponse>;
pub(crate) type InferCase = Case<inference::ModelInferRequest, inference::ModelInferResponse>;

/// All cases.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) segment: Vec<SegmentCase>,
    pub(crate) infer: Vec<InferCase>,
}

impl Catalogue {
    /// Draws the cases.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pictures = pictures::all();
        let mut catalogue = Self { segment: Vec::new(), infer: Vec::new() };
        for number in 0..CASES {
            let request = v1::SegmentRequest {
                image: Some(pictures[number % pictures.len()].clone()),
                vocabulary: Some(words::draw(&mut random)),
                options: Some(options::draw(&mut random)),
                request_id: String::new(),
            };
            catalogue.segment.push(Case::new(request));
        }
        for number in 0..INFERRED {
            let picture = &pictures[number % pictures.len()];
            catalogue.infer.push(Case::new(infer::draw(&mut random, picture)));
        }
        catalogue
    }
}

impl SegmentCase {
    /// The request with the picture's id in place of its bytes; `None` where it needs the bytes.
    pub(crate) fn by_id(&self) -> Option<v1::SegmentRequest> {
        if self.request.options.as_ref().is_some_and(|options| options.overlay.is_some()) {
            return None;
        }
        let source = v1::image::Source::Id(self.reference().image_id.clone());
        Some(v1::SegmentRequest { image: Some(v1::Image { source: Some(source) }), ..self.request.clone() })
    }

    /// The registration of the words, if the request holds them.
    pub(crate) fn creation(&self, embed: bool) -> Option<v1::CreateVocabularyRequest> {
        let vocabulary = self.request.vocabulary.as_ref()?;
        let v1::vocabulary::Source::Categories(list) = vocabulary.source.as_ref()? else { return None };
        let (synonym_mode, contrast) = (vocabulary.synonym_mode, vocabulary.contrast.clone());
        Some(v1::CreateVocabularyRequest { categories: Some(list.clone()), embed, synonym_mode, contrast })
    }

    /// The request with a vocabulary's name in place of the words.
    pub(crate) fn by_name(&self, name: &str) -> v1::SegmentRequest {
        v1::SegmentRequest { vocabulary: Some(named(name)), ..self.request.clone() }
    }
}
