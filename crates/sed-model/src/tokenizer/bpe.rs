//! Byte-pair encoding of one word with CLIP's merges.

use std::collections::HashMap;

/// CLIP's merges, most frequent first: two symbols a line.
const MERGES: &str = include_str!("../../assets/tokenizer/clip_merges.txt");
/// Symbols before the first merge: every byte, and every byte at the end of a word.
const BYTE_SYMBOLS: usize = 512;
/// Mark of a word's last symbol.
const END_OF_WORD: &str = "</w>";

/// The merges, over symbol ids.
#[derive(Debug)]
pub(super) struct BytePairs {
    /// Id of each byte; a byte at the end of a word has the id plus 256.
    bytes: [u32; 256],
    /// Id of the symbol that two neighbouring symbols merge to. Ids of merges rise in the order in which the
    /// merges are applied.
    merges: HashMap<(u32, u32), u32>,
    vocab_size: usize,
}

impl BytePairs {
    /// The first `vocab_size - 514` merges, or nothing when there are not that many.
    pub(super) fn new(vocab_size: usize) -> Option<Self> {
        let wanted = vocab_size.checked_sub(BYTE_SYMBOLS + 2)?;
        let characters = byte_characters();
        let mut ids: HashMap<String, u32> = HashMap::with_capacity(vocab_size);
        for (id, character) in (0u32..).zip(characters.iter().map(|(_, character)| *character)) {
            ids.insert(character.to_string(), id);
            ids.insert(format!("{character}{END_OF_WORD}"), id + 256);
        }
        let mut merges = HashMap::with_capacity(wanted);
        for (line, id) in MERGES.lines().take(wanted).zip(BYTE_SYMBOLS as u32..) {
            let (left, right) = line.split_once(' ')?;
            merges.insert((*ids.get(left)?, *ids.get(right)?), id);
            ids.insert(format!("{left}{right}"), id);
        }
        let mut bytes = [0; 256];
        for (id, (byte, _)) in (0u32..).zip(characters) {
            bytes[usize::from(byte)] = id;
        }
        (merges.len() == wanted).then_some(Self { bytes, merges, vocab_size })
    }

    /// The id of start of text; end of text is the one after it.
    pub(super) fn start(&self) -> u32 {
        self.vocab_size as u32 - 2
    }

    /// Appends the ids of one word.
    ///
    /// Words are a few symbols long, so looking at every pair for each merge costs less than keeping a queue;
    /// a long run of letters costs its length squared, which the limit on a phrase's length bounds.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let mut symbols: Vec<u32> = word.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        if let Some(last) = symbols.last_mut() {
            *last += 256;
        }
        while let Some((left, right, merged)) = self.first_merge(&symbols) {
            let (mut read, mut write) = (0, 0);
            while read < symbols.len() {
                let both = symbols[read] == left && symbols.get(read + 1) == Some(&right);
                symbols[write] = if both { merged } else { symbols[read] };
                read += if both { 2 } else { 1 };
                write += 1;
            }
            symbols.truncate(write);
        }
        ids.extend(symbols);
    }

    /// The neighbours that merge first, and what to.
    fn first_merge(&self, symbols: &[u32]) -> Option<(u32, u32, u32)> {
        symbols
            .windows(2)
            .filter_map(|pair| self.merges.get(&(pair[0], pair[1])).map(|&merged| (pair[0], pair[1], merged)))
            .min_by_key(|&(_, _, merged)| merged)
    }
}

/// Each byte with the character that stands for it in the merges, in the order of their ids: printable bytes
/// stand for themselves and come first, the others follow as U+0100 and up.
fn byte_characters() -> Vec<(u8, char)> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let shown = (0..=255).filter(|&byte| printable(byte)).map(|byte| (byte, char::from(byte)));
    let hidden = (0..=255).filter(|&byte| !printable(byte)).zip('\u{100}'..);
    shown.chain(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_without_merges_spells_bytes() {
        let pairs = BytePairs::new(514).unwrap();
        let mut ids = Vec::new();
        pairs.encode("ab", &mut ids);
        assert_eq!(ids, [64, 65 + 256]);
        assert_eq!(pairs.start(), 512);
    }

    #[test]
    fn the_first_merges_are_used_in_their_order() {
        // "i n", "t h", "a n", "r e": "in" inside a word, "the" needs later merges.
        let pairs = BytePairs::new(516).unwrap();
        let mut ids = Vec::new();
        pairs.encode("thin", &mut ids);
        // "n" ends the word, so "i n" does not apply: t+h merge to 513.
        assert_eq!(ids, [513, 72, 77 + 256]);
    }

    #[test]
    fn sizes_that_the_merges_cannot_fill_are_refused() {
        assert!(BytePairs::new(513).is_none());
        assert!(BytePairs::new(49408).is_some());
        assert!(BytePairs::new(49409).is_none());
    }
}
