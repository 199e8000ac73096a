//! Spans of a server on their way to a collector: the caller's trace goes on in them, and in the log.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value as Attribute},
    trace::v1::{Span, span::SpanKind},
};
use sed_proto::v1::{self, segmentation_service_client::SegmentationServiceClient};
use serde_json::Value;
use tonic::{
    Request, Response, Status,
    transport::{Identity, ServerTlsConfig},
};

use crate::{
    server::Server,
    support::{nano, run, text},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector that stores the spans that it receives.
#[derive(Clone, Default)]
struct Collector {
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.got.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        Self::start_on(tonic::transport::Server::builder()).await
    }

    /// One that speaks TLS, as localhost, with this certificate.
    async fn start_with_tls(identity: Identity) -> (Self, SocketAddr) {
        let tls = ServerTlsConfig::new().identity(identity);
        Self::start_on(tonic::transport::Server::builder().tls_config(tls).unwrap()).await
    }

    async fn start_on(mut server: tonic::transport::Server) -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
        (collector, address)
    }

    fn resource_attributes(&self) -> Vec<KeyValue> {
        let got = self.got.lock().unwrap();
        got[0].resource_spans[0].resource.clone().unwrap().attributes
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let resources = got.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Attribute> {
    attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value
}

fn words(text: &str) -> Option<Attribute> {
    Some(Attribute::StringValue(text.into()))
}

/// Asks about a picture as a traced caller does; `flags` says whether the trace is sampled.
async fn segment(url: String, request_id: &str, flags: &str) {
    let mut client = SegmentationServiceClient::connect(url).await.unwrap();
    let picture = std::fs::read(nano("img_b.png")).unwrap();
    let categories = vec![v1::Category { name: "cat".into(), synonyms: Vec::new() }];
    let mut request = Request::new(v1::SegmentRequest {
        image: Some(v1::Image { source: Some(v1::image::Source::Encoded(picture.into())) }),
        vocabulary: Some(v1::Vocabulary {
            source: Some(v1::vocabulary::Source::Categories(v1::CategoryList { categories })),
            ..Default::default()
        }),
        options: None,
        request_id: request_id.into(),
    });
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{TRACE}-{CALLER}-{flags}").parse().unwrap());
    metadata.insert("tracestate", "shop=checkout".parse().unwrap());
    client.segment(request).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_callers_trace_goes_on_in_the_spans_and_in_the_log() {
    let (collector, address) = Collector::start().await;
    let server = tokio::task::spawn_blocking(move || {
        Server::start_with(|command| {
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
                .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
                // Longer than the test takes: what comes has been sent because the server ended.
                .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
                .env("SED_LOG_FORMAT", "json")
                .stderr(Stdio::piped())
        })
    });
    let mut server = server.await.unwrap();
    let log = server.log();
    segment(server.url(), "first", "01").await;
    segment(server.url(), "unsampled", "00").await;
    assert!(collector.spans().is_empty());
    assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0));

    let spans = collector.spans();
    let calls: Vec<_> =
        spans.iter().filter(|span| span.name == "sed.v1.SegmentationService/Segment").collect();
    assert_eq!(calls.len(), 1, "the caller does not want the second one to be sampled: {spans:#?}");
    let call = calls[0];
    assert_eq!(
        (HEXLOWER.encode(&call.trace_id), HEXLOWER.encode(&call.parent_span_id)),
        (TRACE.into(), CALLER.into())
    );
    assert_eq!((call.kind(), call.trace_state.as_str()), (SpanKind::Server, "shop=checkout"));
    for (key, value) in [
        ("rpc.system", words("grpc")),
        ("rpc.service", words("sed.v1.SegmentationService")),
        ("rpc.method", words("Segment")),
        ("rpc.grpc.status_code", Some(Attribute::IntValue(0))),
        ("request_id", words("first")),
    ] {
        assert_eq!(attribute(&call.attributes, key), value, "{key}");
    }
    for stage in ["image_decode", "mask_encoding"] {
        let span = spans.iter().find(|span| span.name == stage).unwrap_or_else(|| panic!("no span {stage}"));
        assert_eq!((&span.trace_id, &span.parent_span_id), (&call.trace_id, &call.span_id), "{stage}");
    }
    // Every stage on the device is a child of the call; the batch that it rode in has a trace of its own, and a link.
    for stage in ["text_embedding", "encode", "cost_map", "decode_level_1", "decode_level_3", "finish"] {
        let of_stage = || spans.iter().filter(|span| span.name == stage);
        let child = of_stage().find(|span| span.parent_span_id == call.span_id);
        assert_eq!(child.map(|span| &span.trace_id), Some(&call.trace_id), "{stage}: {spans:#?}");
        let links = of_stage().filter(|span| span.trace_id != call.trace_id).flat_map(|span| &span.links);
        let linked = links.filter(|link| link.span_id == call.span_id);
        assert_eq!(linked.count(), 1, "{stage}: {spans:#?}");
    }
    let resource = collector.resource_attributes();
    assert_eq!(attribute(&resource, "service.name"), words("sed-serve"));
    assert_eq!(attribute(&resource, "service.version"), words(env!("CARGO_PKG_VERSION")));
    assert_eq!(attribute(&resource, "deployment.environment"), words("test"));

    let lines: Vec<Value> =
        BufReader::new(log).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let answered: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "answered").collect();
    assert_eq!(answered.len(), 2);
    for (line, request_id) in answered.into_iter().zip(["first", "unsampled"]) {
        assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
        assert_eq!(line["span"]["request_id"], request_id, "{line}");
        assert_eq!(line["span"]["method"], "Segment", "{line}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_collector_with_tls_gets_the_spans_too() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(certificate.path(), made.cert.pem()).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let (collector, address) = Collector::start_with_tls(identity).await;
    let trusted = certificate.path().to_owned();
    let server = tokio::task::spawn_blocking(move || {
        Server::start_with(|command| {
            let endpoint = format!("https://localhost:{}", address.port());
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
                .env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted)
                .stderr(Stdio::null())
        })
    });
    let server = server.await.unwrap();
    segment(server.url(), "first", "01").await;
    assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0));
    assert!(collector.spans().iter().any(|span| span.name == "sed.v1.SegmentationService/Segment"));
}

#[cfg(unix)]
#[tokio::test]
async fn without_an_endpoint_the_log_still_names_the_callers_trace() {
    let server = tokio::task::spawn_blocking(|| Server::start_with(|command| command.stderr(Stdio::piped())));
    let mut server = server.await.unwrap();
    let log = server.log();
    segment(server.url(), "alone", "01").await;
    assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0));
    let lines: Vec<String> = BufReader::new(log).lines().map(Result::unwrap).collect();
    let line = lines.iter().find(|line| line.contains("answered")).unwrap();
    assert!(line.contains(TRACE) && line.contains("request_id=\"alone\""), "{line}");
}

/// Requests are served although the collector is missing or silent, or a variable asks for something
/// unsupported.
#[cfg(unix)]
#[test]
fn trouble_with_traces_is_logged_and_the_server_serves() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // accepts connections and never answers
    let silent = &format!("http://{}", silent.local_addr().unwrap());
    for (variable, value, complaint) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "by grpc only"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://127.0.0.1:1", "Connection refused"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem", "cannot read /nonexistent/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1", "Connection refused"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", silent, "did not reach the collector"),
    ] {
        let mut server = Server::start_with(|command| {
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
                .env(variable, value)
                .stderr(Stdio::piped())
        });
        let log = server.log();
        let (picture, url) = (nano("img_b.png"), server.url());
        run(&["segment", text(&picture), "--words", "cat", "--no-output", "--server", &url]).good();
        assert_eq!(server.terminate(), Some(0));
        let lines: Vec<String> = BufReader::new(log).lines().map(Result::unwrap).collect();
        let found =
            |line: &String| (line.contains("WARN") || line.contains("ERROR")) && line.contains(complaint);
        assert!(lines.iter().any(found), "{lines:#?}");
    }
}
