//! Requests, built step by step.

use bytes::Bytes;
use sed_proto::v1::{self, image::Source as ImageSource, vocabulary::Source as Words};

/// A request: a picture, the words to look for in it, and options.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRequest(v1::SegmentRequest);

impl SegmentRequest {
    /// A request with the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file.
    pub fn encoded(picture: impl Into<Bytes>) -> Self {
        Self::with_source(ImageSource::Encoded(picture.into()))
    }

    /// A request with RGB pixels, `[height, width, 3]` without padding.
    pub fn raw(pixels: impl Into<Bytes>, width: u32, height: u32) -> Self {
        let pixels = pixels.into();
        Self::with_source(ImageSource::Raw(v1::RawImage { pixels, width, height, row_stride: 0 }))
    }

    /// A request for a picture that the server still holds, by [`Answer::image_id`](crate::Answer::image_id).
    pub fn known(image_id: impl Into<String>) -> Self {
        Self::with_source(ImageSource::Id(image_id.into()))
    }

    fn with_source(source: ImageSource) -> Self {
        let image = Some(v1::Image { source: Some(source) });
        Self(v1::SegmentRequest { image, ..v1::SegmentRequest::default() })
    }

    /// Sets the words, one category each.
    #[must_use]
    pub fn words<W: Into<String>>(self, all: impl IntoIterator<Item = W>) -> Self {
        self.vocabulary(words(all))
    }

    /// Sets the vocabulary: [`words`], [`categories`] with synonyms, or one that the server knows, [`named`].
    #[must_use]
    pub fn vocabulary(mut self, vocabulary: v1::Vocabulary) -> Self {
        self.0.vocabulary = Some(vocabulary);
        self
    }

    /// Sets the request's name in logs and answers. On a stream it must be unique among unanswered requests.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: v1::SegmentOptions) -> Self {
        self.0.options = Some(options);
        self
    }

    /// Sets rejection: before each decoder level only those categories stay that are among the `top_k` best
    /// somewhere in the picture; 0 turns it off. Without this the server's default holds.
    #[must_use]
    pub fn top_k(self, top_k: u32) -> Self {
        self.with(|options| options.top_k = Some(top_k))
    }

    /// Adds an encoding of the mask. Without this the server's default is sent.
    #[must_use]
    pub fn mask(self, encoding: v1::MaskEncoding) -> Self {
        self.with(|options| options.push_mask_encodings(encoding))
    }

    /// Asks for the picture with the categories drawn over it.
    #[must_use]
    pub fn overlay(self) -> Self {
        self.with(|options| options.overlay = Some(v1::Overlay::default()))
    }

    fn with(mut self, set: impl FnOnce(&mut v1::SegmentOptions)) -> Self {
        set(self.0.options.get_or_insert_default());
        self
    }
}

impl From<SegmentRequest> for v1::SegmentRequest {
    fn from(request: SegmentRequest) -> Self {
        request.0
    }
}

/// A vocabulary of words, one category each.
pub fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> v1::Vocabulary {
    categories(words.into_iter().map(|word| (word.into(), Vec::new())))
}

/// A vocabulary of categories, each with its name and its synonyms.
pub fn categories(categories: impl IntoIterator<Item = (String, Vec<String>)>) -> v1::Vocabulary {
    let categories = categories.into_iter().map(|(name, synonyms)| v1::Category { name, synonyms });
    let list = v1::CategoryList { categories: categories.collect() };
    v1::Vocabulary { source: Some(Words::Categories(list)), ..Default::default() }
}

/// A vocabulary that the server knows by its name, such as `ade20k-150`.
pub fn named(name: impl Into<String>) -> v1::Vocabulary {
    v1::Vocabulary { source: Some(Words::Name(name.into())), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_in_the_message() {
        let request = SegmentRequest::raw(vec![0; 6], 2, 1)
            .words(["cat", "sofa"])
            .id("7")
            .top_k(4)
            .mask(v1::MaskEncoding::CocoRle)
            .overlay();
        let message = v1::SegmentRequest::from(request);
        assert_eq!(message.vocabulary, Some(categories(["cat", "sofa"].map(|w| (w.into(), Vec::new())))));
        assert_eq!(message.request_id, "7");
        let options = message.options.unwrap();
        assert_eq!((options.top_k, options.overlay), (Some(4), Some(v1::Overlay::default())));
        assert_eq!(options.mask_encodings, [i32::from(v1::MaskEncoding::CocoRle)]);
        let Some(ImageSource::Raw(raw)) = message.image.unwrap().source else { panic!("raw pixels") };
        assert_eq!((raw.pixels.len(), raw.width, raw.height), (6, 2, 1));
    }
}
