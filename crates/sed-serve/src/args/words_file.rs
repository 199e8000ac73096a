//! Files of words: a category a line, an official list, or JSON, in the encodings that editors write.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sed_model::prompts::Category;
use serde_json::Value;

/// The separator of the phrases of one category.
const SYNONYM: &str = "|";

/// The separator of the phrases of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synonyms {
    /// Behind a `|`.
    Bars,
    /// Behind a comma and a space, as in official lists.
    Commas,
}

/// Reads the categories of a file.
pub(crate) fn read(path: &Path, synonyms: Synonyms) -> Result<Vec<Category>> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read the words in {}", path.display()))?;
    let categories = decode(&bytes).and_then(|text| parse(&text, synonyms));
    categories.with_context(|| format!("in {}", path.display()))
}

/// A category as a line of a words file, without the spaces around a phrase that official lists have here and
/// there.
pub(crate) fn to_line(category: &Category) -> String {
    category.phrases().map(str::trim).collect::<Vec<_>>().join(SYNONYM)
}

/// Parses a category; `None` if one of its phrases is empty.
pub(super) fn parse_category(text: &str) -> Option<Category> {
    let mut phrases = text.split(SYNONYM).map(str::trim).map(str::to_owned);
    let category = Category { name: phrases.next()?, synonyms: phrases.collect() };
    let complete = category.phrases().all(|phrase| !phrase.is_empty());
    complete.then_some(category)
}

/// Returns the text of a file in UTF-8, or in UTF-16 with a byte-order mark or recognised by its zeros.
fn decode(bytes: &[u8]) -> Result<String> {
    const TEXT: &str = "the words are not text in UTF-8 or UTF-16; save the file as UTF-8";
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        ensure!(rest.is_empty(), TEXT);
        String::from_utf16(&pairs.iter().copied().map(unit).collect::<Vec<_>>()).context(TEXT)
    };
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).context(TEXT)?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        // No text in UTF-8 holds a zero.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes)?,
        _ => String::from_utf8(bytes.to_vec()).context(TEXT)?,
    };
    ensure!(!text.contains('\0'), TEXT);
    Ok(text)
}

/// Reads categories from JSON or lines, whichever the text is.
fn parse(text: &str, synonyms: Synonyms) -> Result<Vec<Category>> {
    // Lines end in any of the ways that systems have.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let categories = if text.trim_start().starts_with(['[', '{']) {
        parse_json(&text, synonyms)?
    } else {
        parse_lines(&text, synonyms)?
    };
    ensure!(!categories.is_empty(), "there are no words; write one category a line");
    Ok(categories)
}

fn parse_lines(text: &str, synonyms: Synonyms) -> Result<Vec<Category>> {
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
    refuse_table(&lines)?;
    let category =
        |(number, line): &(usize, &str)| parse_text(line, synonyms).with_context(|| format!("line {number}"));
    lines.iter().map(category).collect()
}

fn parse_text(text: &str, synonyms: Synonyms) -> Result<Category> {
    match synonyms {
        Synonyms::Commas => Ok(Category::from_official(text)),
        Synonyms::Bars => parse_category(text).context("a phrase beside a `|` is empty"),
    }
}

/// Refuses a table of numbered categories, whose numbers would become part of their names.
fn refuse_table(lines: &[(usize, &str)]) -> Result<()> {
    // The first line may be the table's heading.
    let rows = if lines.len() > 1 { &lines[1..] } else { lines };
    let Some((number, row)) = rows.first() else { return Ok(()) };
    let separated = rows.iter().all(|(_, line)| has_number_cell(line));
    let counted = rows.len() > 1
        && rows.windows(2).all(|pair| match (leading_number(pair[0].1), leading_number(pair[1].1)) {
            (Some(one), Some(next)) => next == one + 1,
            _ => false,
        });
    if separated || counted {
        bail!(
            "line {number}: `{}` looks like a row of a table with numbers; write the categories alone, one a line",
            row.trim()
        );
    }
    Ok(())
}

/// Reports whether the first or the last cell of a line is a number.
fn has_number_cell(line: &str) -> bool {
    let cells: Vec<&str> = line.split([',', ';', '\t', ':']).collect();
    let is_number = |cell: &str| {
        let digits = cell.trim().trim_matches('"');
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    cells.len() > 1
        && (cells.first().is_some_and(|cell| is_number(cell))
            || cells.last().is_some_and(|cell| is_number(cell)))
}

/// The number that a line begins with, before a space.
fn leading_number(line: &str) -> Option<u64> {
    line.trim_start().split_once(char::is_whitespace)?.0.trim_end_matches('.').parse().ok()
}

const JSON_FORMS: &str = "expected an array with one text for each category, or one object with `name` and `synonyms`, or \
                          one array of phrases";

fn parse_json(text: &str, synonyms: Synonyms) -> Result<Vec<Category>> {
    let value: Value = serde_json::from_str(text)
        .context("the words begin like JSON but are none; begin the first line with a word")?;
    let list = match &value {
        Value::Array(list) => list,
        // As servers and `GetVocabulary` give them.
        Value::Object(fields) => match fields.get("categories") {
            Some(Value::Array(list)) => list,
            _ => bail!("a JSON object without an array `categories`; {JSON_FORMS}"),
        },
        _ => bail!("{JSON_FORMS}"),
    };
    let category = |(index, entry): (usize, &Value)| {
        parse_entry(entry, synonyms).with_context(|| format!("entry {index}"))
    };
    list.iter().enumerate().map(category).collect()
}

fn parse_entry(entry: &Value, synonyms: Synonyms) -> Result<Category> {
    let category = match entry {
        Value::String(text) => return parse_text(text, synonyms),
        Value::Object(_) => {
            serde_json::from_value(entry.clone()).with_context(|| format!("`{entry}`; {JSON_FORMS}"))?
        }
        Value::Array(phrases) => {
            let text = |phrase: &Value| phrase.as_str().map(str::to_owned);
            let mut phrases =
                phrases.iter().map(text).collect::<Option<Vec<_>>>().unwrap_or_default().into_iter();
            let name = phrases.next().with_context(|| format!("`{entry}`; {JSON_FORMS}"))?;
            Category { name, synonyms: phrases.collect() }
        }
        _ => bail!("`{entry}`; {JSON_FORMS}"),
    };
    ensure!(
        category.phrases().all(|phrase| !phrase.trim().is_empty()),
        "`{entry}` has an empty phrase; remove it"
    );
    Ok(category)
}

#[cfg(test)]
mod tests {
    use sed_model::prompts::{builtin_vocabularies, builtin_vocabulary};

    use super::*;

    fn phrases(text: &str) -> Vec<Vec<String>> {
        of(parse(text, Synonyms::Bars).unwrap())
    }

    fn of(categories: Vec<Category>) -> Vec<Vec<String>> {
        categories.iter().map(|category| category.phrases().map(str::to_owned).collect()).collect()
    }

    fn error(text: &str) -> String {
        format!("{:#}", parse(text, Synonyms::Bars).unwrap_err())
    }

    #[test]
    fn files_have_one_category_a_line() {
        assert_eq!(
            phrases("traffic light|stop light\r\n\n  dog, wet\n"),
            [vec!["traffic light", "stop light"], vec!["dog, wet"]]
        );
        assert_eq!(phrases("cow\rbarn\rsky"), [["cow"], ["barn"], ["sky"]]);
        assert!(error("\n \n").contains("no words"));
        assert_eq!(error("cat\n\ndog|\n"), "line 3: a phrase beside a `|` is empty");
    }

    #[test]
    fn official_lists_are_lines_or_json() {
        let official = |text: &str| of(parse(text, Synonyms::Commas).unwrap());
        let expected = [vec!["building", "edifice"], vec!["Wall"]];
        assert_eq!(official("building, edifice\nWall\n"), expected);
        assert_eq!(official("[\"building, edifice\", \"Wall\"]"), expected);
    }

    #[test]
    fn json_is_read_whatever_its_form_or_refused() {
        let expected = [vec!["cow", "cattle"], vec!["barn"]];
        for text in [
            r#"["cow|cattle","barn"]"#,
            "\n[\n  \"cow|cattle\",\n  \"barn\"\n]\n",
            r#"[{"name": "cow", "synonyms": ["cattle"]}, {"name": "barn"}]"#,
            r#"{"name": "voc-1", "size": 2, "categories": [{"name": "cow", "synonyms": ["cattle"]}, {"name": "barn"}]}"#,
            r#"[["cow", "cattle"], ["barn"]]"#,
        ] {
            assert_eq!(phrases(text), expected, "{text}");
        }
        for (text, part) in [
            ("[1, 2]", "entry 0: `1`; expected an array"),
            ("[[[\"cow\"]]]", "entry 0: "),
            ("[[]]", "entry 0: "),
            ("[\"cow\", null]", "entry 1: `null`"),
            ("[{\"label\": \"cow\"}]", "entry 0: "),
            ("[{\"name\": \"cow\", \"synonyms\": [\" \"]}]", "an empty phrase"),
            ("{\"0\": \"cow\"}", "without an array `categories`"),
            ("[\"cow\",", "begin like JSON but are none"),
            ("{\"name\": \"cow\"}\n{\"name\": \"barn\"}", "begin like JSON but are none"),
            ("[]", "no words"),
        ] {
            assert!(error(text).contains(part), "{text}: {}", error(text));
        }
    }

    #[test]
    fn tables_with_numbers_are_refused() {
        for table in [
            "1,wall\n2,building\n",
            "Idx;Name\n1;wall\n2;building",
            "wall,1\nbuilding,2",
            "0: background\n1: aeroplane",
            "1\twall\n2\tbuilding",
            "1 wall\n2 building\n3 sky",
            "\"1\",\"wall\"\n\"2\",\"building\"",
        ] {
            assert!(error(table).contains("a table with numbers"), "{table}");
        }
        // Numbers are words, too.
        for words in [
            "7 eleven\n24 hour shop\ncar",
            "route 66, sign\nroad",
            "101 dalmatians\n12 monkeys",
            "car\ntruck: 18 wheels",
        ] {
            assert_eq!(phrases(words).len(), words.lines().count(), "{words}");
        }
    }

    #[test]
    fn text_comes_in_the_encodings_that_editors_write() {
        let text = "k\u{fc}he\nbarn\n\u{732b}";
        let wide = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            marked(&[0xef, 0xbb, 0xbf], text.as_bytes()),
            marked(&[0xff, 0xfe], &wide(u16::to_le_bytes)),
            marked(&[0xfe, 0xff], &wide(u16::to_be_bytes)),
            wide(u16::to_le_bytes),
            wide(u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap(), text, "{bytes:?}");
        }
        for bytes in [&b"k\xfche"[..], b"cow\0barn", &[0xff, 0xfe, 1]] {
            let error = format!("{:#}", decode(bytes).unwrap_err());
            assert!(error.contains("save the file as UTF-8"), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn what_vocabulary_show_prints_is_read_as_it_was() {
        for name in builtin_vocabularies() {
            let shown = builtin_vocabulary(name).unwrap();
            let lines: Vec<String> = shown.iter().map(to_line).collect();
            // Spaces around a phrase, which official lists have here and there, make no difference to the model.
            let trimmed = |phrases: Vec<Vec<String>>| -> Vec<Vec<String>> {
                phrases
                    .iter()
                    .map(|all| all.iter().map(|phrase| phrase.trim().to_owned()).collect())
                    .collect()
            };
            let as_lines = parse(&lines.join("\n"), Synonyms::Bars).unwrap();
            assert_eq!(of(as_lines), trimmed(of(shown.clone())), "{name}");
            let as_json = parse(&serde_json::to_string(&shown).unwrap(), Synonyms::Bars).unwrap();
            assert_eq!(as_json, shown, "{name}");
        }
    }
}
