//! The answers of the operations port, by path.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use sed_engine::EngineState;
use sed_telemetry::Telemetry;
use tokio::sync::watch;

const TEXT: &str = "text/plain; charset=utf-8";
/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The sources of the answers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) engine: watch::Receiver<EngineState>,
    /// True once the server is shutting down.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) telemetry: Telemetry,
}

/// The answer to one request; hyper leaves the body out for HEAD.
pub(super) fn answer(method: &Method, path: &str, sources: &Sources) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/livez" => text(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => match not_ready(sources) {
            None => text(StatusCode::OK, TEXT, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
        },
        "/metrics" => match sources.telemetry.render() {
            Some(metrics) => text(StatusCode::OK, EXPOSITION, metrics),
            None => text(StatusCode::NOT_FOUND, TEXT, "this process records no metrics\n"),
        },
        _ => text(StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n"),
    }
}

fn not_ready(sources: &Sources) -> Option<String> {
    if *sources.stopping.borrow() {
        return Some("the server is shutting down".into());
    }
    match &*sources.engine.borrow() {
        EngineState::Ready => None,
        EngineState::Starting => Some("the model is being warmed up".into()),
        EngineState::Failed { reason } => Some(format!("the warm-up failed: {reason}")),
        EngineState::DeviceLost { reason } => Some(format!("the device does not answer: {reason}")),
        EngineState::GivenUp { reason } => Some(format!("the device is lost, the server ends: {reason}")),
        EngineState::Stopped => Some("the engine has stopped".into()),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(method: Method, path: &str, engine: EngineState, stopping: bool) -> (StatusCode, String) {
        let (_state, engine) = watch::channel(engine);
        let (_stop, stopping) = watch::channel(stopping);
        let response = answer(&method, path, &Sources { engine, stopping, telemetry: Telemetry::off() });
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_engine_and_the_server_and_says_why() {
        let lost = EngineState::DeviceLost { reason: "bus error".into() };
        let failed = EngineState::Failed { reason: "no memory".into() };
        let cases = [
            (EngineState::Ready, false, ""),
            (EngineState::Ready, true, "shutting down"),
            (EngineState::Starting, false, "warmed up"),
            (failed, false, "no memory"),
            (lost, false, "bus error"),
            (EngineState::GivenUp { reason: "bus error".into() }, false, "the server ends: bus error"),
            (EngineState::Stopped, false, "stopped"),
        ];
        for (state, stopping, why) in cases {
            let (status, body) = ask(Method::GET, "/readyz", state.clone(), stopping).await;
            assert_eq!(status == StatusCode::OK, why.is_empty(), "{state:?}");
            assert!(body.contains(why), "{body}");
            let (alive, _) = ask(Method::GET, "/livez", state, stopping).await;
            assert_eq!(alive, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_not_to_be() {
        let ready = || EngineState::Ready;
        for path in ["/", "/metric", "/metrics/", "/livez/x", ""] {
            assert_eq!(ask(Method::GET, path, ready(), false).await.0, StatusCode::NOT_FOUND, "{path:?}");
        }
        assert_eq!(ask(Method::GET, "/metrics", ready(), false).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/livez", ready(), false).await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask(Method::HEAD, "/livez", ready(), false).await.0, StatusCode::OK);
    }
}
