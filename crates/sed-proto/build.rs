//! Compiles `proto/` to Rust and to a descriptor set. `protox` is a compiler in Rust, so no system `protoc`
//! is needed.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 10] = [
    "inference/open_inference_grpc.proto",
    "sed/v1/error_reason.proto",
    "sed/v1/image.proto",
    "sed/v1/mask.proto",
    "sed/v1/options.proto",
    "sed/v1/report.proto",
    "sed/v1/segmentation_service.proto",
    "sed/v1/server_info.proto",
    "sed/v1/vocabulary.proto",
    "sed/v1/warning.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for file in FILES {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor_set.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".") // an image is not copied between the socket and its decoder
        .codec_path("crate::codec::SizedCodec")
        // The server reads limits from its settings of the same names; spans of time are no settings.
        .type_attribute(".sed.v1.Limits", "#[derive(serde::Deserialize)] #[serde(default)]")
        .field_attribute(".sed.v1.Limits.max_timeout", "#[serde(skip)]")
        .field_attribute(".sed.v1.Limits.max_connection_age", "#[serde(skip)]")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
