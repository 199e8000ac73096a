//! Names that were meant.

/// Similarity from which a name may have been meant, by Jaro: 1 is equal.
const CLOSE: f64 = 0.8;

/// Returns the known name that is most like `name`, if one is like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro(&name, &known.to_lowercase()), known));
    let close = scored.filter(|(likeness, _)| *likeness >= CLOSE);
    close.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}
