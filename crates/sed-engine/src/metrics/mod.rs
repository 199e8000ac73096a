//! The engine's metrics, and those of the stages of a request, which the server's part of them records, too.

mod labels;

use sed_telemetry::{
    Counter, Gauge, GaugeByName, Histogram, SecondsTotal,
    Unit::{Bytes, Count, Seconds},
    buckets, families,
};

pub use labels::*;

use crate::{
    requests::job::Priority,
    stages::stage::{Stage, Unit as BatchUnit},
};

/// Metrics that are not recorded.
#[cfg(test)]
pub(crate) fn off() -> std::sync::Arc<EngineMetrics> {
    EngineMetrics::new(&sed_telemetry::Telemetry::off())
}

families! {
    /// Families that the engine records. The comment above each is its help text.
    pub struct EngineMetrics {
        /// Requests dropped before this stage because their caller had gone or their deadline had passed: work
        /// saved.
        requests_abandoned: Counter<(RequestStage, AbandonCause)> = "sed_requests_abandoned_total", Count;
        /// Requests that wait for the device.
        queue_depth: Gauge<Priority> = "sed_queue_depth", Count;
        /// Requests that may wait for the device.
        queue_capacity: Gauge = "sed_queue_capacity", Count;
        /// (Image, category) pairs of the requests that wait for the device.
        queued_pairs: Gauge = "sed_queued_pairs", Count;
        /// (Image, category) pairs that may wait for the device.
        queued_pairs_capacity: Gauge = "sed_queued_pairs_capacity", Count;
        /// From a request's arrival at the engine to its first launch.
        queue_wait: Histogram<Priority> = "sed_queue_wait_seconds", Seconds, buckets::REQUEST_SECONDS;
        /// Time that a request waited for this stage after the one before it.
        stage_wait: Histogram<RequestStage> = "sed_stage_wait_seconds", Seconds, buckets::STAGE_SECONDS;
        /// Time that a stage took: for image_decode and mask_encoding of one request, for all others of one batch
        /// on the device, whatever requests share it.
        stage_duration: Histogram<RequestStage> =
            "sed_stage_duration_seconds", Seconds, buckets::STAGE_SECONDS;
        /// Images of one batch.
        batch_images: Histogram<Stage> = "sed_batch_images", Count, buckets::IMAGES;
        /// (Image, category) pairs of one batch; for text_embedding its phrases.
        batch_pairs: Histogram<Stage> = "sed_batch_pairs", Count, buckets::PAIRS;
        /// Batches by why they were launched when they were: the budget was full, the longest delay had passed,
        /// or the device had nothing else to do.
        batch_flushes: Counter<(Stage, FlushReason)> = "sed_batch_flush_total", Count;
        /// Batches that were run again in parts: because memory ran out, or to find the request that fails.
        batch_retries: Counter<(Stage, RetryCause)> = "sed_batch_retries_total", Count;
        /// Launches of whole requests, through all stages behind the words at once. One that runs out of memory is
        /// run stage by stage, one that fails again in halves.
        submissions: Counter<SubmissionOutcome> = "sed_submissions_total", Count;
        /// The most that one batch may hold now.
        batch_budget: Gauge<BatchUnit> = "sed_batch_budget", Count;
        /// Categories that a request asked for.
        categories_requested: Histogram = "sed_categories_requested", Count, buckets::CATEGORIES;
        /// Categories of a request that this decoder level worked on.
        categories_survived: Histogram<DecoderLevel> = "sed_categories_survived", Count, buckets::CATEGORIES;
        /// Categories that came up for this decoder level, by what rejection before it did with them.
        category_levels: Counter<(DecoderLevel, CategoryOutcome)> = "sed_category_level_total", Count;
        /// Phrases whose text embedding was at hand.
        text_cache_hits: Counter = "sed_text_cache_hits_total", Count;
        /// Phrases that had to be embedded, or read from the directory.
        text_cache_misses: Counter = "sed_text_cache_misses_total", Count;
        /// Text embeddings that made room for others.
        text_cache_evictions: Counter = "sed_text_cache_evictions_total", Count;
        /// Text embeddings in memory.
        text_cache_entries: Gauge = "sed_text_cache_entries", Count;
        /// Memory of the text embeddings.
        text_cache_bytes: Gauge = "sed_text_cache_bytes", Bytes;
        /// Memory that the text embeddings may take.
        text_cache_capacity: Gauge = "sed_text_cache_capacity_bytes", Bytes;
        /// Text embeddings read from the directory.
        text_store_reads: Counter = "sed_text_store_reads_total", Count;
        /// Text embeddings written to the directory.
        text_store_writes: Counter = "sed_text_store_writes_total", Count;
        /// Files of the directory that were damaged or foreign, so that their phrases were computed again.
        text_store_damaged: Counter = "sed_text_store_damaged_total", Count;
        /// Calls on the directory that did not end in time: their phrases were computed. After some in a row the
        /// directory is left alone for a while.
        text_store_timeouts: Counter = "sed_text_store_timeouts_total", Count;
        /// Files of the directory, the oldest ones, that made room for others.
        text_store_evictions: Counter = "sed_text_store_evictions_total", Count;
        /// Unfinished files in the directory that were removed, because their processes have ended.
        text_store_leftovers: Counter = "sed_text_store_leftovers_total", Count;
        /// Vocabularies that are being prepared in the background.
        preparations: Gauge = "sed_preparations", Count;
        /// Phrases of these vocabularies that some device has not embedded yet.
        preparing_phrases: Gauge = "sed_preparing_phrases", Count;
        /// Phrases that were embedded in the background of all requests.
        prepared_phrases: Counter = "sed_prepared_phrases_total", Count;
        /// Requests whose vocabulary was at hand on the device.
        vocabulary_cache_hits: Counter = "sed_vocabulary_cache_hits_total", Count;
        /// Requests whose vocabulary had to be assembled.
        vocabulary_cache_misses: Counter = "sed_vocabulary_cache_misses_total", Count;
        /// Assembled vocabularies that made room for others.
        vocabulary_cache_evictions: Counter = "sed_vocabulary_cache_evictions_total", Count;
        /// Assembled vocabularies on the device.
        vocabulary_cache_entries: Gauge = "sed_vocabulary_cache_entries", Count;
        /// Memory of the assembled vocabularies.
        vocabulary_cache_bytes: Gauge = "sed_vocabulary_cache_bytes", Bytes;
        /// Memory that the assembled vocabularies may take.
        vocabulary_cache_capacity: Gauge = "sed_vocabulary_cache_capacity_bytes", Bytes;
        /// Requests whose image features were at hand.
        image_cache_hits: Counter = "sed_image_cache_hits_total", Count;
        /// Requests whose image had to be encoded.
        image_cache_misses: Counter = "sed_image_cache_misses_total", Count;
        /// Image features that made room for others.
        image_cache_evictions: Counter = "sed_image_cache_evictions_total", Count;
        /// Images whose features are at hand.
        image_cache_entries: Gauge = "sed_image_cache_entries", Count;
        /// Memory of the image features.
        image_cache_bytes: Gauge = "sed_image_cache_bytes", Bytes;
        /// Memory that the image features may take.
        image_cache_capacity: Gauge = "sed_image_cache_capacity_bytes", Bytes;
        /// Time that the device worked; its rate is the utilisation.
        device_busy: SecondsTotal = "sed_device_busy_seconds_total";
        /// Launches that failed, by how.
        device_errors: Counter<DeviceErrorKind> = "sed_device_errors_total", Count;
        /// Times that the device thread was started again after a panic.
        device_restarts: Counter = "sed_device_restarts_total", Count;
        /// 1 while this device answers requests, else 0. A server with several devices goes on while any of them
        /// does.
        device_ready: GaugeByName = "sed_device_ready", Count, &["device"];
        /// Panics that were caught, anywhere in the process.
        panics: Counter = "sed_panics_total", Count;
        /// Time that the warm-up took.
        warmup: Gauge = "sed_warmup_seconds", Seconds;
    }
}
