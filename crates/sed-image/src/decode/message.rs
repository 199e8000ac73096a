//! Words of decoders, in one line of bounded length and without their framing.

use std::error::Error;
use std::io;

use super::CUT;

/// The innermost cause of a decoder's error: the outer ones say only that decoding failed.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => CUT.to_owned(),
        _ => one_line(&innermost.to_string()),
    }
}

/// A text in one line of bounded length, beginning in lower case and without a full stop: some decoders quote
/// their input.
pub(super) fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let text = text.trim().trim_end_matches('.');
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().count() > MOST {
        line.push('…');
    }
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // An abbreviation keeps its capitals.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_is_told_in_one_line() {
        let inner = io::Error::other("Bad\nthing happened.");
        let outer = io::Error::other(inner);
        assert_eq!(cause(&outer), "bad thing happened");
        assert_eq!(cause(&io::Error::from(io::ErrorKind::UnexpectedEof)), CUT);
        assert_eq!(one_line("LZW is broken"), "LZW is broken");
        assert_eq!(one_line(&"é".repeat(300)).chars().count(), 201);
    }
}
