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

/// The limits. One with the name of a setting is its value; each of the others is here, with the reason.
fn limits(context: &Context) -> v1::Limits {
    let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let settings = &context.settings;
    let (batch_images, batch_pairs) = context.engine.budget();
    v1::Limits {
        // Of this moment: they fall when a device runs out of memory.
        max_batch_images: count(batch_images),
        max_batch_pairs: count(batch_pairs),
        // A constant of the program.
        max_registered_vocabulary_bytes: REGISTERED_VOCABULARY_BYTES as u64,
        // Spans of time: settings have seconds, and 0 for no limit of age.
        max_timeout: Some(convert::duration(settings.max_timeout())),
        max_connection_age: settings.max_connection_age().map(convert::duration),
        // Settings of other names: neither those nor the interface's may change.
        max_queued_requests: count(settings.queue_capacity()),
        max_queued_pairs: settings.queue_pairs as u64,
        max_connection_streams: settings.http2_max_streams,
        max_header_bytes: settings.http2_max_header_bytes,
        ..context.published_limits
    }
}
