//! Repairs glitches of text as ftfy 6.3 does with its default settings: mojibake, ligatures, full-width forms,
//! curly quotes, line breaks, terminal escapes and control characters; the result is in Unicode's form NFC.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization;

use super::entities::{named, numeric};
use super::mojibake::{HEURISTICS, compile, fix_encoding};

static ENTITY: LazyLock<Regex> = LazyLock::new(|| compile("&#?[0-9A-Za-z]{1,24};"));
static TERMINAL_ESCAPE: LazyLock<Regex> = LazyLock::new(|| compile(r"\x1b\[[\d;]*[a-zA-Z]"));

/// Repairs each line of `text` on its own.
pub(super) fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // From the first line with a literal `<` on, the text is taken for HTML and its entities are left alone.
    let mut html = false;
    for line in text.split_inclusive('\n') {
        html |= line.contains('<');
        out.push_str(&repair_line(line, html));
    }
    out
}

/// Applies every repair until nothing changes.
fn repair_line(line: &str, html: bool) -> String {
    let mut text = line.to_owned();
    loop {
        let mut fixed = if html { text.clone() } else { unescape(&text).into_owned() };
        fixed = fix_encoding(fixed);
        if !fixed.is_ascii() {
            let mut replaced = String::with_capacity(fixed.len());
            fixed.chars().for_each(|character| replace(character, &mut replaced));
            fixed = replaced;
        }
        if fixed.contains('\r') {
            fixed = fixed.replace("\r\n", "\n").replace('\r', "\n");
        }
        if fixed.contains('\x1b') {
            fixed = TERMINAL_ESCAPE.replace_all(&fixed, "").into_owned();
        }
        fixed.retain(|character| !is_stray_control(character));
        if !fixed.is_ascii() {
            fixed = fixed.nfc().collect();
        }
        if fixed == text {
            return text;
        }
        text = fixed;
    }
}

/// Resolves entities that end in a semicolon, and names that were put in capitals as a whole.
fn unescape(text: &str) -> Cow<'_, str> {
    ENTITY.replace_all(text, |captures: &Captures<'_>| {
        let entity = &captures[0];
        let name = &entity[1..];
        if name.starts_with('#') {
            let mut out = String::new();
            let whole = numeric(name, &mut out) == Some(name.len());
            return if whole && !out.contains(';') { out } else { entity.to_owned() };
        }
        named(name).map(str::to_owned).or_else(|| capitals(name)).unwrap_or_else(|| entity.to_owned())
    })
}

/// `NTILDE;` for `Ñ`: a name that only exists in lower case, written in capitals.
fn capitals(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let ambiguous = (2..name.len()).any(|end| named(&name[..end]).is_some());
    if name != name.to_ascii_uppercase() || ambiguous {
        return None;
    }
    named(&lower).map(str::to_uppercase)
}

/// Appends what `character` is replaced with: C1 controls by Windows-1252's characters, ligatures by their
/// letters, half- and full-width forms by the usual width, then curly quotes and line separators.
fn replace(character: char, out: &mut String) {
    let character = HEURISTICS.without_c1(character);
    if let Some(letters) = HEURISTICS.ligature(character) {
        out.extend(letters.chars().map(straight));
    } else {
        match character {
            '\u{3000}' => out.push(' '),
            '\u{ff01}'..='\u{ffef}' => out.extend(std::iter::once(character).nfkc().map(straight)),
            other => out.push(straight(other)),
        }
    }
}

/// Straight quotes for curly ones, and `\n` for the other characters that end a line.
fn straight(character: char) -> char {
    match character {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{2028}' | '\u{2029}' | '\u{85}' => '\n',
        other => other,
    }
}

/// Reports whether a character is a control character that text has no use for: ASCII's except white space,
/// deprecated Arabic ones, annotation marks and the byte order mark.
fn is_stray_control(character: char) -> bool {
    matches!(character,
        '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' | '\u{206a}'..='\u{206f}' | '\u{feff}' |
        '\u{fff9}'..='\u{fffc}')
}
