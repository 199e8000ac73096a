//! The limits of `GetServerInfo`: each is the setting of its name, or one of a short list.

use std::collections::BTreeMap;

use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_types::FileDescriptorSet;
use sed_proto::{FILE_DESCRIPTOR_SET, v1};
use sed_server::{
    ServerConfig,
    config::{Written, keys, variable},
};
use toml::Table;

use crate::harness::Running;

/// The limits without a setting of their name; `service/info.rs` has the reason of each.
const OTHERS: [&str; 9] = [
    "max_batch_images",
    "max_batch_pairs",
    "max_connection_age",
    "max_connection_streams",
    "max_header_bytes",
    "max_queued_pairs",
    "max_queued_requests",
    "max_registered_vocabulary_bytes",
    "max_timeout",
];

/// The fields of `Limits` with their numbers.
fn fields() -> BTreeMap<String, u32> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.name() == "sed/v1/server_info.proto").unwrap();
    let limits = file.message_type.iter().find(|message| message.name() == "Limits").unwrap();
    limits.field.iter().map(|field| (field.name().to_owned(), field.number() as u32)).collect()
}

/// The fields that are on the wire, which has none that is 0, by their numbers; `None` for a span of time.
fn on_the_wire(limits: &v1::Limits) -> BTreeMap<u32, Option<u64>> {
    let encoded = limits.encode_to_vec();
    let mut bytes = encoded.as_slice();
    let mut found = BTreeMap::new();
    while !bytes.is_empty() {
        let (number, kind) = decode_key(&mut bytes).unwrap();
        if kind == WireType::Varint {
            found.insert(number, Some(decode_varint(&mut bytes).unwrap()));
        } else {
            skip_field(kind, number, &mut bytes, DecodeContext::default()).unwrap();
            found.insert(number, None);
        }
    }
    found
}

#[test]
fn a_limit_has_a_setting_of_its_name_or_is_one_of_a_few() {
    let has_setting = |name: &String| keys().any(|key| key == name);
    let others: Vec<_> = fields().into_keys().filter(|name| !has_setting(name)).collect();
    assert_eq!(others, OTHERS);
}

#[tokio::test]
async fn every_limit_is_filled_and_each_setting_arrives() {
    let mut settings = fields();
    settings.retain(|name, _| !OTHERS.contains(&name.as_str()));
    // No setting has its default.
    let usual = Table::try_from(&*ServerConfig::default().settings).unwrap();
    let lower = |name: &str| usual[name].as_integer().unwrap() - 1;
    let variables = settings.keys().map(|name| (variable(name), lower(name).to_string()));
    let config = ServerConfig::read(&Written::in_environment(variables)).unwrap();

    let server = Running::launch_checked(config, |_| {}).await;
    server.engine.ready().await.unwrap();
    let info = server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    let found = on_the_wire(&info.limits.unwrap());
    for (name, number) in fields() {
        assert!(found.contains_key(&number), "{name} is not filled");
    }
    for (name, number) in settings {
        assert_eq!(found[&number], Some(lower(&name) as u64), "{name}");
    }
}
