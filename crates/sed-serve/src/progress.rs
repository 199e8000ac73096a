//! Signs of life on a terminal; nothing where standard error is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Something that takes a while; to be cleared when it is done.
pub(crate) fn spinner(doing: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(doing.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A number of things, one after the other.
pub(crate) fn count(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{bar:30} {pos}/{len} {wide_msg}")
}

/// A number of bytes.
pub(crate) fn bytes(doing: &str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(doing.to_owned());
    styled(bar, "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // The templates above are sound; if one were not, the usual look would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("━╸ "))
}
