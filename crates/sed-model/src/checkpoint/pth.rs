//! torch's zip format: `<folder>/data.pkl` describes the values, `<folder>/data/<key>` hold the numbers,
//! stored without compression so that each can be read where it is.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::bytes::Bytes;
use super::containers;
use super::pickle::{Id, MAX_PICKLE, Pickle, PickleError, Value};
use super::{Contents, Kind, Stored};
use crate::error::{ModelError, Result};

/// The description of the values.
const PICKLE: &str = "data.pkl";
/// Longest name of a tensor, and most axes of one.
const MOST_NAME_BYTES: usize = 1024;
const MOST_AXES: usize = 8;

/// Reports whether the file starts like a zip archive.
pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

/// Lists the tensors of a `.pth` file.
pub(super) fn read(bytes: &Bytes, origin: &str) -> Result<Contents> {
    let reader = Reader { bytes, origin, entries: list_entries(bytes, origin)? };
    let (folder, pickle) = reader.pickle()?;
    let weights = containers::find(&pickle).map_err(|reason| reader.not_a_checkpoint(reason))?;
    let mut ignored: BTreeSet<String> = weights.ignored;
    let mut contents = Contents::default();
    for &(key, value) in weights.entries {
        let name = pickle.text(key).unwrap_or("an entry whose key is not a text");
        match reader.tensor(&pickle, folder, name, value)? {
            Some(stored) => _ = contents.tensors.insert(name.to_owned(), stored),
            None => _ = ignored.insert(containers::shortened(name)),
        }
    }
    contents.ignored = ignored.into_iter().collect();
    Ok(contents)
}

/// An entry of the archive.
#[derive(Clone, Debug)]
enum Entry {
    /// Uncompressed, as torch writes it: the range of its bytes.
    Stored(Range<usize>),
    /// Packed, which torch does only to a program's code: it could be a bomb, and cannot be read in parts.
    Compressed,
}

/// Lists the archive's entries.
fn list_entries(bytes: &Bytes, origin: &str) -> Result<HashMap<String, Entry>> {
    let damaged = |error: zip::result::ZipError| ModelError::Damaged {
        origin: origin.to_owned(),
        reason: format!("its table of contents cannot be read ({error})"),
    };
    let mut archive = ZipArchive::new(BufReader::new(bytes.reader())).map_err(damaged)?;
    let mut entries = HashMap::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        let stored =
            entry.compression() == CompressionMethod::Stored && entry.size() == entry.compressed_size();
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let range = start.zip(usize::try_from(entry.compressed_size()).ok()).and_then(|(start, size)| {
            let end = start.checked_add(size)?;
            (end <= bytes.len()).then_some(start..end)
        });
        let Some(range) = range else {
            let reason = format!("entry `{}` ends behind the end of the file", containers::shortened(&name));
            return Err(ModelError::Damaged { origin: origin.to_owned(), reason });
        };
        entries.insert(name, if stored { Entry::Stored(range) } else { Entry::Compressed });
    }
    Ok(entries)
}

struct Reader<'a> {
    bytes: &'a Bytes,
    origin: &'a str,
    entries: HashMap<String, Entry>,
}

impl Reader<'_> {
    fn damaged(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Damaged { origin: self.origin.to_owned(), reason: reason.into() }
    }

    fn not_a_checkpoint(&self, reason: impl Into<String>) -> ModelError {
        ModelError::NotACheckpoint { origin: self.origin.to_owned(), reason: reason.into() }
    }

    /// The archive's folder, with its slash, and the pickle in it.
    fn pickle(&self) -> Result<(&str, Pickle)> {
        let name = self
            .entries
            .keys()
            .filter(|name| {
                name.strip_suffix(PICKLE).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
            })
            .min_by_key(|name| name.len())
            .ok_or_else(|| self.not_a_checkpoint(self.describe_archive()))?;
        let folder = name.strip_suffix(PICKLE).unwrap_or_default();
        if self.entries.contains_key(&format!("{folder}constants.pkl")) {
            return Err(self.not_a_checkpoint(
                "it is a TorchScript archive, a program with its weights (in Python, \
                 torch.save(torch.jit.load(file).state_dict(), new_file) saves the weights alone)",
            ));
        }
        const ORDER_BYTES: usize = 16;
        if let Some(range) = self.stored(&format!("{folder}byteorder"))?
            && self.part(range.start..range.end.min(range.start + ORDER_BYTES))?.as_ref() != b"little"
        {
            return Err(self.damaged("its numbers are big-endian; save it on a little-endian machine"));
        }
        let range = self.stored(name)?.unwrap_or_default();
        if range.len() > MAX_PICKLE {
            return Err(self.damaged(format!("`{name}` has {} bytes, more than {MAX_PICKLE}", range.len())));
        }
        let pickle = Pickle::parse(&self.part(range)?).map_err(|error| match error {
            PickleError::Refused(global) => {
                ModelError::RefusedGlobal { origin: self.origin.to_owned(), global }
            }
            PickleError::Malformed(reason) => self.damaged(format!("`{name}`: {reason}")),
        })?;
        Ok((folder, pickle))
    }

    /// Says what a zip archive without a pickle holds.
    fn describe_archive(&self) -> String {
        const CHECKPOINTS: [&str; 4] = [".pth", ".pt", ".bin", ".safetensors"];
        let inside =
            self.entries.keys().filter(|name| CHECKPOINTS.iter().any(|end| name.ends_with(end))).min();
        match inside {
            Some(name) => format!(
                "it is a zip archive with `{}` in it (unpack it and give that file)",
                containers::shortened(name)
            ),
            None => format!("it is a zip archive without `{PICKLE}`"),
        }
    }

    /// Returns the place of an entry; an error if it is packed.
    fn stored(&self, name: &str) -> Result<Option<Range<usize>>> {
        match self.entries.get(name) {
            Some(Entry::Stored(range)) => Ok(Some(range.clone())),
            Some(Entry::Compressed) => {
                let name = containers::shortened(name);
                Err(self.damaged(format!("entry `{name}` is compressed, which torch never does")))
            }
            None => Ok(None),
        }
    }

    fn part(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        self.bytes.part(range).map_err(|error| self.damaged(error.to_string()))
    }

    /// The tensor that a value describes; nothing when it is not a tensor.
    fn tensor(&self, pickle: &Pickle, folder: &str, name: &str, value: Id) -> Result<Option<Stored>> {
        let Some(arguments) = containers::rebuild_arguments(pickle, value) else {
            return Ok(None);
        };
        if name.len() > MOST_NAME_BYTES {
            return Err(self.damaged(format!("a tensor's name has {} bytes", name.len())));
        }
        let damaged = |what: &str| self.damaged(format!("tensor `{name}`: {what}"));
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err(damaged("its description is too short"));
        };
        let axes = pickle.tuple(shape).len();
        if axes > MOST_AXES {
            return Err(damaged(&format!("it has {axes} axes, more than {MOST_AXES}")));
        }
        let sizes = |id| pickle.tuple(id).iter().map(|&item| pickle.size(item)).collect::<Option<Vec<_>>>();
        let shape = sizes(shape).ok_or_else(|| damaged("its shape is not made of sizes"))?;
        let strides = sizes(strides).ok_or_else(|| damaged("its strides are not made of sizes"))?;
        if !is_contiguous(&shape, &strides) {
            return Err(damaged("it is not stored in row-major order; call .contiguous() before saving it"));
        }
        let Value::Persistent(storage) = pickle.get(storage) else {
            return Err(damaged("it has no storage"));
        };
        let &[_, class, key, ..] = pickle.tuple(*storage) else {
            return Err(damaged("its storage's description is too short"));
        };
        let kind = match pickle.get(class) {
            Value::Global(class) => storage_kind(class).ok_or_else(|| ModelError::UnsupportedDtype {
                name: name.to_owned(),
                dtype: containers::shortened(class),
            })?,
            _ => return Err(damaged("its storage has no type")),
        };
        let key = pickle.text(key).filter(|key| key.len() <= MOST_NAME_BYTES);
        let key = key.ok_or_else(|| damaged("its storage has no name, or none of a usual length"))?;
        let bytes = self
            .stored(&format!("{folder}data/{key}"))?
            .ok_or_else(|| damaged(&format!("its numbers, entry `{folder}data/{key}`, are missing")))?;
        let range = pickle.size(offset).and_then(|offset| byte_range(&bytes, offset, &shape, kind));
        let range = range.ok_or_else(|| {
            damaged(&format!("shape {shape:?} does not fit into the {} bytes of its storage", bytes.len()))
        })?;
        Ok(Some(Stored { kind, shape, range }))
    }
}

fn storage_kind(class: &str) -> Option<Kind> {
    match class.rsplit('.').next()? {
        "FloatStorage" => Some(Kind::F32),
        "HalfStorage" => Some(Kind::F16),
        "BFloat16Storage" => Some(Kind::Bf16),
        _ => None,
    }
}

/// Reports whether the strides are those of row-major order. Axes of length one may have any stride.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected: usize = 1;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let holds = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            holds
        })
}

/// Range of a tensor's bytes in the file; `None` when they are not all inside the storage.
fn byte_range(storage: &Range<usize>, offset: usize, shape: &[usize], kind: Kind) -> Option<Range<usize>> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    let start = storage.start.checked_add(offset.checked_mul(kind.size())?)?;
    let end = start.checked_add(count.checked_mul(kind.size())?)?;
    (end <= storage.end).then_some(start..end)
}
