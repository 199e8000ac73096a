//! Reflection, as grpcurl and others use it, in both versions.

use sed_server::Settings;
use tokio_stream::once;

use crate::harness::Running;

macro_rules! reflection_test {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let server = Running::start(Settings::default()).await;
            let ask = async |message: MessageRequest| {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
                let mut client = ServerReflectionClient::new(server.channel.clone());
                let mut answers = client.server_reflection_info(once(request)).await.unwrap().into_inner();
                answers.message().await.unwrap().unwrap().message_response.unwrap()
            };

            let MessageResponse::ListServicesResponse(services) =
                ask(MessageRequest::ListServices(String::new())).await
            else {
                panic!("no list")
            };
            let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
            assert!(names.contains(&"sed.v1.SegmentationService"), "{names:?}");
            assert!(names.contains(&"inference.GRPCInferenceService"), "{names:?}");
            assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");

            let symbol = MessageRequest::FileContainingSymbol("sed.v1.SegmentOptions".into());
            let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("no file") };
            let file = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
            assert!(file.contains("polygon_tolerance"));
        }
    };
}

reflection_test!(version_one, v1);
reflection_test!(version_one_alpha, v1alpha);
