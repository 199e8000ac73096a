//! Compresses the built page of `playground/dist`, and lists its files as Rust.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, Crc, write::GzEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../playground/dist");
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut table = String::from("[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.path().display());
        let name = file.file_name().into_string().map_err(|name| format!("{}: not UTF-8", name.display()))?;
        table += &entry(&name, &fs::read(file.path())?, &out)?;
    }
    table.push(']');
    Ok(fs::write(out.join("page.rs"), table)?)
}

/// Writes a file, compressed, and returns its entry of the table.
fn entry(name: &str, content: &[u8], out: &Path) -> Result<String, Box<dyn Error>> {
    let mut crc = Crc::new();
    crc.update(content);
    // Pictures are compressed already.
    let packed = !name.ends_with(".webp");
    let to = out.join(format!("page-{name}"));
    if packed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content)?;
        fs::write(&to, encoder.finish()?)?;
    } else {
        fs::write(&to, content)?;
    }
    let mut entry = String::new();
    writeln!(
        entry,
        "    File {{ name: {name:?}, content: include_bytes!({to:?}), packed: {packed}, \
         tag: \"\\\"{:08x}-{}\\\"\" }},",
        crc.sum(),
        content.len()
    )?;
    Ok(entry)
}
