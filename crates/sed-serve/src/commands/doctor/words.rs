//! The time that the words of each built-in vocabulary would take, predicted from a few phrases.

use std::{collections::BTreeSet, time::Instant};

use anyhow::Result;
use sed_model::{
    prompts::{builtin_vocabularies, builtin_vocabulary},
    text_tower::TextTower,
};

use crate::{args::different_phrases, print};

/// Phrases that are measured on a CPU, which takes up to seconds for each.
const FEW_ON_CPU: usize = 3;
/// Phrases that are measured on a GPU, which needs this many to be busy.
const FEW_ON_GPU: usize = 32;

/// Measures a few phrases, and returns a line for each built-in vocabulary with its predicted time.
pub(super) fn predicted(tower: &TextTower, on_cpu: bool) -> Result<String> {
    let few = if on_cpu { FEW_ON_CPU } else { FEW_ON_GPU };
    let lists: Vec<(&str, BTreeSet<String>)> =
        builtin_vocabularies().map(|name| (name, phrases(name))).collect();
    // Any phrases will do: the cost is that of their tokens.
    let measured: Vec<&str> =
        lists.iter().flat_map(|(_, phrases)| phrases).take(1 + few).map(String::as_str).collect();
    let Some((first, measured)) = measured.split_first() else { return Ok(String::new()) };
    // The first launch of all has the cost of a beginning.
    tower.embed_phrases(&[first])?;
    let begun = Instant::now();
    tower.embed_phrases(measured)?;
    let each = begun.elapsed().as_secs_f64() / tower.rows_of(measured).rows.max(1) as f64;
    let lines = lists.iter().map(|(name, phrases)| {
        let texts: Vec<&str> = phrases.iter().map(String::as_str).collect();
        line(name, texts.len(), each * tower.rows_of(&texts).rows as f64)
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The different names and synonyms of a built-in vocabulary.
fn phrases(name: &str) -> BTreeSet<String> {
    let categories = builtin_vocabulary(name).unwrap_or_default();
    different_phrases(&categories).into_iter().map(str::to_owned).collect()
}

fn line(name: &str, phrases: usize, seconds: f64) -> String {
    format!("{name}: {phrases} names and synonyms, predicted {}", print::time(seconds * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_of_a_list_counts_once() {
        let counts: Vec<usize> = builtin_vocabularies().map(|name| phrases(name).len()).collect();
        assert!(counts.iter().all(|count| *count >= 20) && counts.iter().max() > Some(&847));
        assert_eq!(line("pets", 3, 12.34), "pets: 3 names and synonyms, predicted 12.3 s");
    }
}
