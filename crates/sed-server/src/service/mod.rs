//! The calls of `sed.v1.SegmentationService`.

mod info;
mod segment;

use std::{sync::Arc, time::Instant};

use sed_engine::{Engine, VocabularyBook};
use sed_proto::v1::{self, segmentation_service_server};
use tonic::{Request, Response, Status};

use crate::{cpu_pool::CpuPool, limits::Limits};

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) vocabularies: VocabularyBook,
    pub(crate) limits: Limits,
    pub(crate) default_top_k: u32,
    pub(crate) pool: CpuPool,
    pub(crate) started: Instant,
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SegmentationService {
    context: Arc<Context>,
}

impl SegmentationService {
    pub(crate) fn new(context: Context) -> Self {
        Self { context: Arc::new(context) }
    }
}

#[tonic::async_trait]
impl segmentation_service_server::SegmentationService for SegmentationService {
    async fn segment(
        &self,
        request: Request<v1::SegmentRequest>,
    ) -> Result<Response<v1::SegmentResponse>, Status> {
        segment::answer(&self.context, request).await
    }

    async fn get_server_info(
        &self,
        _: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        Ok(Response::new(info::answer(&self.context)))
    }
}
