//! The metrics themselves. The comment above each is its help text.

use metrics::Unit::{Bytes, Count, Seconds};

use super::{
    buckets,
    by_name::{CounterByName, GaugeByName},
    definition::Metric,
    handles::{Counter, Gauge, Histogram, Info, SecondsTotal},
    labels::{
        AbandonCause, CallOutcome, Code, DeviceErrorKind, FlushReason, HandshakeFailure, Method, Outcome,
        RejectReason, ReloadOutcome, RequestStage, RetryCause, TransferDirection, TransferEnd,
    },
};
use crate::{Priority, Stage, budget::Unit as BatchUnit, stages::Level};

/// One list gives the handles, their help and the list of all, so that none can be left out of it.
macro_rules! inventory {
    ($($(#[doc = $help:literal])+ $handle:ident: $kind:ty = $name:literal $(, $more:expr)*;)*) => {
        $($(#[doc = $help])+ pub static $handle: $kind = <$kind>::new($name, concat!($($help),+) $(, $more)*);)*

        /// All of them.
        pub(super) static ALL: &[&dyn Metric] = &[$(&$handle),*];
    };
}

inventory! {
    /// Calls that have ended, by method and gRPC status code; cancelled ones are CANCELLED.
    REQUESTS: Counter<(Method, Code)> = "sed_requests_total", Count;
    /// From a call's headers to the last byte of its answer; `failed` are all whose code is not OK.
    REQUEST_DURATION: Histogram<(Method, CallOutcome)> =
        "sed_request_duration_seconds", Seconds, buckets::REQUEST_SECONDS;
    /// Calls that have begun and not ended.
    REQUESTS_IN_FLIGHT: Gauge = "sed_requests_in_flight", Count;
    /// Calls of Segment and ModelInfer and requests on streams that are worked on; those beyond the capacity
    /// wait, and are refused after half a second unless they are on a stream.
    CONCURRENT_REQUESTS: Gauge = "sed_concurrent_requests", Count;
    /// Requests for masks that may be worked on at the same time.
    CONCURRENT_REQUESTS_CAPACITY: Gauge = "sed_concurrent_requests_capacity", Count;
    /// Calls, and requests on streams, refused before the device worked on them. `invalid` is any request
    /// that is wrong in itself and has no reason of its own here.
    REQUESTS_REJECTED: Counter<RejectReason> = "sed_requests_rejected_total", Count;
    /// Calls that have ended, by the name of the token that they brought; at most 64 names are known at a
    /// time. Empty where calls need no token.
    REQUESTS_BY_CALLER: CounterByName<Code> = "sed_requests_by_caller_total", Count, "caller";
    /// Requests dropped before this stage because their caller had gone or their deadline had passed: work
    /// saved.
    REQUESTS_ABANDONED: Counter<(RequestStage, AbandonCause)> = "sed_requests_abandoned_total", Count;
    /// Requests on streams that have ended, by gRPC status code; those whose stream went before their answer
    /// are CANCELLED.
    STREAM_REQUESTS: Counter<Code> = "sed_stream_requests_total", Count;
    /// SegmentStream requests that were read and not answered yet.
    STREAM_REQUESTS_IN_FLIGHT: Gauge = "sed_stream_requests_in_flight", Count;
    /// Bytes of the request messages of one Segment, SegmentStream or ModelInfer call, as they came over the
    /// wire.
    REQUEST_BYTES: Histogram = "sed_request_bytes", Bytes, buckets::BYTES;
    /// Bytes of the answers of one Segment, SegmentStream or ModelInfer call, as they went over the wire.
    RESPONSE_BYTES: Histogram = "sed_response_bytes", Bytes, buckets::BYTES;
    /// Pixels of the images that were decoded.
    IMAGE_PIXELS: Histogram = "sed_image_pixels", Count, buckets::PIXELS;

    /// Memory of requests and answers: messages, pictures, masks, whatever a client can cause.
    REQUEST_MEMORY: Gauge = "sed_request_memory_bytes", Bytes;
    /// Memory that requests and answers may take: the part of `max_request_memory_bytes` that is for calls,
    /// three quarters of it or more. What does not fit waits a moment, then it is refused.
    REQUEST_MEMORY_CAPACITY: Gauge = "sed_request_memory_capacity_bytes", Bytes;
    /// Uploads and answers that the server ended, because they made too little progress or were the slowest
    /// when memory or places ran out.
    TRANSFERS_ENDED: Counter<(TransferDirection, TransferEnd)> = "sed_transfers_ended_total", Count;

    /// Connections that are open, those in their handshake included.
    CONNECTIONS: Gauge = "sed_connections", Count;
    /// Connections that may be open; more wait.
    CONNECTIONS_CAPACITY: Gauge = "sed_connections_capacity", Count;
    /// Connections whose TLS handshake failed: it took too long, or the client closed it, did not speak TLS,
    /// had no certificate or one that is expired or otherwise not accepted, refused the server's certificate,
    /// or broke the protocol.
    TLS_HANDSHAKE_FAILURES: Counter<HandshakeFailure> = "sed_tls_handshake_failures_total", Count;
    /// When the server's certificate expires, in seconds since 1970; 0 without TLS.
    TLS_CERTIFICATE_EXPIRY: Gauge = "sed_tls_certificate_expiry_timestamp_seconds", Seconds;
    /// Reloads of the TLS files after a change; after a failed one the previous files stay in use.
    TLS_RELOADS: Counter<ReloadOutcome> = "sed_tls_reloads_total", Count;
    /// Reloads of the file of bearer tokens after a change; after a failed one the previous tokens stay in
    /// use.
    TOKEN_RELOADS: Counter<ReloadOutcome> = "sed_token_reloads_total", Count;

    /// Requests that wait for the device.
    QUEUE_DEPTH: Gauge<Priority> = "sed_queue_depth", Count;
    /// Requests that may wait for the device.
    QUEUE_CAPACITY: Gauge = "sed_queue_capacity", Count;
    /// (Image, category) pairs of the requests that wait for the device.
    QUEUED_PAIRS: Gauge = "sed_queued_pairs", Count;
    /// (Image, category) pairs that may wait for the device.
    QUEUED_PAIRS_CAPACITY: Gauge = "sed_queued_pairs_capacity", Count;
    /// From a request's arrival at the engine to its first launch.
    QUEUE_WAIT: Histogram<Priority> = "sed_queue_wait_seconds", Seconds, buckets::REQUEST_SECONDS;

    /// Time that a request waited for this stage after the one before it.
    STAGE_WAIT: Histogram<RequestStage> = "sed_stage_wait_seconds", Seconds, buckets::STAGE_SECONDS;
    /// Time that a stage took: for image_decode and mask_encoding of one request, for all others of one batch
    /// on the device, whatever requests share it.
    STAGE_DURATION: Histogram<RequestStage> = "sed_stage_duration_seconds", Seconds, buckets::STAGE_SECONDS;
    /// Images of one batch.
    BATCH_IMAGES: Histogram<Stage> = "sed_batch_images", Count, buckets::IMAGES;
    /// (Image, category) pairs of one batch; for text_embedding its phrases.
    BATCH_PAIRS: Histogram<Stage> = "sed_batch_pairs", Count, buckets::PAIRS;
    /// Batches by why they were launched when they were: the budget was full, the longest delay had passed,
    /// or the device had nothing else to do.
    BATCH_FLUSHES: Counter<(Stage, FlushReason)> = "sed_batch_flush_total", Count;
    /// Batches that were run again in parts: because memory ran out, or to find the request that fails.
    BATCH_RETRIES: Counter<(Stage, RetryCause)> = "sed_batch_retries_total", Count;
    /// The most that one batch may hold now.
    BATCH_BUDGET: Gauge<BatchUnit> = "sed_batch_budget", Count;

    /// Categories that a request asked for.
    CATEGORIES_REQUESTED: Histogram = "sed_categories_requested", Count, buckets::CATEGORIES;
    /// Categories of a request that this decoder level worked on.
    CATEGORIES_SURVIVED: Histogram<Level> = "sed_categories_survived", Count, buckets::CATEGORIES;
    /// Categories that came up for this decoder level, by what rejection before it did with them.
    CATEGORY_LEVELS: Counter<(Level, Outcome)> = "sed_category_level_total", Count;

    /// Phrases whose text embedding was at hand.
    TEXT_CACHE_HITS: Counter = "sed_text_cache_hits_total", Count;
    /// Phrases that had to be embedded, or read from the directory.
    TEXT_CACHE_MISSES: Counter = "sed_text_cache_misses_total", Count;
    /// Text embeddings that made room for others.
    TEXT_CACHE_EVICTIONS: Counter = "sed_text_cache_evictions_total", Count;
    /// Text embeddings in memory.
    TEXT_CACHE_ENTRIES: Gauge = "sed_text_cache_entries", Count;
    /// Memory of the text embeddings.
    TEXT_CACHE_BYTES: Gauge = "sed_text_cache_bytes", Bytes;
    /// Memory that the text embeddings may take.
    TEXT_CACHE_CAPACITY: Gauge = "sed_text_cache_capacity_bytes", Bytes;
    /// Text embeddings read from the directory.
    TEXT_STORE_READS: Counter = "sed_text_store_reads_total", Count;
    /// Text embeddings written to the directory.
    TEXT_STORE_WRITES: Counter = "sed_text_store_writes_total", Count;
    /// Files of the directory that were damaged or foreign, so that their phrases were computed again.
    TEXT_STORE_DAMAGED: Counter = "sed_text_store_damaged_total", Count;
    /// Calls on the directory that did not end in time: their phrases were computed. After some in a row the
    /// directory is left alone for a while.
    TEXT_STORE_TIMEOUTS: Counter = "sed_text_store_timeouts_total", Count;
    /// Files of the directory, the oldest ones, that made room for others.
    TEXT_STORE_EVICTIONS: Counter = "sed_text_store_evictions_total", Count;
    /// Unfinished files in the directory that were removed, because their processes have ended.
    TEXT_STORE_LEFTOVERS: Counter = "sed_text_store_leftovers_total", Count;

    /// Requests whose vocabulary was at hand on the device.
    VOCABULARY_CACHE_HITS: Counter = "sed_vocabulary_cache_hits_total", Count;
    /// Requests whose vocabulary had to be assembled.
    VOCABULARY_CACHE_MISSES: Counter = "sed_vocabulary_cache_misses_total", Count;
    /// Assembled vocabularies that made room for others.
    VOCABULARY_CACHE_EVICTIONS: Counter = "sed_vocabulary_cache_evictions_total", Count;
    /// Assembled vocabularies on the device.
    VOCABULARY_CACHE_ENTRIES: Gauge = "sed_vocabulary_cache_entries", Count;
    /// Memory of the assembled vocabularies.
    VOCABULARY_CACHE_BYTES: Gauge = "sed_vocabulary_cache_bytes", Bytes;
    /// Memory that the assembled vocabularies may take.
    VOCABULARY_CACHE_CAPACITY: Gauge = "sed_vocabulary_cache_capacity_bytes", Bytes;
    /// Vocabularies that clients have registered.
    REGISTERED_VOCABULARIES: Gauge = "sed_registered_vocabularies", Count;
    /// Registered vocabularies that made room for others.
    REGISTERED_VOCABULARY_EVICTIONS: Counter = "sed_registered_vocabulary_evictions_total", Count;

    /// Requests whose image features were at hand.
    IMAGE_CACHE_HITS: Counter = "sed_image_cache_hits_total", Count;
    /// Requests whose image had to be encoded.
    IMAGE_CACHE_MISSES: Counter = "sed_image_cache_misses_total", Count;
    /// Image features that made room for others.
    IMAGE_CACHE_EVICTIONS: Counter = "sed_image_cache_evictions_total", Count;
    /// Images whose features are at hand.
    IMAGE_CACHE_ENTRIES: Gauge = "sed_image_cache_entries", Count;
    /// Memory of the image features.
    IMAGE_CACHE_BYTES: Gauge = "sed_image_cache_bytes", Bytes;
    /// Memory that the image features may take.
    IMAGE_CACHE_CAPACITY: Gauge = "sed_image_cache_capacity_bytes", Bytes;

    /// Time that the device worked; its rate is the utilisation.
    DEVICE_BUSY: SecondsTotal = "sed_device_busy_seconds_total";
    /// Launches that failed, by how.
    DEVICE_ERRORS: Counter<DeviceErrorKind> = "sed_device_errors_total", Count;
    /// Times that the device thread was started again after a panic.
    DEVICE_RESTARTS: Counter = "sed_device_restarts_total", Count;
    /// 1 while this device answers requests, else 0. A server with several devices goes on while any of them
    /// does.
    DEVICE_READY: GaugeByName = "sed_device_ready", Count, "device";
    /// Panics that were caught, anywhere in the process.
    PANICS: Counter = "sed_panics_total", Count;

    /// 1 while the model answers, else 0.
    MODEL_READY: Gauge = "sed_model_ready", Count;
    /// Time that the warm-up took.
    WARMUP: Gauge = "sed_warmup_seconds", Seconds;
    /// Time that loading the model took.
    MODEL_LOAD: Gauge = "sed_model_load_seconds", Seconds;
    /// Always 1; the label says which server this is.
    BUILD_INFO: Info<1> = "sed_build_info", ["version"];
    /// Always 1; the labels say which model this is.
    MODEL_INFO: Info<4> = "sed_model_info", ["name", "digest", "dtype", "device"];
}
