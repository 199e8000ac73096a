//! Browsers: requests for the page are answered before any other layer; then gRPC-Web is translated to gRPC, and
//! the preflight requests of CORS are answered.

use std::{convert::Infallible, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::{config::Web, page::PageLayer};

/// A service of any layers.
pub(crate) type AnyService = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// Time for which a browser may cache the answer to a preflight request. Browsers themselves cut it to some
/// hours.
const REMEMBERED: Duration = Duration::from_hours(24);

/// Headers of an answer that pages may read; browsers hide the others.
const EXPOSED: [&str; 5] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding"];

/// Opens the service to browsers: to those that ask for the page, and to their calls if `web` is set.
pub(crate) fn open_to_browsers<S>(web: Option<&Web>, service: S) -> AnyService
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let page = PageLayer { playground: web.is_some_and(|web| web.playground), http1_calls: web.is_some() };
    match web {
        None => page.layer(service).boxed_clone(),
        Some(web) => page.layer(cors(web).layer(GrpcWebLayer::new().layer(service))).boxed_clone(),
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
