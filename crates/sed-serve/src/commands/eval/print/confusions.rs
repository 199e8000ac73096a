//! The categories whose pixels were given to others.

use std::io::{self, Write};

use sed_eval::Confusion;

use super::{heads, percent_of_whole};
use crate::print::{Cell, FAINT, Table, gap, styled};

/// Number of confusions that are printed.
const MOST: usize = 20;

/// Prints the largest confusions; nothing if there are none.
pub(super) fn print(confusions: &[Confusion], out: &mut impl Write) -> io::Result<()> {
    if confusions.is_empty() {
        return Ok(());
    }
    gap(out)?;
    let mut table = Table::default();
    table.row(heads(&["category", "taken for", "share"]));
    for Confusion { category, taken_for, share, .. } in confusions.iter().take(MOST) {
        table.row([Cell::left(category), Cell::right(taken_for), Cell::right(percent_of_whole(*share))]);
    }
    table.write("  ", out)?;
    let more = confusions.len().saturating_sub(MOST);
    let rest = if more > 0 { format!("; --json lists {more} more") } else { String::new() };
    let note = format!("share: of the category's labelled pixels, above 1 %{rest}");
    writeln!(out, "  {}", styled(FAINT, note))
}
