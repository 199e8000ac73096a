//! The calls of `sed.v1.SegmentationService`.

mod advice;
mod ambiguities;
pub(crate) mod answer_size;
pub(crate) mod contrast;
mod costs;
mod info;
mod intake;
mod mask_encoding;
mod preparing;
pub(crate) mod refusal;
pub(crate) mod segment;
mod stream;
mod stream_answers;
mod unanswered;
mod vocabularies;
pub(crate) mod words;

use std::{sync::Arc, time::Instant};

use sed_engine::Engine;
use sed_proto::v1::{self, segmentation_service_server};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use self::{contrast::ContrastChoices, preparing::Messages, stream_answers::Answers};
use crate::{
    config::Settings, config::Transport, cpu_pool::CpuPool, memory::Account, metrics::ServerMetrics,
    places::Places, vocabulary_registry::VocabularyRegistry,
};

/// The state that all calls share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) vocabularies: VocabularyRegistry,
    pub(crate) contrast: ContrastChoices,
    pub(crate) settings: Arc<Settings>,
    /// The limits of `GetServerInfo` that have the name of a setting; the others are 0.
    pub(crate) published_limits: v1::Limits,
    pub(crate) transport: Transport,
    pub(crate) pool: CpuPool,
    /// Places for requests; a stream takes them one by one.
    pub(crate) places: Places,
    /// The memory that calls may take.
    pub(crate) account: Account,
    /// True once the server shuts down; requests that come before it is closed are still answered.
    pub(crate) stopping: watch::Receiver<bool>,
    /// True once no new work is to begin.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) started: Instant,
    /// The name of the host.
    pub(crate) replica: String,
    pub(crate) metrics: Arc<ServerMetrics>,
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SegmentationService {
    context: Arc<Context>,
}

impl SegmentationService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
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

    type SegmentStreamStream = Answers;

    async fn segment_stream(
        &self,
        request: Request<Streaming<v1::SegmentStreamRequest>>,
    ) -> Result<Response<Self::SegmentStreamStream>, Status> {
        Ok(stream::answer(Arc::clone(&self.context), request))
    }

    async fn create_vocabulary(
        &self,
        request: Request<v1::CreateVocabularyRequest>,
    ) -> Result<Response<v1::CreateVocabularyResponse>, Status> {
        vocabularies::create(&self.context, request).await.map(Response::new)
    }

    async fn get_vocabulary(
        &self,
        request: Request<v1::GetVocabularyRequest>,
    ) -> Result<Response<v1::GetVocabularyResponse>, Status> {
        vocabularies::get(&self.context, &request.into_inner()).map(Response::new)
    }

    async fn list_vocabularies(
        &self,
        request: Request<v1::ListVocabulariesRequest>,
    ) -> Result<Response<v1::ListVocabulariesResponse>, Status> {
        vocabularies::list(&self.context, &request.into_inner()).map(Response::new)
    }

    type PrepareVocabularyStream = Messages;

    async fn prepare_vocabulary(
        &self,
        request: Request<v1::PrepareVocabularyRequest>,
    ) -> Result<Response<Self::PrepareVocabularyStream>, Status> {
        preparing::answer(Arc::clone(&self.context), request).await
    }

    async fn delete_vocabulary(
        &self,
        request: Request<v1::DeleteVocabularyRequest>,
    ) -> Result<Response<v1::DeleteVocabularyResponse>, Status> {
        vocabularies::delete(&self.context, request).map(Response::new)
    }

    async fn get_server_info(
        &self,
        _: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        Ok(Response::new(info::answer(&self.context)))
    }
}
