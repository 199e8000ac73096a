//! Words that are prepared: to the end, or left early.

use sed_proto::v1::{self, ErrorReason};
use tokio::time::timeout;

use crate::{
    calls::{FORGOTTEN, Shared},
    catalogue,
    judgement::{TROUBLE, check_error, was_not_taken},
    line::Line,
};

/// Ends that a preparation may have without a fault: its connection is old, or too much is being prepared.
const ENDS: [ErrorReason; 2] = [ErrorReason::Reconnect, ErrorReason::VocabularyNotReady];

/// Has new words prepared, and follows the progress; every third client leaves after the first message.
pub(super) async fn words(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let (method, caller) = ("PrepareVocabulary", line.caller);
    let leaves = random.u32(0..3) == 0;
    let first = shared.fresh();
    let list =
        catalogue::categories((0..random.usize(1..8)).map(|number| format!("prepared {first} {number}")));
    let vocabulary = Some(catalogue::inline(list));
    let mut client = line.segmentation();
    let asked = client.prepare_vocabulary(caller.request(v1::PrepareVocabularyRequest { vocabulary }));
    let mut messages = match asked.await {
        Ok(response) => response.into_inner(),
        Err(status) if was_not_taken(&status) => return shared.tally().not_taken += 1,
        Err(status) => {
            shared.tally().answered(method, caller.name(), Some(&status));
            return shared.expect("a preparation", check_error(&status, &[&TROUBLE, &ENDS]));
        }
    };
    let mut last = v1::PrepareVocabularyResponse::default();
    loop {
        match timeout(FORGOTTEN, messages.message()).await {
            Err(_) => {
                shared.tally().gave_up(method, caller.name());
                return shared.tally().violation(format!("a preparation said nothing for {FORGOTTEN:?}"));
            }
            Ok(Ok(Some(now))) => {
                let falls = now.embedded < last.embedded || now.phrases < last.phrases || last.ready;
                if falls || now.embedded > now.phrases || (now.ready && now.embedded < now.phrases) {
                    shared.tally().violation(format!("a preparation went from {last:?} to {now:?}"));
                }
                last = now;
                if leaves {
                    drop(messages);
                    return shared.tally().gave_up(method, caller.name());
                }
            }
            Ok(end) => {
                let error = end.err();
                shared.tally().answered(method, caller.name(), error.as_ref());
                let judged = match error {
                    None if last.ready => Ok(()),
                    None => Err(format!("it ended at {last:?}")),
                    Some(status) => check_error(&status, &[&TROUBLE, &ENDS]),
                };
                return shared.expect("a preparation", judged);
            }
        }
    }
}
