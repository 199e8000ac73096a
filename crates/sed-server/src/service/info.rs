//! `GetServerInfo`: the server's model, limits, defaults, formats and vocabularies.

use sed_image::ImageFormat;
use sed_proto::v1::{self, MaskEncoding};

use super::{Context, mask_encoding, vocabularies};
use crate::{convert, vocabulary_registry::REGISTERED_VOCABULARY_BYTES};

pub(crate) fn answer(context: &Context) -> v1::GetServerInfoResponse {
    v1::GetServerInfoResponse {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        model: Some(convert::model_info(context.engine.model())),
        limits: Some(limits(context)),
        defaults: Some(v1::Defaults {
            top_k: context.settings.default_top_k(),
            mask_encoding: MaskEncoding::IndexPng.into(),
        }),
        vocabularies: vocabularies::summaries(context, context.vocabularies.page(None, usize::MAX)),
        mask_encodings: mask_encoding::published().map(i32::from).collect(),
        image_formats: ImageFormat::ALL.iter().map(ToString::to_string).collect(),
        compressions: context.transport.compression.iter().map(|way| way.name().to_owned()).collect(),
        uptime: Some(convert::duration(context.started.elapsed())),
    }
}

/// The settings that are published, and the largest batches of this moment.
fn limits(context: &Context) -> v1::Limits {
    let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let settings = &context.settings;
    let (batch_images, batch_pairs) = context.engine.budget();
    v1::Limits {
        max_message_bytes: settings.max_message_bytes as u64,
        max_image_bytes: settings.max_image_bytes(),
        max_image_pixels: settings.max_image_pixels,
        max_image_side: settings.max_image_side,
        max_decode_bytes: settings.max_decode_bytes,
        max_output_pixels: settings.max_output_pixels,
        max_output_side: settings.max_output_side,
        max_categories: count(settings.max_categories),
        max_synonyms: count(settings.max_synonyms),
        max_phrases: count(settings.max_phrases),
        max_phrase_bytes: count(settings.max_phrase_bytes),
        max_top_k: settings.max_top_k,
        max_request_id_bytes: count(settings.max_request_id_bytes),
        max_response_bytes: settings.max_response_bytes as u64,
        max_concurrent_requests: count(settings.max_concurrent_requests),
        max_polygon_points: settings.max_polygon_points as u64,
        max_queued_requests: count(settings.queue_capacity()),
        max_timeout: Some(convert::duration(settings.max_timeout())),
        max_queued_pairs: settings.queue_pairs as u64,
        max_batch_images: count(batch_images),
        max_batch_pairs: count(batch_pairs),
        text_cache_bytes: settings.text_cache_bytes as u64,
        vocabulary_cache_bytes: settings.vocabulary_cache_bytes as u64,
        image_cache_bytes: settings.image_cache_bytes as u64,
        max_registered_vocabularies: count(settings.max_registered_vocabularies),
        max_registered_vocabulary_bytes: REGISTERED_VOCABULARY_BYTES as u64,
        max_stream_requests: count(settings.max_stream_requests),
        max_connections: count(settings.max_connections()),
        max_connection_streams: settings.http2_max_streams,
        max_connection_age: settings.max_connection_age().map(convert::duration),
        max_header_bytes: settings.http2_max_header_bytes,
        max_request_memory_bytes: settings.max_request_memory_bytes,
        max_preparing_phrases: count(settings.max_preparing_phrases),
    }
}
