//! The files of a result.

mod arrays;
mod names;
pub(crate) mod whole;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use sed_client::{Answer, v1::mask::Content};
use sed_image::{IndexMap, mask};

use self::whole::with_ending;
use crate::{
    args::Format,
    report::{Files, Report},
};

/// The folder of the PNGs of COCO's panoptic format, as its JSON file expects it.
const PANOPTIC: &str = "coco-panoptic";
/// The file of COCO's panoptic format.
pub(crate) const PANOPTIC_FILE: &str = "coco-panoptic.json";
/// The file of COCO's instances.
pub(crate) const INSTANCES_FILE: &str = "coco-instances.json";
const REPORT: &str = ".report.json";

/// The files for all pictures.
const SHARED: [&str; 2] = [PANOPTIC_FILE, INSTANCES_FILE];
/// Pixels of a mask at most, as the interface counts them.
const MOST_PIXELS: u64 = u32::MAX as u64;

/// Reports whether a file or folder of this name is a result, by the form of its name.
pub(crate) fn is_result(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_suffix(whole::UNFINISHED).unwrap_or(&name);
    let endings = Format::value_variants().iter().filter_map(|format| ending(*format));
    name == PANOPTIC || SHARED.contains(&name) || endings.chain([REPORT]).any(|end| name.ends_with(end))
}

/// A folder for results.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    folder: PathBuf,
    formats: Vec<Format>,
    with_report: bool,
}

impl OutputFolder {
    /// Creates the folder if it does not exist. The report of a picture is one of its files if `with_report`.
    pub(crate) fn create(folder: &Path, formats: &[Format], with_report: bool) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), formats: formats.to_vec(), with_report })
    }

    /// Reports whether results are written in a format.
    pub(crate) fn writes(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// Reports whether every file of a result is there.
    pub(crate) fn holds(&self, name: &Path) -> bool {
        let report = self.with_report.then(|| self.path(name, REPORT));
        self.formats
            .iter()
            .filter_map(|format| self.file(name, *format))
            .chain(report)
            .all(|file| file.exists())
    }

    /// Writes an answer in all formats, and replaces existing files. `name` is the path below the folder,
    /// without an ending. The report is not written but named.
    pub(crate) fn write(&self, name: &Path, answer: &Answer) -> Result<Files> {
        let mut files = Files::default();
        for format in &self.formats {
            let Some(file) = self.file(name, *format) else { continue };
            create_parent(&file)?;
            write(&file, *format, answer)?;
            match format {
                Format::Overlay => files.overlay = Some(file),
                Format::IndexPng => files.mask = Some(file),
                Format::CategoryPng => files.categories = Some(file),
                Format::CocoPanoptic => files.panoptic = Some(file),
                Format::SurenessNpz | Format::ScoreMapsNpz => files.arrays.push(file),
                _ => files.planes.push(file),
            }
        }
        if self.with_report {
            let report = self.path(name, REPORT);
            create_parent(&report)?;
            files.report = Some(report);
        }
        Ok(files)
    }

    /// The path of a picture's file in a format; `None` for a format that has one file for all pictures.
    fn file(&self, name: &Path, format: Format) -> Option<PathBuf> {
        match format {
            Format::CocoPanoptic => Some(with_ending(&self.folder.join(PANOPTIC).join(name), ".png")),
            _ => Some(self.path(name, ending(format)?)),
        }
    }

    fn path(&self, name: &Path, ending: &str) -> PathBuf {
        with_ending(&self.folder.join(name), ending)
    }
}

/// The end of the name of a picture's file, or folder, in a format; `None` for COCO's.
fn ending(format: Format) -> Option<&'static str> {
    Some(match format {
        Format::Overlay => ".overlay.png",
        Format::IndexPng => ".mask.png",
        Format::CategoryPng => ".categories",
        Format::CocoPanoptic | Format::CocoInstances => return None,
        Format::ScorePng => ".score.png",
        Format::ScoreRaw => ".score.f16",
        Format::RunnerUpPng => ".runner-up.png",
        Format::MarginPng => ".margin.png",
        Format::MarginRaw => ".margin.f16",
        Format::SurenessNpz => ".sureness.npz",
        Format::ScoreMapsNpz => ".score-maps.npz",
    })
}

fn create_parent(file: &Path) -> Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes an answer in one format.
fn write(file: &Path, format: Format, answer: &Answer) -> Result<()> {
    match format {
        Format::Overlay => whole::write(file, &answer.overlay_png),
        Format::IndexPng => whole::write(file, answer.index_png()?),
        Format::CategoryPng => write_categories(file, answer),
        Format::CocoPanoptic => whole::write(file, &mask::panoptic::encode(&index_map(answer)?)?),
        Format::SurenessNpz => arrays::write_sureness(file, answer),
        Format::ScoreMapsNpz => arrays::write_score_maps(file, answer),
        _ => {
            let plane = contents(answer).find_map(|content| plane(content, format));
            whole::write(file, plane.context("the answer lacks a plane that was asked for")?)
        }
    }
}

/// Writes a folder with a PNG for each category that was found.
fn write_categories(folder: &Path, answer: &Answer) -> Result<()> {
    let map = index_map(answer)?;
    let all = &answer.report.categories;
    let names = names::of_categories(all.iter().map(|category| category.name.as_str()));
    let mut files = Vec::new();
    for (category, name) in all.iter().zip(names).filter(|(category, _)| category.pixels > 0) {
        let index = u16::try_from(category.index).context("the index of a category")?;
        files.push((format!("{name}.png"), mask::binary::encode(&map, index)?));
    }
    whole::write_folder(folder, &files)
}

fn index_map(answer: &Answer) -> Result<IndexMap> {
    mask::png::decode(answer.index_png()?, MOST_PIXELS).context("cannot read the index png of the answer")
}

fn contents(answer: &Answer) -> impl Iterator<Item = &Content> {
    answer.masks.iter().filter_map(|mask| mask.content.as_ref())
}

/// The bytes of a plane of scores, runners-up or margins, if `content` is the one of this format.
fn plane(content: &Content, format: Format) -> Option<&[u8]> {
    match (content, format) {
        (Content::ScorePng(bytes), Format::ScorePng)
        | (Content::RawScores(bytes), Format::ScoreRaw)
        | (Content::RunnerUpPng(bytes), Format::RunnerUpPng)
        | (Content::MarginPng(bytes), Format::MarginPng)
        | (Content::RawMargins(bytes), Format::MarginRaw) => Some(bytes),
        _ => None,
    }
}

/// Writes the report to the path in its `files`, if there is one.
pub(crate) fn write_report(report: &Report) -> Result<()> {
    match &report.files.report {
        Some(path) => whole::write(path, serde_json::to_string_pretty(report)?.as_bytes()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_known_by_their_names() {
        for name in ["a.mask.png", "A.Overlay.PNG", "a.categories", "coco-panoptic", "coco-instances.json"] {
            assert!(is_result(name), "{name}");
        }
        assert!(is_result("a.sureness.npz.part"));
        for name in ["a.png", "mask.png", "categories", "coco.json"] {
            assert!(!is_result(name), "{name}");
        }
    }

    #[test]
    fn a_result_is_held_when_all_its_files_are() {
        let folder = tempfile::tempdir().unwrap();
        let formats = [Format::IndexPng, Format::CocoPanoptic, Format::CocoInstances];
        let output = OutputFolder::create(folder.path(), &formats, true).unwrap();
        let name = Path::new("deeper/a.b");
        for file in ["deeper/a.b.mask.png", "coco-panoptic/deeper/a.b.png", "deeper/a.b.report.json"] {
            assert!(!output.holds(name), "without {file}");
            let file = folder.path().join(file);
            create_parent(&file).unwrap();
            whole::write(&file, b"").unwrap();
        }
        assert!(output.holds(name));
    }
}
