//! The facts on which the counts of a run depend, as files of a run name them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sed_client::{Contrast, SynonymMode, report::Model, v1, v1::category_threshold, v1::vocabulary::Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ask::Asker,
    error::{Error, Result},
    exif::Exif,
};

/// The version of the files' form.
const FORM: u32 = 1;

/// The facts on which the counts of a picture depend, besides the picture and its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The version of the file's form.
    sed_eval_run: u32,
    pub(crate) model: Model,
    vocabulary: VocabularyFacts,
    options: BTreeMap<String, String>,
    /// The folder of pictures, absolute.
    pictures: PathBuf,
    /// The folder of labels, absolute.
    labels: PathBuf,
    /// The names of the categories, in the order of the answers' indices.
    pub(crate) categories: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VocabularyFacts {
    /// `None` for words written out.
    name: Option<String>,
    /// SHA-256 of names and synonyms.
    digest: String,
}

impl Run {
    /// Asks the server for its model and, if it is a named one, the words of the vocabulary.
    pub(crate) async fn of(
        asker: &Asker,
        vocabulary: &v1::Vocabulary,
        first_label: Option<u16>,
        folders: [&Path; 2],
    ) -> Result<Self> {
        let info = asker.client.server_info().await?;
        let model = info.model.unwrap_or_default();
        let default_top_k = info.defaults.unwrap_or_default().top_k;
        let (name, categories, usual_mode) = match &vocabulary.source {
            Some(Source::Name(name)) => {
                let known = asker.client.vocabulary(name).await?;
                let mode = known.synonym_mode();
                (Some(name.clone()), known.categories, mode)
            }
            Some(Source::Categories(list)) => (None, list.categories.clone(), SynonymMode::Unspecified),
            None => (None, Vec::new(), SynonymMode::Unspecified),
        };
        let mut options = of_request(&asker.options, default_top_k);
        let mode = match asker.competition.synonym_mode {
            SynonymMode::Unspecified => usual_mode,
            mode => mode,
        };
        let exif = if asker.exif == Exif::Ignore { "ignore" } else { "apply" };
        options.extend([
            ("synonyms", mode.as_str_name().to_owned()),
            ("contrast", contrast(asker.competition.contrast.as_ref())),
            ("exif", exif.to_owned()),
            ("first-label", first_label.map_or_else(String::new, |first| first.to_string())),
        ]);
        let [pictures, labels] = folders.map(absolute);
        Ok(Self {
            sed_eval_run: FORM,
            model: Model { name: model.name, digest: model.digest },
            vocabulary: VocabularyFacts { name, digest: digest(&categories)? },
            options: options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            pictures: pictures?,
            labels: labels?,
            categories: categories.into_iter().map(|category| category.name).collect(),
        })
    }

    /// The folders of pictures and labels.
    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.pictures, &self.labels]
    }

    /// The facts in which this run differs from an earlier one, each with both values; empty for none.
    pub(crate) fn differences(&self, earlier: &Self) -> String {
        let (now, then) = (self.facts(), earlier.facts());
        let keys: std::collections::BTreeSet<&String> = now.keys().chain(then.keys()).collect();
        let mut parts = Vec::new();
        for key in keys {
            let [now, then] = [&now, &then].map(|facts| facts.get(key).map_or("not set", String::as_str));
            if now != then {
                parts.push(format!("{key} was {then} and is {now}"));
            }
        }
        parts.join(", ")
    }

    /// All facts but the names of the categories, of which there is a digest.
    fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = self.options.clone();
        let own = [
            ("form", self.sed_eval_run.to_string()),
            ("model", format!("{} ({})", self.model.name, self.model.digest)),
            ("vocabulary", self.vocabulary.name.clone().unwrap_or_else(|| "written out".to_owned())),
            ("words", self.vocabulary.digest.clone()),
            ("pictures", self.pictures.display().to_string()),
            ("labels", self.labels.display().to_string()),
        ];
        facts.extend(own.map(|(name, value)| (name.to_owned(), value)));
        facts
    }
}

/// The options that change an answer's index map, by the names of their flags.
fn of_request(options: &v1::SegmentOptions, default_top_k: u32) -> BTreeMap<&'static str, String> {
    // Every field is named, so that a new one is thought of here.
    let v1::SegmentOptions {
        top_k,
        score_threshold,
        output_size,
        resize_mode: _,
        mask_encodings: _,
        min_area,
        overlay: _,
        priority: _,
        polygon_tolerance: _,
        list_rejected: _,
        category_thresholds,
        report_ambiguities: _,
    } = options;
    let of_category = |v1::CategoryThreshold { category, threshold }: &v1::CategoryThreshold| match category {
        Some(category_threshold::Category::Name(name)) => format!("{name}={threshold}"),
        Some(category_threshold::Category::Index(index)) => format!("{index}={threshold}"),
        None => threshold.to_string(),
    };
    let mut thresholds: Vec<String> = score_threshold.iter().map(f32::to_string).collect();
    thresholds.extend(category_thresholds.iter().map(of_category));
    let size = if output_size.is_some() { "chosen" } else { "original" };
    BTreeMap::from([
        ("top-k", top_k.unwrap_or(default_top_k).to_string()),
        ("resize", options.resize_mode().as_str_name().to_owned()),
        ("threshold", thresholds.join(" ")),
        ("min-area", min_area.to_string()),
        ("output-size", size.to_owned()),
    ])
}

fn contrast(contrast: Option<&Contrast>) -> String {
    match contrast {
        None => "usual".to_owned(),
        Some(Contrast::Off) => "off".to_owned(),
        Some(Contrast::Auto) => "auto".to_owned(),
        Some(Contrast::Named(name)) => format!("of {name}"),
        Some(Contrast::Words(words)) => {
            let phrases = |category: &v1::Category| {
                [std::slice::from_ref(&category.name), &category.synonyms[..]].concat().join("|")
            };
            words.iter().map(phrases).collect::<Vec<_>>().join(",")
        }
    }
}

/// SHA-256 of the names and synonyms of categories, in their order, as JSON.
fn digest(categories: &[v1::Category]) -> Result<String> {
    let phrases: Vec<(&str, &[String])> =
        categories.iter().map(|category| (category.name.as_str(), &category.synonyms[..])).collect();
    let json = serde_json::to_vec(&phrases).map_err(|source| Error::Encoding { source })?;
    Ok(format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(json))))
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().map_err(|source| Error::Folder { folder: folder.to_owned(), source })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run on two categories.
    pub(crate) fn run(model: &str) -> Run {
        let options = of_request(&v1::SegmentOptions::default(), 8);
        Run {
            sed_eval_run: FORM,
            model: Model { name: model.to_owned(), digest: format!("sha256:{model}") },
            vocabulary: VocabularyFacts { name: None, digest: "sha256:0".to_owned() },
            options: options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            pictures: "/pictures".into(),
            labels: "/labels".into(),
            categories: ["cat", "dog"].map(str::to_owned).to_vec(),
        }
    }

    /// A run on a folder of pictures.
    pub(crate) fn run_on(pictures: &Path) -> Run {
        Run { pictures: pictures.to_owned(), ..run("a") }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let now = run("a");
        assert_eq!(now.differences(&now.clone()), "");
        let mut then = run("b");
        then.options.insert("top-k".to_owned(), "0".to_owned());
        then.options.insert("colour".to_owned(), "red".to_owned());
        assert_eq!(
            now.differences(&then),
            "colour was red and is not set, model was b (sha256:b) and is a (sha256:a), top-k was 0 and is 8"
        );
    }

    #[test]
    fn options_that_change_answers_are_facts_and_others_are_not() {
        let of = |options: &v1::SegmentOptions| of_request(options, 8);
        let usual = v1::SegmentOptions::default();
        let explicit = v1::SegmentOptions { top_k: Some(8), list_rejected: true, ..usual.clone() };
        assert_eq!(of(&usual), of(&explicit));
        let mut changed = vec![
            v1::SegmentOptions { top_k: Some(4), ..usual.clone() },
            v1::SegmentOptions { score_threshold: Some(0.5), ..usual.clone() },
            v1::SegmentOptions { min_area: 9, ..usual.clone() },
        ];
        let mut resized = usual.clone();
        resized.set_resize_mode(v1::ResizeMode::TwoStep);
        changed.push(resized);
        let threshold = sed_client::CategoryKey::from("cat").threshold(0.25);
        changed.push(v1::SegmentOptions { category_thresholds: vec![threshold], ..usual.clone() });
        assert!(changed.iter().all(|options| of(options) != of(&usual)));
    }

    #[test]
    fn synonyms_and_order_are_in_the_digest() {
        let category = |name: &str, synonyms: &[&str]| v1::Category {
            name: name.to_owned(),
            synonyms: synonyms.iter().map(|&synonym| synonym.to_owned()).collect(),
        };
        let of = |categories: &[v1::Category]| digest(categories).unwrap();
        let all = [
            of(&[category("cat", &["kitty"]), category("dog", &[])]),
            of(&[category("dog", &[]), category("cat", &["kitty"])]),
            of(&[category("cat", &[]), category("kitty", &[]), category("dog", &[])]),
        ];
        assert!(all[0] != all[1] && all[0] != all[2] && all[0].len() == "sha256:".len() + 64);
    }
}
