//! The export of traces to a collector, as the standard `OTEL_*` variables say. Without an endpoint nothing
//! is started. A wrong variable is logged, and the server runs without traces.

use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::{Key, KeyValue, global, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, ClientTlsConfig};

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Timeout for sending the last spans to the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The running export.
#[derive(Debug)]
pub(crate) struct Export {
    provider: SdkTracerProvider,
    /// The runtime of the exporter's connections, apart from the server's.
    _runtime: Runtime,
}

impl Export {
    /// Starts the export if the environment asks for it.
    ///
    /// # Errors
    /// The environment asks for an unsupported exporter or protocol, or names an unusable certificate.
    pub(crate) fn start() -> Result<Option<Self>> {
        // Also without an export, so that log lines name the caller's trace.
        global::set_text_map_propagator(TraceContextPropagator::new());
        if !wanted(|name| std::env::var(name).ok())? {
            return Ok(None);
        }
        let variable = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let certificate = CERTIFICATES.iter().find_map(variable);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("traces").enable_all().build();
        let runtime = runtime.context("cannot start the thread for traces")?;
        let exporter = {
            let _inside = runtime.enter();
            let exporter = SpanExporter::builder().with_tonic().with_tls_config(tls(certificate)?);
            exporter.build().context("traces cannot be exported")?
        };
        // The sampler comes from OTEL_TRACES_SAMPLER, the sizes of batches from OTEL_BSP_*.
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Some(Self { provider, _runtime: runtime }))
    }

    /// The tracer that creates the spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("sed-serve")
    }

    /// Sends the remaining spans, within [`FLUSH_TIMEOUT`].
    pub(crate) fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// TLS settings for a collector at https://, which trust the authorities in the file, or the system's without
/// a file.
fn tls(certificate: Option<String>) -> Result<ClientTlsConfig> {
    let Some(file) = certificate else { return Ok(ClientTlsConfig::new().with_enabled_roots()) };
    let pem = std::fs::read(&file)
        .with_context(|| format!("cannot read {file}, the certificate of the collector's authority"))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// Reports whether the variables ask for an export; fails if they ask for an unsupported one.
fn wanted(variable: impl Fn(&str) -> Option<String>) -> Result<bool> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match set("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(false),
        Some(other) => anyhow::bail!("OTEL_TRACES_EXPORTER is {other:?}, but there are only otlp and none"),
    }
    if !ENDPOINTS.iter().any(|name| set(name).is_some()) {
        return Ok(false);
    }
    let protocol = PROTOCOLS.iter().find_map(|name| Some((name, set(name)?)));
    match protocol {
        Some((name, value)) if value != "grpc" => anyhow::bail!(
            "{name} is {value:?}, but traces are sent by grpc only; unset it, and let the endpoint be the \
             collector's gRPC port, usually 4317"
        ),
        _ => Ok(true),
    }
}

/// The sender of the spans: the service's name and version from OTEL_SERVICE_NAME and
/// OTEL_RESOURCE_ATTRIBUTES, or else ours.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let mut builder = Resource::builder();
    let name = said.get(&Key::new("service.name")).map(|name| name.to_string());
    if name.is_none_or(|name| name.starts_with("unknown_service")) {
        builder = builder.with_service_name("sed-serve");
    }
    if said.get(&Key::new("service.version")).is_none() {
        builder = builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<bool> {
        wanted(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    #[test]
    fn an_endpoint_starts_it_and_nothing_else_does() {
        assert!(!with(&[]).unwrap());
        assert!(!with(&[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_SERVICE_NAME", "eyes")]).unwrap());
        assert!(!with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap());
        assert!(with(&[ENDPOINT]).unwrap());
        assert!(with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")]).unwrap());
        assert!(with(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap());
    }

    #[test]
    fn it_can_be_turned_off() {
        assert!(!with(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap());
        assert!(!with(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap());
        assert!(with(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).unwrap());
    }

    #[test]
    fn what_it_cannot_do_is_said_with_the_variables_name() {
        for other in [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")] {
            let error = with(&[ENDPOINT, other]).unwrap_err().to_string();
            assert!(error.contains(other.0) && error.contains(other.1), "{error}");
        }
        // The variable for traces goes over the one for all signals.
        let protocols =
            [("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert!(with(&[&[ENDPOINT][..], &protocols].concat()).unwrap());
    }
}
