//! The calls of `inference.GRPCInferenceService`: the Open Inference Protocol before the same engine, with
//! the same checks, limits and errors as `sed.v1.SegmentationService`.

mod contents;
mod metadata;
mod parameters;
mod paths;
mod request;
mod response;
mod tensor;
mod thresholds;

use std::{sync::Arc, time::Instant};

use prost::Message;
use sed_engine::EngineError;
use sed_proto::{
    inference::{self as proto, grpc_inference_service_server::GrpcInferenceService},
    v1,
};
use tokio::time::timeout_at;
use tonic::{Request, Response, Status};

pub use self::{
    metadata::Output,
    request::{ValidatedInfer, validate_infer},
};
use crate::{
    convert,
    cpu_pool::Load,
    deadline::{Deadline, Received},
    field::{CategoryList, Field},
    intake::{CallMemory, charged},
    memory::Charge,
    service::{
        Context,
        refusal::{Refusal, conclude},
        segment::{name_request, segment},
        words,
    },
};

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct InferenceService {
    context: Arc<Context>,
}

impl InferenceService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn is_ready(&self) -> bool {
        !*self.context.stopping.borrow() && self.context.engine.check_ready().is_ok()
    }

    fn check_model(&self, name: &str, version: &str) -> Result<(), Refusal> {
        metadata::check_model(self.context.engine.model(), name, version)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    async fn server_live(
        &self,
        _: Request<proto::ServerLiveRequest>,
    ) -> Result<Response<proto::ServerLiveResponse>, Status> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<proto::ServerReadyRequest>,
    ) -> Result<Response<proto::ServerReadyResponse>, Status> {
        Ok(Response::new(proto::ServerReadyResponse { ready: self.is_ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Result<Response<proto::ModelReadyResponse>, Status> {
        let proto::ModelReadyRequest { name, version } = request.into_inner();
        self.check_model(&name, &version).map_err(Refusal::into_status)?;
        Ok(Response::new(proto::ModelReadyResponse { ready: self.is_ready() }))
    }

    async fn server_metadata(
        &self,
        _: Request<proto::ServerMetadataRequest>,
    ) -> Result<Response<proto::ServerMetadataResponse>, Status> {
        Ok(Response::new(metadata::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Result<Response<proto::ModelMetadataResponse>, Status> {
        let proto::ModelMetadataRequest { name, version } = request.into_inner();
        self.check_model(&name, &version).map_err(Refusal::into_status)?;
        Ok(Response::new(metadata::model(self.context.engine.model())))
    }

    async fn model_infer(
        &self,
        request: Request<proto::ModelInferRequest>,
    ) -> Result<Response<proto::ModelInferResponse>, Status> {
        let deadline = Deadline::of_call(&request, self.context.settings.max_timeout());
        let received = Received::of(&request);
        let memory = CallMemory::of(&request, &self.context.account);
        let outcome = self.infer(request.into_inner(), memory, received, deadline).await;
        let (answer, charge) = conclude(outcome, received)?;
        Ok(charged(answer, charge, true))
    }
}

impl InferenceService {
    async fn infer(
        &self,
        message: proto::ModelInferRequest,
        memory: CallMemory,
        received: Instant,
        Deadline(deadline): Deadline,
    ) -> Result<(proto::ModelInferResponse, Charge), Refusal> {
        let limits = &self.context.settings;
        name_request(&message.id, limits);
        self.check_model(&message.model_name, &message.model_version)?;
        let (checked_by, reader) = (limits.clone(), self.context.engine.phrase_reader());
        let load = Load { connection: memory.connection(), bytes: message.encoded_len() as u64 };
        let check = move || validate_infer(&message, &checked_by, &*reader);
        let ValidatedInfer { request, outputs, typed, timeout, paths } =
            self.context.pool.run_unseen(load, check).await??;
        let id = request.request_id.clone();
        let deadline = match timeout {
            Some(timeout) => deadline.min((received + timeout.min(limits.max_timeout())).into()),
            None => deadline,
        };
        let written = request.words.written_out();
        let answer = async {
            let request = words::find(&self.context, request, &memory, deadline.into_std()).await?;
            let field = |phrase| paths.of(Field::Phrase(CategoryList::Inline, phrase));
            let warnings = convert::warnings(written.warnings(&request.vocabulary), field);
            let answer = segment(&self.context, request, memory, received, deadline.into_std()).await?;
            Ok((answer, warnings))
        };
        let answer = timeout_at(deadline, answer).await.unwrap_or(Err(EngineError::DeadlineExceeded.into()));
        let ((answer, mut charge), warnings) =
            answer.map_err(|refusal: Refusal| refusal.with_field(|field| paths.of(field)))?;
        let answer = v1::SegmentResponse { warnings, ..answer };
        // The tensors, typed ones at twice their size, and their encoding.
        let made = 8 * answer.encoded_len() as u64;
        charge.grow(made).await?;
        Ok((response::made_of(answer, id, &outputs, typed, limits)?, charge))
    }
}
