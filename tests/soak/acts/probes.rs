//! Questions that need no work: health, server info, and those of the Open Inference Protocol.

use sed_proto::{inference, v1};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::{
    calls::{Shared, ask},
    catalogue::MODEL,
    judgement::{check_error, was_not_taken},
    line::Line,
};

/// Notes a failed probe. They have no account: the server counts only calls that do work.
fn note<T>(shared: &Shared, what: &str, answer: Result<T, Status>) -> Option<T> {
    match answer {
        Ok(answer) => return Some(answer),
        Err(status) if was_not_taken(&status) => shared.tally().not_taken += 1,
        Err(status) => shared.tally().violation(format!("{what}: {status:?}")),
    }
    None
}

pub(super) async fn all(shared: &Shared, line: &Line) {
    if let Some(Err(status)) = ask!(shared, line, GetServerInfo, get_server_info, v1::GetServerInfoRequest {})
    {
        shared.expect("server info", check_error(&status, &[]));
    }
    health(shared, line).await;
    open_inference(shared, line).await;
}

async fn health(shared: &Shared, line: &Line) {
    let mut client = line.health();
    // The process lives whatever the device does.
    let answer = client.check(HealthCheckRequest { service: String::new() }).await;
    if let Some(answer) = note(shared, "health", answer)
        && answer.get_ref().status() != ServingStatus::Serving
    {
        shared.tally().violation(format!("the process says that it is {:?}", answer.get_ref().status()));
    }
    let service = sed_server::SERVICE_NAME.to_owned();
    let watch = client.watch(HealthCheckRequest { service }).await;
    if let Some(watch) = note(shared, "health's watch", watch) {
        note(shared, "health's first news", watch.into_inner().message().await);
    }
}

async fn open_inference(shared: &Shared, line: &Line) {
    let (mut client, caller) = (line.inference(), line.caller);
    let live = client.server_live(caller.request(inference::ServerLiveRequest {})).await;
    note(shared, "ServerLive", live);
    let ready = client.server_ready(caller.request(inference::ServerReadyRequest {})).await;
    note(shared, "ServerReady", ready);
    let named = inference::ModelMetadataRequest { name: MODEL.into(), version: String::new() };
    note(shared, "ModelMetadata", client.model_metadata(caller.request(named)).await);
}
