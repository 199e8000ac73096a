//! Circles between modules that stand side by side. A module and those inside it may know each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{ModulePath, Modules, resolve};

/// For each module that has an arrow to another beside it: those others, each with a place of the arrow.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// Every circle of a crate: the modules in it, and one place for each arrow between them.
pub(crate) fn of(modules: &Modules) -> Vec<String> {
    let mut levels: BTreeMap<ModulePath, Arrows> = BTreeMap::new();
    for (from, module) in modules {
        for (path, line) in &module.paths {
            for to in resolve(modules, from, path) {
                let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                    let arrows = levels.entry(from[..shared].to_vec()).or_default();
                    let place = || format!("{}:{line}: {}", module.file.display(), path.join("::"));
                    arrows.entry(one.clone()).or_default().entry(other.clone()).or_insert_with(place);
                }
            }
        }
    }
    levels.iter().flat_map(|(level, arrows)| circles(level, arrows)).collect()
}

/// The circles of one level, each as a message.
fn circles(level: &[String], arrows: &Arrows) -> Vec<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|from| (&**from, reach(arrows, from))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (from, to) in &reached {
        let circle: BTreeSet<&str> =
            to.iter().copied().filter(|to| reached.get(to).is_some_and(|back| back.contains(from))).collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let names: Vec<&str> = circle.iter().copied().collect();
        let mut message =
            format!("circle in {}: {}", [&["crate".to_owned()], level].concat().join("::"), names.join(", "));
        for (from, to) in arrows.iter().filter(|(from, _)| circle.contains(from.as_str())) {
            for (to, place) in to.iter().filter(|(to, _)| circle.contains(to.as_str())) {
                message.push_str(&format!("\n  {from} -> {to}  {place}"));
            }
        }
        found.push(message);
    }
    found
}

/// The modules that arrows lead to from one.
fn reach<'a>(arrows: &'a Arrows, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(from) = open.pop() {
        for to in arrows.get(from).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}
