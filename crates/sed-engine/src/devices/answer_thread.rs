//! The thread that makes the answers of a device's submissions, while the device goes on.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use crate::{metrics::EngineMetrics, requests::error::EngineError, scheduler::Unfinished};

/// Answers that may wait for the thread; the device waits when there are more.
const MOST_WAITING: usize = 32;

/// The thread. On drop it answers what it has, and ends.
#[derive(Debug)]
pub(crate) struct AnswerThread {
    line: Option<SyncSender<Unfinished>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<EngineMetrics>,
}

impl AnswerThread {
    /// Starts the thread of a device.
    ///
    /// # Errors
    /// [`EngineError::NoThread`].
    pub(crate) fn start(device: &str, metrics: &Arc<EngineMetrics>) -> Result<Self, EngineError> {
        let (line, waiting) = sync_channel::<Unfinished>(MOST_WAITING);
        let metrics = Arc::clone(metrics);
        let work = {
            let metrics = Arc::clone(&metrics);
            move || waiting.into_iter().for_each(|unfinished| unfinished.finish(Instant::now, &metrics))
        };
        let thread = std::thread::Builder::new().name(format!("answers-{device}")).spawn(work);
        let thread = thread.map_err(|error| EngineError::NoThread(error.to_string()))?;
        Ok(Self { line: Some(line), thread: Some(thread), metrics })
    }

    /// Has a request answered.
    pub(crate) fn finish(&self, unfinished: Unfinished) {
        let refused = match &self.line {
            Some(line) => line.send(unfinished).err().map(|refused| refused.0),
            None => Some(unfinished),
        };
        // Without the thread the work is done here.
        if let Some(unfinished) = refused {
            unfinished.finish(Instant::now, &self.metrics);
        }
    }
}

impl Drop for AnswerThread {
    fn drop(&mut self) {
        drop(self.line.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the answers panicked");
        }
    }
}
