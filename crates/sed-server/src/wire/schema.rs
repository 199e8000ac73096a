//! The kinds of the fields of all messages, read from the descriptors of the interface.

use std::collections::HashMap;

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, field_descriptor_proto::Type};

/// A message type of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageIndex(usize);

/// The kind of a field's bytes, as far as it matters for their cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of its own.
    Message(MessageIndex),
    /// Text or bytes: not copied, or copied once.
    Text,
    /// A number, or several in one field.
    Number,
}

/// Fields by number, of all message types.
#[derive(Debug)]
pub(crate) struct Schema {
    messages: Vec<HashMap<u32, Kind>>,
    /// The input of each method, by the path that it is called at.
    inputs: HashMap<String, MessageIndex>,
}

impl Schema {
    /// Reads file descriptor sets as protobuf's compilers write them.
    ///
    /// # Errors
    /// One of them is not a descriptor set.
    pub(crate) fn read(sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut files = Vec::new();
        for set in sets {
            files.extend(FileDescriptorSet::decode(*set)?.file);
        }
        let mut found = Vec::new();
        for file in &files {
            let package = format!(".{}", file.package());
            file.message_type.iter().for_each(|message| collect(message, &package, &mut found));
        }
        let indices: HashMap<&str, MessageIndex> =
            found.iter().enumerate().map(|(index, (name, _))| (name.as_str(), MessageIndex(index))).collect();
        let kind_of = |field: &prost_types::FieldDescriptorProto| match field.r#type() {
            Type::Message | Type::Group => {
                indices.get(field.type_name()).map_or(Kind::Text, |index| Kind::Message(*index))
            }
            Type::String | Type::Bytes => Kind::Text,
            _ => Kind::Number,
        };
        let fields = |message: &prost_types::DescriptorProto| {
            message.field.iter().map(|field| (field.number() as u32, kind_of(field))).collect()
        };
        let messages = found.iter().map(|(_, message)| fields(message)).collect();
        let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
        let path = |file: &str, service: &str, method: &MethodDescriptorProto| {
            format!("/{file}.{service}/{}", method.name())
        };
        let methods = services.flat_map(|(file, service)| {
            service.method.iter().map(|method| (path(file.package(), service.name(), method), method))
        });
        let input = |(path, method): (String, &MethodDescriptorProto)| {
            Some((path, *indices.get(method.input_type())?))
        };
        let inputs = methods.filter_map(input).collect();
        Ok(Self { messages, inputs })
    }

    /// The message that the method at a path accepts; `None` for a method that the schema does not know.
    pub(crate) fn input(&self, path: &str) -> Option<MessageIndex> {
        self.inputs.get(path).copied()
    }

    /// Returns the kind of a field; `None` for one that the schema does not know, which is skipped
    /// when it is read.
    pub(super) fn kind(&self, message: MessageIndex, field: u32) -> Option<Kind> {
        self.messages.get(message.0)?.get(&field).copied()
    }
}

/// Collects a message type and those within it, by full name.
fn collect<'a>(
    message: &'a prost_types::DescriptorProto,
    scope: &str,
    found: &mut Vec<(String, &'a prost_types::DescriptorProto)>,
) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.iter().for_each(|inner| collect(inner, &name, found));
    found.push((name, message));
}
