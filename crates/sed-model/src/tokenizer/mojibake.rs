//! Undoes text that was encoded as UTF-8 and decoded as something else, with the heuristics of ftfy 6.3: its
//! tables and patterns are data in `assets/tokenizer/text_repair.json`.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::bytes::Regex as BytesRegex;
use regex::{Match, Regex};
use serde::Deserialize;

/// The replacement character in UTF-8.
const LOST: &[u8] = "\u{fffd}".as_bytes();
/// The byte that stands for U+FFFD while text is held in a sloppy encoding.
const LOST_BYTE: u8 = 0x1a;

/// The tables, read once when the first text that is not ASCII arrives.
pub(super) static HEURISTICS: LazyLock<Heuristics> = LazyLock::new(Heuristics::load);

/// UTF-8 sequences in which a no-break space (byte A0) became a plain space.
static ALTERED: LazyLock<BytesRegex> = LazyLock::new(|| {
    compile_bytes(
        r"[\xc2\xc3\xc5\xce\xd0\xd9] |[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] |\xf0 [\x80-\xbf]{2}|\xf0[\x80-\xbf] [\x80-\xbf]|\xf0[\x80-\xbf]{2} ",
    )
});

/// UTF-8 sequences of which some bytes were lost.
static LOSSY: LazyLock<BytesRegex> = LazyLock::new(|| {
    compile_bytes(
        r"[\xc2-\xdf]\x1a|[\xc2-\xc3]\?|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf]{2}|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf]{2}[\x1a?]|\x1a",
    )
});

/// Compiles a pattern of this module or its parent.
#[expect(clippy::expect_used, reason = "every pattern is a constant or an asset, compiled by the tests")]
pub(super) fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

#[expect(clippy::expect_used, reason = "every pattern is a constant, compiled by the tests")]
fn compile_bytes(pattern: &str) -> BytesRegex {
    BytesRegex::new(&format!("(?-u){pattern}")).expect("the pattern is valid")
}

#[derive(Deserialize)]
struct Tables {
    encodings: Vec<EncodingTable>,
    badness: String,
    utf8_sequence: String,
    continuation: String,
    ligatures: HashMap<char, String>,
}

#[derive(Deserialize)]
struct EncodingTable {
    name: String,
    sloppy: bool,
    /// The characters of bytes 80 to FF.
    upper_half: String,
}

/// Tables and patterns that distinguish mojibake from intended text.
#[derive(Debug)]
pub(super) struct Heuristics {
    encodings: Vec<Encoding>,
    /// Sequences of characters that are unlikely in intended text.
    badness: Regex,
    /// UTF-8 sequences as they look when decoded with a single-byte encoding.
    sequence: Regex,
    /// Characters before which a sequence is taken for the middle of a larger garble.
    continuation: Regex,
    ligatures: HashMap<char, String>,
}

/// A single-byte encoding, from characters to bytes.
#[derive(Debug)]
struct Encoding {
    name: String,
    /// True if undefined bytes are accepted, and U+FFFD as a byte of its own.
    sloppy: bool,
    bytes: HashMap<char, u8>,
}

impl Heuristics {
    #[expect(clippy::expect_used, reason = "the asset is part of this crate and read by every test")]
    fn load() -> Self {
        let tables: Tables = serde_json::from_str(include_str!("../../assets/tokenizer/text_repair.json"))
            .expect("the asset has the fields of Tables");
        let encoding = |table: EncodingTable| Encoding {
            name: table.name,
            sloppy: table.sloppy,
            bytes: table.upper_half.chars().zip(0x80..=0xff).collect(),
        };
        Self {
            encodings: tables.encodings.into_iter().map(encoding).collect(),
            badness: compile(&tables.badness),
            sequence: compile(&tables.utf8_sequence),
            continuation: compile(&tables.continuation),
            ligatures: tables.ligatures,
        }
    }

    /// The letters of a ligature.
    pub(super) fn ligature(&self, character: char) -> Option<&str> {
        self.ligatures.get(&character).map(String::as_str)
    }

    /// The Windows-1252 character of a C1 control, as browsers read it; other characters stay.
    pub(super) fn without_c1(&self, character: char) -> char {
        match character {
            '\u{80}'..='\u{9f}' => self
                .encodings
                .iter()
                .filter(|encoding| encoding.name == "sloppy-windows-1252")
                .flat_map(|encoding| &encoding.bytes)
                .find(|(_, byte)| u32::from(**byte) == u32::from(character))
                .map_or(character, |(meant, _)| *meant),
            other => other,
        }
    }

    fn is_bad(&self, text: &str) -> bool {
        self.badness.is_match(text)
    }

    /// The next run of sequences from byte `from` on that does not continue a garble.
    fn next_sequence<'t>(&self, text: &'t str, mut from: usize) -> Option<Match<'t>> {
        loop {
            let found = self.sequence.find_at(text, from)?;
            let before = text[..found.start()].chars().next_back();
            if !before.is_some_and(|before| self.continuation.is_match(before.encode_utf8(&mut [0; 4]))) {
                return Some(found);
            }
            from = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
        }
    }

    /// Fixes sequences that stand among text of another encoding, each on its own.
    fn fix_sequences(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        while let Some(found) = self.next_sequence(text, done) {
            out.push_str(&text[done..found.start()]);
            let part = found.as_str();
            if part.len() < text.len() && self.is_bad(part) {
                out.push_str(&fix_encoding(part.to_owned()));
            } else {
                out.push_str(part);
            }
            done = found.end();
        }
        out.push_str(&text[done..]);
        out
    }

    /// One step towards the text that was meant; the text itself when there is none.
    fn step(&self, text: &str) -> String {
        if let Some(decoded) = self.encodings.iter().find_map(|encoding| encoding.reinterpret(text)) {
            return decoded;
        }
        let fixed = self.fix_sequences(text);
        if fixed != text {
            return fixed;
        }
        text.chars().map(|character| self.without_c1(character)).collect()
    }
}

impl Encoding {
    /// The text whose UTF-8 bytes, read in this encoding, gave `text`.
    fn reinterpret(&self, text: &str) -> Option<String> {
        let mut bytes = self.encode(text)?;
        // In MacRoman the sequence would match an en dash before a space.
        if self.name != "macroman" && ALTERED.is_match(&bytes) {
            bytes = restore_no_break_spaces(&bytes);
        }
        if self.sloppy {
            bytes = LOSSY.replace_all(&bytes, LOST).into_owned();
        }
        decode(&bytes)
    }

    fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let encode = |character: char| match character {
            '\u{fffd}' if self.sloppy => Some(LOST_BYTE),
            '\x1a' if self.sloppy => None,
            '\0'..='\x7f' => Some(character as u8),
            other => self.bytes.get(&other).copied(),
        };
        text.chars().map(encode).collect()
    }
}

/// Undoes wrong decodings, however many were stacked.
pub(super) fn fix_encoding(mut text: String) -> String {
    while !text.is_ascii() && HEURISTICS.is_bad(&text) {
        let fixed = HEURISTICS.step(&text);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// Puts byte A0 back where a plain space breaks a UTF-8 sequence.
fn restore_no_break_spaces(bytes: &[u8]) -> Vec<u8> {
    // C3 and a space is mostly the word "à", so a space is kept after it, except in common Portuguese words.
    const JOINED: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut spaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        spaced.push(byte);
        rest = tail;
        if byte == 0xc3
            && let Some(after) = tail.strip_prefix(b" ")
            && !JOINED.iter().any(|joined| after.starts_with(joined))
        {
            spaced.extend([0xa0, b' ']);
            rest = after;
        }
    }
    let restore = |captures: &regex::bytes::Captures<'_>| -> Vec<u8> {
        captures[0].iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }).collect()
    };
    ALTERED.replace_all(&spaced, restore).into_owned()
}

/// Decodes UTF-8, Java's two-byte null, and surrogate pairs that were each encoded as three bytes (CESU-8).
fn decode(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let special = match bytes[at..] {
            [0xc0, 0x80, ..] => Some(('\0', 2)),
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..] => {
                let [a, b, c, d] = [a, b, c, d].map(u32::from);
                let code =
                    ((a & 0x0f) << 16) + ((b & 0x3f) << 10) + ((c & 0x0f) << 6) + (d & 0x3f) + 0x1_0000;
                Some((char::from_u32(code)?, 6))
            }
            _ => None,
        };
        let Some((character, length)) = special else {
            at += 1;
            continue;
        };
        // Neither lead byte occurs inside another character, so what came before is whole.
        out.push_str(std::str::from_utf8(&bytes[start..at]).ok()?);
        out.push(character);
        at += length;
        start = at;
    }
    out.push_str(std::str::from_utf8(&bytes[start..]).ok()?);
    Some(out)
}
