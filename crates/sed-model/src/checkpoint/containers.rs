//! The place of the dictionary of weights in a `.pth`: at its root, or in one of the usual containers.

use std::collections::BTreeSet;

use super::pickle::{Id, Pickle, Value};

/// Keys of weights in training checkpoints, the first that is there first. Averaged weights come last: they
/// are read where there are no others.
const CONTAINERS: [&str; 10] = [
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "weights",
    "ema",
    "model_ema",
    "ema_state_dict",
];
/// Dictionaries within each other.
const MOST_LEVELS: usize = 4;
/// Names that a message or a report holds at most, and their length.
const SHOWN: usize = 10;
const NAME_CHARS: usize = 100;

/// The dictionary of weights inside the pickle.
#[derive(Debug)]
pub(super) struct WeightEntries<'p> {
    pub(super) entries: &'p [(Id, Id)],
    /// Keys of what stands beside it, sorted.
    pub(super) ignored: BTreeSet<String>,
}

/// Finds the dictionary of weights.
///
/// # Errors
/// Why there is none, or no single one, as a message names it.
pub(super) fn find(pickle: &Pickle) -> Result<WeightEntries<'_>, String> {
    let Value::Dict(root) = pickle.get(pickle.root()) else {
        return Err("it does not hold a dictionary of weights, or one with a key such as `model`".to_owned());
    };
    let mut entries = root.as_slice();
    let mut ignored = BTreeSet::new();
    for _ in 0..MOST_LEVELS {
        if holds_tensors(pickle, entries) {
            return Ok(WeightEntries { entries, ignored });
        }
        let dictionaries: Vec<(&str, &[(Id, Id)])> = entries
            .iter()
            .filter_map(|&(key, value)| match pickle.get(value) {
                Value::Dict(inner) => Some((pickle.text(key)?, inner.as_slice())),
                _ => None,
            })
            .collect();
        let usual = CONTAINERS.iter().find_map(|name| dictionaries.iter().find(|(key, _)| key == name));
        let of_tensors = || dictionaries.iter().filter(|(_, inner)| holds_tensors(pickle, inner));
        let &(key, inner) = match (usual, of_tensors().count()) {
            (Some(usual), _) => usual,
            (None, 1) => of_tensors().next().ok_or_else(String::new)?,
            (None, 0) => return Err(format!("it holds no tensors{}", its_keys(pickle, entries))),
            (None, _) => {
                let keys = listed(of_tensors().map(|(key, _)| *key));
                return Err(format!(
                    "it holds weights under several keys, {keys}, and none is a usual one; save one of them \
                     under `state_dict`"
                ));
            }
        };
        ignored.extend(keys(pickle, entries).filter(|&other| other != key).map(shortened));
        entries = inner;
    }
    Err(format!("it holds no tensors within {MOST_LEVELS} levels of dictionaries"))
}

fn holds_tensors(pickle: &Pickle, entries: &[(Id, Id)]) -> bool {
    entries.iter().any(|&(_, value)| rebuild_arguments(pickle, value).is_some())
}

fn keys<'p>(pickle: &'p Pickle, entries: &'p [(Id, Id)]) -> impl Iterator<Item = &'p str> {
    entries.iter().filter_map(|&(key, _)| pickle.text(key))
}

fn its_keys(pickle: &Pickle, entries: &[(Id, Id)]) -> String {
    let keys = listed(keys(pickle, entries));
    if keys.is_empty() { String::new() } else { format!(" (its keys are {keys})") }
}

/// Some names in back quotes.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.take(SHOWN).map(|name| format!("`{}`", shortened(name))).collect();
    names.join(", ")
}

/// A name of bounded length.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(NAME_CHARS).collect()
}

/// The arguments of `_rebuild_tensor_v2`, also inside `_rebuild_parameter`.
pub(super) fn rebuild_arguments(pickle: &Pickle, value: Id) -> Option<&[Id]> {
    let (function, arguments) = pickle.call(value)?;
    match function {
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => Some(arguments),
        "torch._utils._rebuild_parameter" => {
            let (function, arguments) = pickle.call(*arguments.first()?)?;
            function.starts_with("torch._utils._rebuild_tensor").then_some(arguments)
        }
        _ => None,
    }
}
