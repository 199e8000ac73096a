//! The form of a file of the directory: its name, which is made of all that an embedding depends on, and its
//! content.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stages::{ModelInfo, phrases::TokenPhrase};

/// The first bytes of every file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"SEDTEXT2";
/// The largest header that is read: a phrase has at most some kilobytes.
const MOST_HEADER: usize = 1 << 20;
/// The ending of every file's name.
const ENDING: &str = ".text";

/// The name of a file, without its ending: a digest of the embedding's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name([u8; 32]);

impl Name {
    /// The file's name.
    pub(super) fn file(self) -> String {
        format!("{}{ENDING}", HEXLOWER.encode(&self.0))
    }

    /// The name of which this is the file; `None` for a file that is no text embedding.
    pub(super) fn of_file(file: &str) -> Option<Self> {
        let (pairs, rest) = file.strip_suffix(ENDING)?.as_bytes().as_chunks::<2>();
        let mut name = [0; 32];
        if pairs.len() != name.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in name.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        (Self(name).file() == file).then_some(Self(name))
    }
}

/// The header before the embedding's bytes, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// Digest of weights and configuration, number format, and version of the text tower's arithmetic.
    model: String,
    templates: String,
    tokens: Vec<u32>,
    bytes: usize,
    sha256: String,
}

/// Everything that the embeddings of one model depend on, except the phrase.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// As in [`Header`].
    model: String,
    templates: String,
    /// The digest of both, to go on with the phrase.
    begun: Sha256,
}

impl Origin {
    pub(super) fn of(model: &ModelInfo) -> Self {
        let templates = model.templates_digest.clone();
        // The number format rounds the text tower's weights.
        let model = format!("{} {} {}", model.digest, model.dtype, model.text_arithmetic);
        let mut begun = Sha256::new();
        for part in [&model, &templates] {
            begun.update((part.len() as u64).to_le_bytes());
            begun.update(part);
        }
        Self { model, templates, begun }
    }

    /// The name of a phrase's file.
    pub(super) fn name(&self, phrase: &TokenPhrase) -> Name {
        let mut hasher = self.begun.clone();
        for id in phrase.ids() {
            hasher.update(id.to_le_bytes());
        }
        Name(hasher.finalize().into())
    }

    /// The content of a phrase's file.
    pub(super) fn content(&self, phrase: &TokenPhrase, embedding: &[u8]) -> serde_json::Result<Vec<u8>> {
        let header = serde_json::to_vec(&self.header(phrase, embedding))?;
        Ok([MAGIC.as_slice(), &(header.len() as u32).to_le_bytes(), &header, embedding].concat())
    }

    /// The embedding in a file, if it is whole and the phrase's.
    pub(super) fn parse(&self, phrase: &TokenPhrase, content: &[u8]) -> Option<Vec<u8>> {
        let rest = content.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MOST_HEADER {
            return None;
        }
        let (header, embedding) = rest.split_at_checked(length)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        (header == self.header(phrase, embedding)).then(|| embedding.to_vec())
    }

    fn header(&self, phrase: &TokenPhrase, embedding: &[u8]) -> Header {
        Header {
            model: self.model.clone(),
            templates: self.templates.clone(),
            tokens: phrase.ids().to_vec(),
            bytes: embedding.len(),
            sha256: HEXLOWER.encode(&Sha256::digest(embedding)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::caches::text_store::tests::{origin, phrase};

    #[test]
    fn names_and_files_belong_together() {
        let name = origin().name(&phrase("cat"));
        assert_eq!(Name::of_file(&name.file()), Some(name));
        for other in [
            "",
            ".text",
            "x.text",
            &name.file()[1..],
            &name.file().to_uppercase(),
            &format!("0{}", name.file()),
        ] {
            assert_eq!(Name::of_file(other), None, "{other}");
        }
    }

    #[test]
    fn all_that_an_embedding_depends_on_changes_its_name() {
        let usual = crate::stages::fake::model_info();
        let name = |model: &ModelInfo, text: &str| Origin::of(model).name(&phrase(text));
        let first = name(&usual, "cat");
        assert_eq!(first, name(&ModelInfo { name: "renamed".into(), ..usual.clone() }, " CAT "));
        for (model, text) in [
            (usual.clone(), "dog"),
            (ModelInfo { digest: "sha256:2".into(), ..usual.clone() }, "cat"),
            (ModelInfo { dtype: "bf16".into(), ..usual.clone() }, "cat"),
            (ModelInfo { templates_digest: "sha256:2".into(), ..usual.clone() }, "cat"),
            (ModelInfo { text_arithmetic: 2, ..usual }, "cat"),
        ] {
            assert_ne!(first, name(&model, text), "{model:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_other_bytes_are_no_embedding(at in 0_usize..400, value in any::<u8>(), noise in any::<Vec<u8>>()) {
            let (origin, cat) = (origin(), phrase("cat"));
            let mut file = origin.content(&cat, &[7; 100]).unwrap();
            let at = at % file.len();
            prop_assume!(file[at] != value);
            // White space and key order in the header may differ and still mean the same.
            file[at] = value;
            prop_assert!(origin.parse(&cat, &file).is_none_or(|embedding| embedding == [7; 100]));
            prop_assert_eq!(origin.parse(&cat, &noise), None);
        }
    }
}
