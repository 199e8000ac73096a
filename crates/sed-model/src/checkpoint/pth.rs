//! torch's zip format: `<folder>/data.pkl` describes the values, `<folder>/data/<key>` hold the numbers,
//! stored without compression so that they can be mapped.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Id, Pickle, PickleError, Value};
use super::{Contents, Kind, Stored};
use crate::error::{ModelError, Result};

/// The description of the values.
const PICKLE: &str = "data.pkl";
/// The key of the weights in a training checkpoint; a bare state dict has no such key.
const WEIGHTS: &str = "model";

/// Whether the file starts like a zip archive.
pub(super) fn is_zip(content: &[u8]) -> bool {
    content.starts_with(b"PK\x03\x04")
}

/// Lists the tensors of a `.pth` file.
pub(super) fn read(content: &[u8], origin: &str) -> Result<Contents> {
    let reader = Reader { content, origin, entries: list_entries(content, origin)? };
    let (folder, pickle) = reader.pickle()?;
    let weights = reader.weights(&pickle)?;
    let mut contents = Contents { ignored: weights.ignored, ..Contents::default() };
    for &(key, value) in weights.entries {
        let name = pickle.text(key).unwrap_or("an entry whose key is not a text");
        match reader.tensor(&pickle, folder, name, value)? {
            Some(stored) => _ = contents.tensors.insert(name.to_owned(), stored),
            None => contents.ignored.push(name.to_owned()),
        }
    }
    Ok(contents)
}

/// Where each stored entry's bytes are.
fn list_entries(content: &[u8], origin: &str) -> Result<HashMap<String, Range<usize>>> {
    let damaged = |error: zip::result::ZipError| ModelError::Damaged {
        origin: origin.to_owned(),
        reason: format!("its table of contents cannot be read ({error})"),
    };
    let mut archive = ZipArchive::new(Cursor::new(content)).map_err(damaged)?;
    let mut entries = HashMap::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        // torch stores, never compresses; a compressed entry could be a bomb and cannot be mapped.
        let stored =
            entry.compression() == CompressionMethod::Stored && entry.size() == entry.compressed_size();
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let range = start.zip(usize::try_from(entry.size()).ok()).and_then(|(start, size)| {
            let end = start.checked_add(size)?;
            (end <= content.len()).then_some(start..end)
        });
        let reason = match range {
            Some(range) if stored => {
                entries.insert(name, range);
                continue;
            }
            Some(_) => format!("entry `{name}` is compressed, which torch never does"),
            None => format!("entry `{name}` ends behind the end of the file"),
        };
        return Err(ModelError::Damaged { origin: origin.to_owned(), reason });
    }
    Ok(entries)
}

/// The dictionary of weights inside the pickle.
struct WeightEntries<'p> {
    entries: &'p [(Id, Id)],
    /// What stands beside it.
    ignored: Vec<String>,
}

struct Reader<'a> {
    content: &'a [u8],
    origin: &'a str,
    entries: HashMap<String, Range<usize>>,
}

impl Reader<'_> {
    fn damaged(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Damaged { origin: self.origin.to_owned(), reason: reason.into() }
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
            .ok_or_else(|| ModelError::NotACheckpoint {
                origin: self.origin.to_owned(),
                reason: format!("it is a zip archive without `{PICKLE}`"),
            })?;
        let folder = name.strip_suffix(PICKLE).unwrap_or_default();
        if let Some(range) = self.entries.get(&format!("{folder}byteorder"))
            && &self.content[range.clone()] != b"little"
        {
            return Err(self.damaged("its numbers are big-endian; save it on a little-endian machine"));
        }
        let pickle =
            Pickle::parse(&self.content[self.entries[name].clone()]).map_err(|error| match error {
                PickleError::Refused(global) => {
                    ModelError::RefusedGlobal { origin: self.origin.to_owned(), global }
                }
                PickleError::Malformed(reason) => self.damaged(format!("`{name}`: {reason}")),
            })?;
        Ok((folder, pickle))
    }

    /// The dictionary under `model`, or the root itself when it is a bare state dict.
    fn weights<'p>(&self, pickle: &'p Pickle) -> Result<WeightEntries<'p>> {
        let Value::Dict(root) = pickle.get(pickle.root()) else {
            return Err(ModelError::NotACheckpoint {
                origin: self.origin.to_owned(),
                reason: format!("it does not hold a dictionary of weights or one with the key `{WEIGHTS}`"),
            });
        };
        let model = root.iter().find_map(|&(key, value)| match pickle.get(value) {
            Value::Dict(entries) if pickle.text(key) == Some(WEIGHTS) => Some(entries),
            _ => None,
        });
        let Some(entries) = model else {
            return Ok(WeightEntries { entries: root, ignored: Vec::new() });
        };
        let others = root.iter().filter_map(|&(key, _)| pickle.text(key)).filter(|&key| key != WEIGHTS);
        Ok(WeightEntries { entries, ignored: others.map(str::to_owned).collect() })
    }

    /// The tensor that a value describes; nothing when it is not a tensor.
    fn tensor(&self, pickle: &Pickle, folder: &str, name: &str, value: Id) -> Result<Option<Stored>> {
        let Some(arguments) = rebuild_arguments(pickle, value) else {
            return Ok(None);
        };
        let damaged = |what: &str| self.damaged(format!("tensor `{name}`: {what}"));
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err(damaged("its description is too short"));
        };
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
                dtype: class.clone(),
            })?,
            _ => return Err(damaged("its storage has no type")),
        };
        let key = pickle.text(key).ok_or_else(|| damaged("its storage has no name"))?;
        let bytes = self
            .entries
            .get(&format!("{folder}data/{key}"))
            .ok_or_else(|| damaged(&format!("its numbers, entry `{folder}data/{key}`, are missing")))?;
        let range = pickle.size(offset).and_then(|offset| byte_range(bytes, offset, &shape, kind));
        let range = range.ok_or_else(|| {
            damaged(&format!("shape {shape:?} does not fit into the {} bytes of its storage", bytes.len()))
        })?;
        Ok(Some(Stored { kind, shape, range }))
    }
}

/// The arguments of `_rebuild_tensor_v2`, also inside `_rebuild_parameter`.
fn rebuild_arguments(pickle: &Pickle, value: Id) -> Option<&[Id]> {
    let Value::Call { function, arguments } = pickle.get(value) else {
        return None;
    };
    let arguments = pickle.tuple(*arguments);
    match function.as_str() {
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => Some(arguments),
        "torch._utils._rebuild_parameter" => match pickle.get(*arguments.first()?) {
            Value::Call { function, arguments } if function.starts_with("torch._utils._rebuild_tensor") => {
                Some(pickle.tuple(*arguments))
            }
            _ => None,
        },
        _ => None,
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

/// Whether the strides are those of row-major order. Axes of length one may have any stride.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected: usize = 1;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let holds = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            holds
        })
}

/// Where a tensor's bytes are in the file; nothing when they are not all inside the storage.
fn byte_range(storage: &Range<usize>, offset: usize, shape: &[usize], kind: Kind) -> Option<Range<usize>> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    let start = storage.start.checked_add(offset.checked_mul(kind.size())?)?;
    let end = start.checked_add(count.checked_mul(kind.size())?)?;
    (end <= storage.end).then_some(start..end)
}
