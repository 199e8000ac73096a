//! Bounded reads of certificates, keys and tokens.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use super::AccessError;

/// The size of the largest file that is read: thousands of certificates, or all tokens that there may be.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a regular file of at most [`MOST_BYTES`]. Never waits for the other end of a pipe.
///
/// # Errors
/// [`AccessError::Read`], or [`AccessError::Content`] where it is no regular file or too large.
pub(super) fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, AccessError> {
    let failed = |source| AccessError::Read { setting, file: file.into(), source };
    let refused = |reason| AccessError::Content { setting, file: file.into(), reason };
    let opened = open(file).map_err(failed)?;
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(refused("is no regular file; name a file, not a folder, a pipe or a device".to_owned()));
    }
    let mut content = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(refused(format!("has more than {MOST_BYTES} bytes, the limit; is it the right file?")));
    }
    Ok(content)
}

#[cfg(unix)]
fn open(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Opening a pipe would otherwise wait until a writer opens it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(file)
}

#[cfg(not(unix))]
fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(file)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)] // helpers of tests fail their test

    use super::*;

    fn refusal(file: &Path) -> String {
        read("tokens", file).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_of_a_sensible_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("tokens"), "content").unwrap();
        // As a mounted secret is.
        std::os::unix::fs::symlink(path("tokens"), path("link")).unwrap();
        assert_eq!(read("tokens", &path("link")).unwrap(), b"content");

        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for other in [path("pipe"), folder.path().to_owned(), "/dev/zero".into()] {
            let error = refusal(&other);
            assert!(error.contains(other.to_str().unwrap()) && error.contains("no regular file"), "{error}");
        }

        let most = vec![b'#'; MOST_BYTES as usize + 1];
        std::fs::write(path("tokens"), &most[1..]).unwrap();
        assert_eq!(read("tokens", &path("tokens")).unwrap().len(), most.len() - 1);
        std::fs::write(path("tokens"), most).unwrap();
        assert!(refusal(&path("tokens")).contains("has more than 1048576 bytes"));
    }
}
