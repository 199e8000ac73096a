//! `GetServerInfo`: the server's model, limits, defaults, formats and vocabularies.

use sed_image::ImageFormat;
use sed_proto::v1::{self, MaskEncoding};

use super::{Context, mask_encoding, vocabularies};
use crate::convert;

pub(crate) fn answer(context: &Context) -> v1::GetServerInfoResponse {
    v1::GetServerInfoResponse {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        model: Some(convert::model_info(context.engine.model())),
        limits: Some(context.limits.to_proto(context.engine.budget(), &context.transport)),
        defaults: Some(v1::Defaults {
            top_k: context.default_rejection.top_k(),
            mask_encoding: MaskEncoding::IndexPng.into(),
        }),
        vocabularies: vocabularies::summaries(context.vocabularies.page(None, usize::MAX)),
        mask_encodings: mask_encoding::published().map(i32::from).collect(),
        image_formats: ImageFormat::ALL.iter().map(ToString::to_string).collect(),
        compressions: context.transport.compression.iter().map(|way| way.name().to_owned()).collect(),
        uptime: Some(convert::duration(context.started.elapsed())),
    }
}
