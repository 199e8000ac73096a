//! File names made of the names of categories.

use std::collections::HashMap;

/// Bytes of a name, well below the 255 that file systems allow.
const MOST_BYTES: usize = 100;

/// Names that Windows keeps for devices.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A file name without its ending for each category of a vocabulary. Letters, digits, spaces, `-` and `_` stay,
/// others become `_`. Names that a file system may take for the same have their index behind them.
pub(super) fn of_categories<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(safe).collect();
    let mut uses: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *uses.entry(name.to_lowercase()).or_default() += 1;
    }
    for (index, name) in names.iter_mut().enumerate() {
        if uses.get(&name.to_lowercase()).is_some_and(|uses| *uses > 1) {
            *name = format!("{name}.{index}");
        }
    }
    names
}

fn safe(name: &str) -> String {
    let stays = |letter: char| letter.is_alphanumeric() || [' ', '-', '_'].contains(&letter);
    let mut safe: String =
        name.trim().chars().map(|letter| if stays(letter) { letter } else { '_' }).collect();
    safe.truncate(safe.floor_char_boundary(MOST_BYTES));
    let safe = safe.trim_end();
    let lower = safe.to_lowercase();
    let port = lower.strip_prefix("com").or_else(|| lower.strip_prefix("lpt"));
    let is_port = port.is_some_and(|number| matches!(number.as_bytes(), [digit] if digit.is_ascii_digit()));
    let reserved = safe.is_empty() || is_port || DEVICES.contains(&lower.as_str());
    format!("{safe}{}", if reserved { "_" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_differ() {
        let names = ["cat", " a/b ", "a:b", "../x", "Cat", "nul", "", "Straße 7", "com1", "comb"];
        let want = ["cat.0", "a_b.1", "a_b.2", "___x", "Cat.4", "nul_", "_", "Straße 7", "com1_", "comb"];
        assert_eq!(of_categories(names), want);
        let long = "ä".repeat(300);
        assert_eq!(of_categories([long.as_str()]), ["ä".repeat(50)]);
    }
}
