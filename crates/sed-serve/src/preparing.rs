//! Preparing words on a server, with a bar on the terminal.

use anyhow::Result;
use sed_client::{Client, Preparation, v1};

use crate::progress;

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

fn message(title: &str, state: &Preparation) -> String {
    let left = state.remaining.map(|left| format!("about {} s left", left.as_secs_f64().ceil()));
    let parts = ["names and synonyms embedded".to_owned(), title.to_owned(), left.unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    }
}
