//! Picture files.

use std::path::Path;

use crate::error::{Error, Result};

/// Largest picture file: no server accepts a larger message.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the file of a picture, for [`SegmentRequest::encoded`](crate::SegmentRequest::encoded).
///
/// # Errors
/// The file cannot be read, or has more than 1 GiB.
pub async fn read_picture(file: impl AsRef<Path>) -> Result<Vec<u8>> {
    let file = file.as_ref();
    let bytes = tokio::fs::metadata(file).await.map_err(Error::Picture)?.len();
    if bytes > MOST_BYTES {
        return Err(Error::PictureTooLarge { bytes, most: MOST_BYTES });
    }
    tokio::fs::read(file).await.map_err(Error::Picture)
}
