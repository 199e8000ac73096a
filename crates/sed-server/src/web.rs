//! gRPC-Web, which browsers speak: translated to gRPC before anything else sees it, and what browsers ask before
//! their pages may call (CORS).

use std::{convert::Infallible, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Web;

/// A service of any layers.
pub(crate) type AnyService = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// How long a browser may remember what it was told. Browsers cut it to some hours themselves.
const REMEMBERED: Duration = Duration::from_hours(24);

/// What pages may read of an answer; the rest of its headers is not theirs.
const EXPOSED: [&str; 5] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding"];

/// The service as it is, or for browsers too.
pub(crate) fn open_to_browsers<S>(web: Option<&Web>, service: S) -> AnyService
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    match web {
        None => service.boxed_clone(),
        Some(web) => cors(web).layer(GrpcWebLayer::new().layer(service)).boxed_clone(),
    }
}

fn cors(web: &Web) -> CorsLayer {
    let origins = if web.origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        // Origins that are no header values do not pass the check of the settings.
        AllowOrigin::list(web.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(REMEMBERED)
}
