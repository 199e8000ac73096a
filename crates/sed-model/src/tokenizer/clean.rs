//! From any text to the form that the tokenizer splits: repaired, entities resolved, single spaces, lower case.

use super::entities::unescape;
use super::repair::repair;

/// Cleans `text` as open_clip does: ftfy's repair, HTML entities twice, whitespace, lower case.
pub(super) fn clean(text: &str) -> String {
    let repaired = repair(text);
    let once = unescape(&repaired);
    let text = unescape(&once);
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_lowercase()
}

/// White space as Python's `str.split` has it: Unicode's and the four ASCII information separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}
