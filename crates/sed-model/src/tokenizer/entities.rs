//! HTML character references, resolved as Python's `html.unescape` does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::mojibake::HEURISTICS;

/// Every name that HTML defines, as it follows the ampersand: with a semicolon, some also without.
static NAMES: LazyLock<HashMap<&str, String>> = LazyLock::new(|| {
    include_str!("../../assets/tokenizer/html_entities.txt")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, codes)| {
            let codes = codes.split(' ').filter_map(|code| u32::from_str_radix(code, 16).ok());
            (name, codes.filter_map(char::from_u32).collect())
        })
        .collect()
});

/// Longest name that is tried, as in Python; the longest defined one has 31 characters and a semicolon.
const LONGEST_NAME: usize = 32;

/// The characters that a full name with its semicolon (`amp;`) stands for.
pub(super) fn named(name: &str) -> Option<&'static str> {
    NAMES.get(name).map(String::as_str)
}

/// Resolves every character reference in `text`, with or without its semicolon as far as HTML allows.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(ampersand) = rest.find('&') {
        out.push_str(&rest[..ampersand]);
        rest = &rest[ampersand + 1..];
        let used = if rest.starts_with('#') { numeric(rest, &mut out) } else { by_name(rest, &mut out) };
        match used {
            Some(used) => rest = &rest[used..],
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Resolves `#123;` or `#x7b;` at the start of `rest`; gives the bytes used.
pub(super) fn numeric(rest: &str, out: &mut String) -> Option<usize> {
    let hexadecimal = rest[1..].starts_with(['x', 'X']);
    let (radix, start) = if hexadecimal { (16, 2) } else { (10, 1) };
    let digits = rest[start..].bytes().take_while(|&byte| char::from(byte).is_digit(radix)).count();
    if digits == 0 {
        return None;
    }
    let end = start + digits;
    // A number too large for 32 bits is also too large for Unicode.
    let number = u32::from_str_radix(&rest[start..end], radix).unwrap_or(u32::MAX);
    out.extend(character(number));
    Some(end + usize::from(rest[end..].starts_with(';')))
}

/// The character of a number; `None` for control characters and noncharacters, as in Python.
fn character(number: u32) -> Option<char> {
    match number {
        0 => Some('\u{fffd}'),
        0x0d => Some('\r'),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        _ if number <= 0x10_ffff && number & 0xfffe == 0xfffe => None,
        // HTML reads the numbers of the C1 control characters as Windows-1252.
        _ => Some(char::from_u32(number).map_or('\u{fffd}', |character| HEURISTICS.without_c1(character))),
    }
}

/// Resolves the longest name at the start of `rest`; returns the number of bytes used.
fn by_name(rest: &str, out: &mut String) -> Option<usize> {
    let stops = |character: char| matches!(character, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
    // Defined names are ASCII, so what is not ends every candidate.
    let name =
        rest.bytes().take_while(|&byte| byte.is_ascii() && !stops(char::from(byte))).take(LONGEST_NAME);
    let length = name.count();
    let whole = length + usize::from(rest[length..].starts_with(';'));
    // A whole name of any length first, then names that stand at its start without a semicolon.
    let found =
        std::iter::once(whole).chain((2..whole).rev()).find_map(|end| Some((end, named(&rest[..end])?)));
    let (end, characters) = found?;
    out.push_str(characters);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn agrees_with_pythons_html_unescape() {
        let cases = [
            ("a&amp;b &lt;tag&gt; &quot;x&quot; &#39;y&#39;", "a&b <tag> \"x\" 'y'"),
            ("rock &amp roll &copy 2024 &notanentity;", "rock & roll © 2024 ¬anentity;"),
            ("&notin; &notit; &not", "∉ ¬it; ¬"),
            ("&NotEqualTilde;", "≂\u{338}"),
            (
                "&#0; &#x80; &#150; &#xD800; &#1114112; &#99999999999999;",
                "\u{fffd} € – \u{fffd} \u{fffd} \u{fffd}",
            ),
            ("a&#28;b &#xfdd0;c &#x1ffff; &#13;", "ab c  \r"),
            ("&#x; &#; &; & &&amp;", "&#x; &#; &; & &&"),
            ("&#39 &#x27z &#X41;", "' 'z A"),
            ("no entity", "no entity"),
            ("&é;", "&é;"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text), expected, "{text:?}");
        }
    }
}
