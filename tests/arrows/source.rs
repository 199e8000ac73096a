//! Source files, cut into tokens without comments and literals.

use std::path::{Path, PathBuf};

/// An identifier, `::`, or one other character.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// The line that it stands in, from 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// Every Rust file in a folder and the folders in it, in the order of their paths; none of build outputs,
/// packages of Node and hidden folders.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy();
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Cuts a source into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let (mut rest, mut line, mut tokens) = (source, 1, Vec::new());
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, is_token) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), false),
            '"' => (quoted(rest, '"'), false),
            '\'' => (character_or_lifetime(rest), false),
            'r' | 'b' | 'c' if let Some(length) = raw(rest) => (length, false),
            _ if name > 0 => (name, true),
            ':' if rest.starts_with("::") => (2, true),
            _ => (first.len_utf8(), !first.is_whitespace()),
        };
        let (token, behind) = rest.split_at(length);
        if is_token {
            tokens.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = behind;
    }
    tokens
}

/// The length of a literal from its opening to its closing quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `'x'`, or of the apostrophe of a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let mut behind = rest.chars().skip(1);
    let (first, second) = (behind.next(), behind.next());
    if first == Some('\\') || second == Some('\'') { quoted(rest, '\'') } else { 1 }
}

/// The length of a raw text, `r"…"` or `r#"…"#`, also of bytes or for C.
fn raw(rest: &str) -> Option<usize> {
    let start = rest.find('r').filter(|&at| at < 2)? + 1;
    let marks = rest[start..].len() - rest[start..].trim_start_matches('#').len();
    let inside = rest[start + marks..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(marks));
    Some(start + marks + 1 + inside.find(&end)? + end.len())
}

#[test]
fn comments_and_literals_are_no_tokens() {
    let source =
        "a::b // c\n/* d */ e('f', '\\'', b'\"', \"g \\\" h\", r#\"i \" j\"#, br\"k\") <'l> \"m\nn\" r#o p";
    let tokens = tokens(source);
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(texts.join(" "), "a :: b e ( , , b , , , ) < l > r # o p");
    assert_eq!([tokens[3].line, tokens.last().unwrap().line], [2, 3]);
}
