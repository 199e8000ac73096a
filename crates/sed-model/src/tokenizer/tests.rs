use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::config::SedConfig;
use crate::prompts::{builtin_vocabulary, prompts};

#[derive(Deserialize)]
struct Golden {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    cleaned: String,
    ids: Vec<u32>,
}

fn golden(name: &str) -> String {
    let path = format!("{}/../../tests/golden/tokenizer/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The reference's fixed-length rows: zeros after end of text.
fn padded(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = tokenizer.encode(text);
    ids.resize(tokenizer.context_length, 0);
    ids
}

fn clip() -> Tokenizer {
    Tokenizer::new(&SedConfig::sed_b().text).unwrap()
}

#[test]
fn every_golden_text_has_the_references_form_and_ids() {
    let tokenizer = clip();
    // A lone surrogate cannot be in a Rust string; the reference turns it into U+FFFD first thing.
    let json = golden("tokenizer.json").replace("\\ud83d lone", "\\ufffd lone");
    let golden: Golden = serde_json::from_str(&json).unwrap();
    assert_eq!(golden.items.len(), 64);
    for item in golden.items {
        assert_eq!(clean::clean(&item.text), item.cleaned, "{:?}", item.text);
        assert_eq!(padded(&tokenizer, &item.text), item.ids, "{:?}", item.text);
    }
}

#[test]
fn every_prompt_of_every_shipped_vocabulary_has_the_references_ids() {
    #[derive(Deserialize)]
    struct Dataset {
        texts: usize,
        max_len_with_sot_eot: usize,
        sha256_i32le_rows: String,
    }
    let tokenizer = clip();
    let golden: std::collections::BTreeMap<String, Dataset> =
        serde_json::from_str(&golden("datasets.json")).unwrap();
    let names = [
        ("ade150", "ade20k-150"),
        ("ade847", "ade20k-847"),
        ("pc59", "pascal-context-59"),
        ("pc459", "pascal-context-459"),
        ("voc20", "pascal-voc-20"),
        ("voc20b", "pascal-voc-20b"),
        ("coco", "coco-stuff-171"),
    ];
    for (official, name) in names {
        let (mut texts, mut longest, mut digest) = (0, 0, Sha256::new());
        for category in builtin_vocabulary(name).unwrap() {
            for prompt in prompts(&category) {
                texts += 1;
                longest = longest.max(tokenizer.encode(&prompt).len());
                padded(&tokenizer, &prompt).iter().for_each(|id| digest.update((*id as i32).to_le_bytes()));
            }
        }
        let expected = &golden[official];
        assert_eq!((texts, longest), (expected.texts, expected.max_len_with_sot_eot), "{name}");
        assert_eq!(HEXLOWER.encode(&digest.finalize()), expected.sha256_i32le_rows, "{name}");
    }
}

#[test]
fn long_text_ends_in_end_of_text() {
    let tokenizer = clip();
    let ids = tokenizer.encode(&"word ".repeat(1000));
    assert_eq!(ids.len(), 77);
    assert_eq!((ids[0], ids[76]), (49406, 49407));
}

#[test]
fn a_reduced_vocabulary_and_context_move_the_special_ids() {
    let config = TextConfig { width: 128, heads: 2, layers: 3, context_length: 6, vocab_size: 8192 };
    let tokenizer = Tokenizer::new(&config).unwrap();
    assert_eq!(tokenizer.encode("a <end_of_text> b"), [8190, 320, 8191, 321, 8191]);
    let full = clip();
    let (short, long) = (tokenizer.encode("hippopotamus"), full.encode("hippopotamus"));
    assert!(short.len() > long.len(), "fewer merges give more tokens: {short:?} {long:?}");
    assert!(short.iter().all(|&id| id < 8192));
}

/// Texts with what the reference (ftfy 6.3.1 and Python's `html`) makes of them, from a random search over
/// mojibake, entities, terminal escapes and odd characters.
#[test]
fn repairs_what_the_reference_repairs() {
    let json = golden("repair.json");
    let cases: Vec<(String, String)> = serde_json::from_str(&json).unwrap();
    assert!(cases.len() >= 1000);
    for (text, expected) in cases {
        assert_eq!(clean::clean(&text), expected, "{text:?}");
    }
}
