//! Questions of a single word as a table.

use std::io::{self, Write};

use sed_eval::single::{Figures, Row};

use super::{heads, percent};
use crate::print::{BOLD, Cell, FAINT, Table, styled};

/// Prints two rows for each condition: without and with contrast words.
pub(super) fn print(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::default();
    table.row(heads(&["condition", "scenes", "questions", "contrast", "objects", "stuff", "absent taken"]));
    for row in rows {
        for (contrast, Figures { object_miou, stuff_miou, absent_taken }) in
            [("off", &row.without), ("on", &row.with)]
        {
            let mut cells = vec![
                Cell::left(&row.condition).styled(BOLD),
                Cell::right(row.pictures.to_string()),
                Cell::right(format!("{} + {}", row.present, row.absent)),
                Cell::right(contrast),
            ];
            cells.extend([object_miou, stuff_miou, absent_taken].map(|figure| Cell::right(percent(*figure))));
            table.row(cells);
        }
    }
    table.write("  ", out)?;
    let note = "questions: for words in the picture + for others; objects, stuff: mean IoU of the first; \
                absent taken: pixels given to the others; percent";
    writeln!(out, "  {}", styled(FAINT, note))
}
