//! The server's metrics: calls, memory, connections, access and vocabularies.

mod labels;

use sed_telemetry::{
    Counter, CounterByName, Gauge, Histogram, Info,
    Unit::{Bytes, Count, Seconds},
    buckets, families,
};

pub use labels::*;

pub use crate::methods::CountedMethod;

/// Metrics that are not recorded.
#[cfg(test)]
pub(crate) fn off() -> std::sync::Arc<ServerMetrics> {
    ServerMetrics::new(&sed_telemetry::Telemetry::off())
}

families! {
    /// Families that the server records. The comment above each is its help text.
    pub struct ServerMetrics {
        /// Calls that have ended, by method and gRPC status code; cancelled ones are CANCELLED.
        requests: Counter<(CountedMethod, Code)> = "sed_requests_total", Count;
        /// From a call's headers to the last byte of its answer; `failed` are all whose code is not OK.
        request_duration: Histogram<(CountedMethod, CallOutcome)> =
            "sed_request_duration_seconds", Seconds, buckets::REQUEST_SECONDS;
        /// Calls that have begun and not ended.
        requests_in_flight: Gauge = "sed_requests_in_flight", Count;
        /// Calls of Segment and ModelInfer and requests on streams that are worked on; those beyond the capacity
        /// wait, and are refused after half a second unless they are on a stream.
        concurrent_requests: Gauge = "sed_concurrent_requests", Count;
        /// Requests for masks that may be worked on at the same time.
        concurrent_requests_capacity: Gauge = "sed_concurrent_requests_capacity", Count;
        /// Calls, and requests on streams, refused before the device worked on them. `invalid` is any request
        /// that is wrong in itself and has no reason of its own here.
        requests_rejected: Counter<RejectReason> = "sed_requests_rejected_total", Count;
        /// Calls that have ended, by the name of the token that they brought; at most 64 names are known at a
        /// time. Empty where calls need no token.
        requests_by_caller: CounterByName<Code> = "sed_requests_by_caller_total", Count, &["caller"];
        /// Requests on streams that have ended, by gRPC status code; those whose stream went before their answer
        /// are CANCELLED.
        stream_requests: Counter<Code> = "sed_stream_requests_total", Count;
        /// SegmentStream requests that were read and not answered yet.
        stream_requests_in_flight: Gauge = "sed_stream_requests_in_flight", Count;
        /// Bytes of the request messages of one Segment, SegmentStream or ModelInfer call, as they came over the
        /// wire.
        request_bytes: Histogram = "sed_request_bytes", Bytes, buckets::BYTES;
        /// Bytes of the answers of one Segment, SegmentStream or ModelInfer call, as they went over the wire.
        response_bytes: Histogram = "sed_response_bytes", Bytes, buckets::BYTES;
        /// Pixels of the images that were decoded.
        image_pixels: Histogram = "sed_image_pixels", Count, buckets::PIXELS;
        /// Memory of requests and answers: messages, pictures, masks, whatever a client can cause.
        request_memory: Gauge = "sed_request_memory_bytes", Bytes;
        /// Memory that requests and answers may take: the part of `max_request_memory_bytes` that is for calls,
        /// three quarters of it or more. What does not fit waits a moment, then it is refused.
        request_memory_capacity: Gauge = "sed_request_memory_capacity_bytes", Bytes;
        /// Uploads and answers that the server ended, because they made too little progress or were the slowest
        /// when memory or places ran out.
        transfers_ended: Counter<(TransferDirection, TransferEnd)> = "sed_transfers_ended_total", Count;
        /// Connections that are open, those in their handshake included.
        connections: Gauge = "sed_connections", Count;
        /// Connections that may be open; more wait.
        connections_capacity: Gauge = "sed_connections_capacity", Count;
        /// Connections whose TLS handshake failed: it took too long, or the client closed it, did not speak TLS,
        /// had no certificate or one that is expired or otherwise not accepted, refused the server's certificate,
        /// or broke the protocol.
        tls_handshake_failures: Counter<HandshakeFailure> = "sed_tls_handshake_failures_total", Count;
        /// When the server's certificate expires, in seconds since 1970; 0 without TLS.
        tls_certificate_expiry: Gauge = "sed_tls_certificate_expiry_timestamp_seconds", Seconds;
        /// Reloads of the TLS files after a change; after a failed one the previous files stay in use.
        tls_reloads: Counter<ReloadOutcome> = "sed_tls_reloads_total", Count;
        /// Reloads of the file of bearer tokens after a change; after a failed one the previous tokens stay in
        /// use.
        token_reloads: Counter<ReloadOutcome> = "sed_token_reloads_total", Count;
        /// Vocabularies that clients have registered.
        registered_vocabularies: Gauge = "sed_registered_vocabularies", Count;
        /// Registered vocabularies that made room for others.
        registered_vocabulary_evictions: Counter = "sed_registered_vocabulary_evictions_total", Count;
        /// 1 while the model answers, else 0.
        model_ready: Gauge = "sed_model_ready", Count;
        /// Always 1; the label says which server this is.
        build_info: Info<1> = "sed_build_info", &["version"];
        /// Always 1; the labels say which model this is.
        model_info: Info<4> = "sed_model_info", &["name", "digest", "dtype", "device"];
    }
}
