//! Preparing words on a server, with a bar on the terminal.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use sed_client::{Client, Preparation, v1};

use crate::{print, progress};

/// Time between two lines where no bar is shown.
const BETWEEN_LINES: Duration = Duration::from_secs(15);

/// Has the server embed a vocabulary, and returns the last state. `title` stands beside the bar.
pub(crate) async fn with_bar(
    client: &Client,
    vocabulary: v1::Vocabulary,
    title: &str,
) -> Result<Preparation> {
    let bar = progress::count(0);
    let show = |state: &Preparation| {
        bar.set_length(state.phrases.into());
        bar.set_position(state.embedded.into());
        bar.set_message(message(title, state));
    };
    let prepared = client.prepare_vocabulary(vocabulary, show).await;
    bar.finish_and_clear();
    Ok(prepared?)
}

/// Has the server embed a vocabulary that a request waits for, and shows that in the message of a `bar`, or
/// in lines on standard error where the bar is hidden.
pub(crate) async fn beside(bar: &ProgressBar, client: &Client, vocabulary: v1::Vocabulary) -> Result<()> {
    let mut printed: Option<Instant> = None;
    let show = |state: &Preparation| {
        let text = waiting(state);
        if bar.is_hidden() && printed.is_none_or(|last| last.elapsed() >= BETWEEN_LINES) {
            printed = Some(Instant::now());
            print::note(&text);
        }
        bar.set_message(text);
    };
    client.prepare_vocabulary(vocabulary, show).await?;
    Ok(())
}

/// The state of a preparation that a request waits for.
fn waiting(state: &Preparation) -> String {
    let Preparation { phrases, embedded, .. } = state;
    let left = state.remaining.map(|left| format!(", about {} s left", left.as_secs_f64().ceil()));
    format!("the server prepares {phrases} names and synonyms, {embedded} ready{}", left.unwrap_or_default())
}

fn message(title: &str, state: &Preparation) -> String {
    let left = state.remaining.map(|left| format!("about {} s left", left.as_secs_f64().ceil()));
    let parts = ["names and synonyms embedded".to_owned(), title.to_owned(), left.unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_is_known() {
        let state = |remaining| Preparation {
            phrases: 6,
            known: 1,
            embedded: 2,
            remaining,
            ready: false,
            replica: String::new(),
            devices: Vec::new(),
            warnings: Vec::new(),
        };
        assert_eq!(message("", &state(None)), "names and synonyms embedded");
        let some = message("pets", &state(Some(Duration::from_millis(7200))));
        assert_eq!(some, "names and synonyms embedded, pets, about 8 s left");
        let wait = "the server prepares 6 names and synonyms, 2 ready";
        assert_eq!(waiting(&state(None)), wait);
        assert_eq!(waiting(&state(Some(Duration::from_millis(7200)))), format!("{wait}, about 8 s left"));
    }
}
