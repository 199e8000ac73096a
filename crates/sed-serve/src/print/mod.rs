//! Output on the terminal: tables, styles, errors and JSON lines.

mod report;
mod table;

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Effects, RgbColor, Style};
use sed_client::v1;
use serde::Serialize;

pub(crate) use report::{report, summary, unsure};
pub(crate) use table::{Cell, Table};

/// Style of less important text.
pub(crate) const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// Style of headings.
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
/// Style of good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of warnings.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Style of errors.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);

/// Warnings of alike pairs that are printed before their number alone is.
const ALIKE: usize = 3;

/// Standard output, with colours where the terminal supports them and the environment allows them.
pub(crate) fn stdout() -> impl Write {
    anstream::stdout().lock()
}

/// Prints a JSON value on one line.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(stdout(), "{}", serde_json::to_string(value)?)?)
}

/// Prints an error with its causes to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    failure(error.as_ref());
}

/// Prints an error of a library, as [`error`] does.
pub(crate) fn failure(error: &dyn std::error::Error) {
    // If even this cannot be written, the exit code still reports the failure.
    let text = in_seconds(&sed_client::causes(error));
    let _ = writeln!(anstream::stderr().lock(), "{BAD}error:{BAD:#} {text}");
}

/// An error and its causes on one line, without the causes that an error's own text already contains.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    sed_client::causes(error.as_ref())
}

/// Prints the server's warnings about an accepted request to standard error; of many pairs of categories that
/// are alike the first, and the number of the others.
pub(crate) fn warnings(warnings: &[v1::Warning]) {
    let mut alike = 0;
    for one in warnings {
        alike += usize::from(one.reason() == v1::WarningReason::CategoriesAlike);
        if one.reason() != v1::WarningReason::CategoriesAlike || alike <= ALIKE {
            warning(&one.message);
        }
    }
    if alike > ALIKE {
        // A server reports the closest pairs alone.
        let more = alike - ALIKE;
        warning(&format!(
            "at least {more} more pairs of categories are alike; `sed-serve vocabulary check` lists them"
        ));
    }
}

/// Prints all of the server's warnings to standard error.
pub(crate) fn all_warnings(warnings: &[v1::Warning]) {
    warnings.iter().for_each(|one| warning(&one.message));
}

/// Prints a line about work that goes on to standard error.
pub(crate) fn note(message: &str) {
    // As for a warning.
    let _ = writeln!(anstream::stderr().lock(), "{message}");
}

/// Prints a warning to standard error.
pub(crate) fn warning(message: &str) {
    // A warning that cannot be written is no failure.
    let _ = writeln!(anstream::stderr().lock(), "{WARNING}warning:{WARNING:#} {message}");
}

/// A message in which times of a second or more are in seconds, as people read them.
fn in_seconds(message: &str) -> String {
    let parts: Vec<&str> = message.split(" ms").collect();
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let begin = part.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
        let ends = parts.get(index + 1).is_some_and(|next| !next.starts_with(char::is_alphanumeric));
        match part[begin..].parse::<u64>() {
            Ok(milliseconds) if ends && milliseconds >= 1000 && !part[..begin].ends_with('.') => {
                text = text + &part[..begin] + &time(milliseconds as f64);
            }
            _ => text = text + part + if last { "" } else { " ms" },
        }
    }
    text
}

/// A category's colour in overlays and masks, or the nearest one that the terminal supports.
pub(crate) fn category_colour(index: u32) -> Style {
    let [r, g, b] = sed_image::mask::palette::colour(index as u16);
    let colour = RgbColor(r, g, b);
    let shown = if true_colour() { Color::Rgb(colour) } else { anstyle_lossy::rgb_to_xterm(colour).into() };
    Style::new().fg_color(Some(shown))
}

/// Reports whether the terminal announces 24-bit colours.
fn true_colour() -> bool {
    std::env::var("COLORTERM").is_ok_and(|terminal| terminal == "truecolor" || terminal == "24bit")
}

/// `text` in a style.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> impl std::fmt::Display {
    format!("{style}{text}{style:#}")
}

/// Writes an empty line.
pub(crate) fn gap(out: &mut impl Write) -> io::Result<()> {
    writeln!(out)
}

/// A span of time in the unit that suits it.
pub(crate) fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms >= 9_995.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 999.5 => format!("{:.2} s", ms / 1e3),
        ms if ms >= 9.95 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

/// A bar for a share of 0 to 1, in eighths of a character.
pub(crate) fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// As many names as fit into `width` columns, trimmed, and how many more there are.
pub(crate) fn some<'a>(names: impl Iterator<Item = &'a str>, width: usize) -> String {
    let names: Vec<&str> = names.map(str::trim).collect();
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let room_for_rest = if index + 1 < names.len() { " and 999 more".len() } else { 0 };
        let length = table::width(&text) + separator.len() + table::width(name) + room_for_rest;
        if length > width && index > 0 {
            return format!("{text} and {} more", names.len() - index);
        }
        text = text + separator + name;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read tokens: {source}; look at its rights")]
        struct Repeats {
            source: io::Error,
        }
        let repeats =
            anyhow::Error::new(Repeats { source: io::Error::from_raw_os_error(2) }).context("no server");
        let line =
            "no server: cannot read tokens: No such file or directory (os error 2); look at its rights";
        assert_eq!(causes(&repeats), line);
        let distinct = anyhow::anyhow!("second").context("first");
        assert_eq!(causes(&distinct), "first: second");
    }

    #[test]
    fn long_times_of_messages_are_in_seconds() {
        for (message, want) in [
            ("not ready; retry in 29317 ms", "not ready; retry in 29.3 s"),
            (
                "it would take 2500 ms, its deadline leaves 80 ms",
                "it would take 2.50 s, its deadline leaves 80 ms",
            ),
            ("the field `ms` and 5000 msgs, no ms", "the field `ms` and 5000 msgs, no ms"),
            ("took 1.2345 ms", "took 1.2345 ms"),
        ] {
            assert_eq!(in_seconds(message), want);
        }
    }

    #[test]
    fn times_have_three_digits_or_so() {
        let times = [0.04, 9.94, 12.3, 999.4, 999.6, 12_345.0].map(time);
        assert_eq!(times, ["0.0 ms", "9.9 ms", "12 ms", "999 ms", "1.00 s", "12.3 s"]);
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!([0.0, 0.0625, 0.5, 1.0, 7.0].map(|share| bar(share, 2)), ["", "▏", "█", "██", "██"]);
    }

    #[test]
    fn lists_are_cut_to_their_width() {
        assert_eq!(some(["a ", "b"].into_iter(), 80), "a, b");
        let many = ["cat", "dog", "cow", "elephant", "horse"];
        assert_eq!(some(many.into_iter(), 24), "cat, dog and 3 more");
        assert_eq!(some(["a very long name indeed"].into_iter(), 5), "a very long name indeed");
    }
}
