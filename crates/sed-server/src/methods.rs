//! The table of all methods that are served. The front door, the guard, the account of calls and the metrics
//! read it: a new method is a line of its proto, a line here, and its implementation.

use sed_proto::{
    inference::grpc_inference_service_server as inference, v1::segmentation_service_server as segmentation,
};
use sed_telemetry::Label;
use tonic_health::pb::health_server as health;
use tonic_reflection::pb::{
    v1::server_reflection_server as reflection, v1alpha::server_reflection_server as reflection_alpha,
};

use self::{
    Messages::{Many, One},
    Work::{Masks, Small, Words},
};

/// The descriptors of all services.
pub(crate) const DESCRIPTORS: [&[u8]; 4] = [
    sed_proto::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// A service, and what is common to its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// True for the services of this crate: their errors carry details, and their messages may be compressed.
    pub(crate) ours: bool,
    /// True if calls need no token unless a setting says so: probes call it.
    pub(crate) open: bool,
}

pub(crate) const SEGMENTATION: Service =
    Service { name: segmentation::SERVICE_NAME, ours: true, open: false };
pub(crate) const INFERENCE: Service = Service { name: inference::SERVICE_NAME, ours: true, open: false };
const HEALTH: Service = Service { name: health::SERVICE_NAME, ours: false, open: true };
const REFLECTION: Service = Service { name: reflection::SERVICE_NAME, ours: false, open: false };
const REFLECTION_ALPHA: Service = Service { name: reflection_alpha::SERVICE_NAME, ours: false, open: false };

/// Number of messages that the client of a method sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Messages {
    One,
    /// Any number.
    Many,
}

/// The work that a method does, which bounds its messages and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// None: its messages carry neither picture nor words.
    Small,
    /// It reads a vocabulary.
    Words,
    /// It makes masks, in one of the places for requests that are worked on.
    Masks,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    pub(crate) messages: Messages,
    pub(crate) work: Work,
}

/// A method whose calls are counted, logged and traced: those of `sed.v1.SegmentationService`, and the one of
/// `inference.GRPCInferenceService` that does work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedMethod(pub(crate) Method);

const COUNTED: [CountedMethod; 9] = [
    CountedMethod(method(SEGMENTATION, "Segment", One, Masks)),
    CountedMethod(method(SEGMENTATION, "SegmentStream", Many, Masks)),
    CountedMethod(method(SEGMENTATION, "CreateVocabulary", One, Words)),
    CountedMethod(method(SEGMENTATION, "PrepareVocabulary", One, Words)),
    CountedMethod(method(SEGMENTATION, "GetVocabulary", One, Small)),
    CountedMethod(method(SEGMENTATION, "ListVocabularies", One, Small)),
    CountedMethod(method(SEGMENTATION, "DeleteVocabulary", One, Small)),
    CountedMethod(method(SEGMENTATION, "GetServerInfo", One, Small)),
    CountedMethod(method(INFERENCE, "ModelInfer", One, Masks)),
];

/// Probes, and questions of clients before their first request.
const OTHERS: [Method; 9] = [
    method(INFERENCE, "ServerLive", One, Small),
    method(INFERENCE, "ServerReady", One, Small),
    method(INFERENCE, "ModelReady", One, Small),
    method(INFERENCE, "ServerMetadata", One, Small),
    method(INFERENCE, "ModelMetadata", One, Small),
    method(HEALTH, "Check", One, Small),
    method(HEALTH, "Watch", One, Small),
    method(REFLECTION, "ServerReflectionInfo", Many, Small),
    method(REFLECTION_ALPHA, "ServerReflectionInfo", Many, Small),
];

const fn method(service: Service, name: &'static str, messages: Messages, work: Work) -> Method {
    Method { name, service, messages, work }
}

/// All methods.
pub(crate) fn all() -> impl Iterator<Item = &'static Method> {
    CountedMethod::ALL.iter().map(|CountedMethod(method)| method).chain(&OTHERS)
}

/// Reports whether a call at this path needs no token unless a setting says so.
pub(crate) fn is_open(path: &str) -> bool {
    split(path)
        .is_some_and(|(service, _)| all().any(|known| known.service.open && known.service.name == service))
}

/// The names of the service and of the method that a path has.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

impl Method {
    /// The path at which it is called.
    pub(crate) fn path(&self) -> String {
        format!("/{}/{}", self.service.name, self.name)
    }
}

impl CountedMethod {
    /// The method of a path; `None` for methods that are not counted or do not exist.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let place = split(path)?;
        Self::ALL.iter().copied().find(|Self(method)| (method.service.name, method.name) == place)
    }
}

impl Label for CountedMethod {
    const KEY: &'static str = "method";
    const ALL: &'static [Self] = &COUNTED;

    fn as_str(self) -> &'static str {
        self.0.name
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_table_is_that_of_the_descriptors() {
        let files = DESCRIPTORS.map(|set| FileDescriptorSet::decode(set).unwrap().file).concat();
        let mut described = Vec::new();
        for file in &files {
            for service in &file.service {
                let name = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
                let methods = service.method.iter();
                described.extend(methods.map(|method| (name(method.name()), method.client_streaming())));
            }
        }
        let mut known: Vec<_> = all().map(|known| (known.path(), known.messages == Many)).collect();
        described.sort();
        known.sort();
        assert_eq!(known, described);
    }

    #[test]
    fn our_services_are_counted_but_for_questions() {
        let counted = |path: &str| CountedMethod::at(path).map(Label::as_str);
        for method in all().filter(|method| method.service == SEGMENTATION) {
            assert_eq!(counted(&method.path()), Some(method.name));
        }
        assert_eq!(counted("/inference.GRPCInferenceService/ModelInfer"), Some("ModelInfer"));
        for other in [
            "/inference.GRPCInferenceService/ServerReady",
            "/inference.GRPCInferenceService/Segment",
            "/sed.v1.SegmentationService/ModelInfer",
            "/sed.v1.SegmentationService/Nothing",
            "/grpc.health.v1.Health/Check",
        ] {
            assert_eq!(counted(other), None, "{other}");
        }
    }

    #[test]
    fn health_alone_is_open() {
        let open: Vec<_> = all().filter(|method| is_open(&method.path())).map(|method| method.name).collect();
        assert_eq!(open, ["Check", "Watch"]);
        assert!(is_open("/grpc.health.v1.Health/Nothing") && !is_open("/grpc.health.v1.Health"));
    }
}
