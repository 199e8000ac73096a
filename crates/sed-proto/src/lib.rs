//! Generated types of the `sed.v1` interface and of the Open Inference Protocol, and their descriptor set. The
//! definitions, with their comments, are in the repository's `proto/` folder.

#![forbid(unsafe_code)]

pub mod codec;

/// The `sed.v1` package.
pub mod v1 {
    // The generator's style is not ours to change: it derives what it derives, and names of `oneof`s and
    // enum values come without a comment of their own.
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("sed.v1");
}

/// The `inference` package: the Open Inference Protocol, version 2.
pub mod inference {
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, clippy::pedantic)] // as above
    tonic::include_proto!("inference");
}

/// The compiled `proto/` folder with everything that it imports and all comments: an encoded
/// `google.protobuf.FileDescriptorSet`, as server reflection needs it.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptor_set");
