//! Turns a checkpoint into `.safetensors`, `config.json` and a digest.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::bytes::CHUNK;
use super::{Checkpoint, safe};
use crate::config::SedConfig;
use crate::error::{ModelError, Result};

/// Progress of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of weights written.
    pub written: u64,
    /// Bytes of weights in all.
    pub total: u64,
}

/// The files that a conversion wrote, and the model's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// `<name>.safetensors`.
    pub weights: PathBuf,
    /// `config.json`.
    pub config: PathBuf,
    /// `<name>.safetensors.sha256`, as `sha256sum --check` reads it.
    pub file_digest: PathBuf,
    /// The digest of the model, as [`Checkpoint::digest`] returns it for the input and the output.
    pub digest: String,
}

/// Converts `checkpoint`, which must fit `config`, into the folder `out`. Every tensor is kept as it is stored,
/// unused ones too. Each file appears under its name only when it is whole; existing ones are replaced.
///
/// # Errors
/// When the checkpoint does not fit or holds a value that is not finite, or a file cannot be read or written.
pub fn convert(
    checkpoint: &Checkpoint,
    config: &SedConfig,
    out: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<Converted> {
    checkpoint.check(config)?;
    let digest = checkpoint.digest(config)?;
    checkpoint.check_finite()?;
    std::fs::create_dir_all(out).map_err(|source| ModelError::Write { path: out.to_owned(), source })?;
    let file_name = format!("{}.safetensors", config.name);
    let weights = out.join(&file_name);
    let mut hash = Sha256::new();
    write_whole(&weights, |file| {
        let tensors = checkpoint.tensors.iter();
        let header = safe::header(tensors.map(|(name, stored)| (name, &*stored.shape, stored.kind.dtype())))?;
        hash.update(&header);
        file.write_all(&header)?;
        let total = checkpoint.tensors.values().map(|stored| stored.range.len() as u64).sum();
        let mut written = 0;
        progress(Progress { written, total });
        for stored in checkpoint.tensors.values() {
            checkpoint.bytes.pieces(stored.range.clone(), |piece| {
                hash.update(piece);
                file.write_all(piece)?;
                written += piece.len() as u64;
                progress(Progress { written, total });
                Ok(())
            })?;
        }
        Ok(())
    })?;
    let json = serde_json::to_string_pretty(config)
        .map_err(|source| ModelError::ConfigSyntax { origin: config.name.clone(), source })?;
    let config_path = out.join("config.json");
    write_whole(&config_path, |file| writeln!(file, "{json}"))?;
    let file_digest = out.join(format!("{file_name}.sha256"));
    let line = format!("{}  {file_name}", HEXLOWER.encode(&hash.finalize()));
    write_whole(&file_digest, |file| writeln!(file, "{line}"))?;
    Ok(Converted { weights, config: config_path, file_digest, digest })
}

/// Writes a file beside `path` and renames it there when it is whole and on disk.
fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let run = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        let mut buffered = BufWriter::with_capacity(CHUNK, file.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        make_readable(file.as_file())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    run().map_err(|source| ModelError::Write { path: path.to_owned(), source })
}

/// Temporary files are private to their owner; weights are not secret.
#[cfg(unix)]
fn make_readable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}
