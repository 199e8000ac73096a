//! Writes small `.pth` files, sound and hostile ones.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The numbers of one storage, and torch's class of them.
pub(super) struct Storage {
    pub(super) class: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Storage {
    pub(super) fn f32(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { class: "FloatStorage", bytes }
    }
}

/// Writes pickle opcodes of protocol 2.
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0x80, 2] }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'.');
        self.bytes
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(super) fn size(self, value: usize) -> Self {
        self.raw(&[0x8a, 8]).raw(&(value as i64).to_le_bytes())
    }

    pub(super) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// A dictionary of the keys and values that `items` writes.
    pub(super) fn dict(self, items: impl FnOnce(Self) -> Self) -> Self {
        items(self.raw(b"}(")).raw(b"u")
    }

    fn sizes(self, values: &[usize]) -> Self {
        values.iter().fold(self.raw(b"("), |b, &value| b.size(value)).raw(b"t")
    }

    pub(super) fn tensor(
        self,
        class: &str,
        key: &str,
        numbers: usize,
        offset: usize,
        shape: &[usize],
        strides: &[usize],
    ) -> Self {
        let storage = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        let storage = storage.global("torch", class).text(key).text("cpu").size(numbers).raw(b"tQ");
        let layout = storage.size(offset).sizes(shape).sizes(strides).raw(&[0x89]);
        layout.global("collections", "OrderedDict").raw(b")RtR")
    }
}

/// The zip archive of a pickle and storages by key.
pub(super) fn pth(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut entries =
        vec![("archive/data.pkl".to_owned(), pickle), ("archive/byteorder".to_owned(), b"little")];
    entries.extend(storages.iter().map(|(key, bytes)| (format!("archive/data/{key}"), bytes.as_slice())));
    let entries: Vec<(&str, &[u8])> = entries.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    archive(&entries)
}

/// A zip archive of entries that are stored as they are.
pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A bare state dict of contiguous tensors.
pub(super) fn state_dict(tensors: &[(&str, Storage, &[usize])]) -> Vec<u8> {
    let mut storages = Vec::new();
    let pickle = Builder::new().dict(|mut b| {
        for (index, (name, storage, shape)) in tensors.iter().enumerate() {
            let strides: Vec<usize> =
                (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
            let numbers = shape.iter().product();
            b = b.text(name).tensor(storage.class, &index.to_string(), numbers, 0, shape, &strides);
            storages.push((index.to_string(), storage.bytes.clone()));
        }
        b
    });
    let storages: Vec<(&str, Vec<u8>)> =
        storages.iter().map(|(key, bytes)| (key.as_str(), bytes.clone())).collect();
    pth(&pickle.finish(), &storages)
}
