//! Spinners and progress bars, shown only where standard error is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner for work of unknown length; the caller clears it when the work is done.
pub(crate) fn spinner(doing: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(doing.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A bar that counts to `total`.
pub(crate) fn count(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{bar:30} {pos}/{len} {prefix}{wide_msg}")
}

/// A bar over a number of pictures, with the time that is left.
pub(crate) fn pictures(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{bar:30} {pos}/{len} {eta} left  {wide_msg}")
}

/// A bar that counts bytes.
pub(crate) fn bytes(doing: &str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(doing.to_owned());
    styled(bar, "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // The templates above are sound; if one were not, the usual look would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("━╸ "))
}
