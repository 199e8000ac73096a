//! Tables of aligned columns.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Width in columns that longer texts are cut to.
const WIDEST: usize = 40;

/// One cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// A left-aligned cell.
    pub(crate) fn left(text: impl Into<String>) -> Self {
        Self { text: fitted(text.into()), ..Self::default() }
    }

    /// A right-aligned cell.
    pub(crate) fn right(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::left(text) }
    }

    /// A cell that is not cut; for the last column.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Self { text: printable(&text.into()), ..Self::default() }
    }

    /// The same cell in a style.
    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes all rows, each behind `indent`, with two spaces between columns and none at the end.
    pub(crate) fn write(&self, indent: &str, out: &mut impl Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = width(&cell.text).max(*most);
            }
        }
        for row in &self.rows {
            write!(out, "{indent}")?;
            let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (column, (cell, most)) in row[..filled].iter().zip(&widths).enumerate() {
                let (text, style) = (&cell.text, cell.style);
                let space = " ".repeat(most - width(text));
                let between = if column + 1 < filled { "  " } else { "" };
                match (cell.right, between) {
                    _ if text.is_empty() => write!(out, "{space}{between}")?,
                    (true, _) => write!(out, "{space}{style}{text}{style:#}{between}")?,
                    (false, "") => write!(out, "{style}{text}{style:#}")?,
                    (false, _) => write!(out, "{style}{text}{style:#}{space}{between}")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Width of a text on a terminal, in columns.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Replaces control characters, which could command the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn fitted(text: String) -> String {
    let mut text = printable(&text);
    if width(&text) <= WIDEST {
        return text;
    }
    while width(&text) >= WIDEST {
        text.pop();
    }
    text + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table) -> String {
        let mut out = Vec::new();
        table.write("| ", &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.row([Cell::left("猫"), Cell::right("7"), Cell::left("x")]);
        table.row([Cell::left("horse"), Cell::right("12")]);
        table.row([Cell::left(""), Cell::right("")]);
        assert_eq!(written(&table), "| 猫      7  x\n| horse  12\n| \n");
    }

    #[test]
    fn long_and_dangerous_texts_are_tamed() {
        let mut table = Table::default();
        table.row([Cell::left("a".repeat(50)), Cell::left("b\u{1b}[2J")]);
        assert_eq!(written(&table), format!("| {}…  b\u{fffd}[2J\n", "a".repeat(39)));
    }
}
