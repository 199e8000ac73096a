//! The output folder: the files of each picture, and those for all pictures.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use sed_client::Answer;

use crate::{
    args::Format,
    coco::{self, Category, CocoFile, Expected, Image, Instance, Panoptic},
    output_files::{INSTANCES_FILE, OutputFolder, PANOPTIC_FILE, whole::with_ending},
    pictures::Picture,
};

/// The output folder.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) folder: Arc<OutputFolder>,
    shared: SharedFiles,
    skip_existing: bool,
}

/// The files for all pictures, as far as they are asked for.
#[derive(Debug)]
struct SharedFiles {
    panoptic: Option<CocoFile<Panoptic>>,
    instances: Option<CocoFile<Instance>>,
}

/// A picture's part of the files for all pictures.
#[derive(Debug)]
pub(super) struct Entries {
    panoptic: Option<(Image, Panoptic)>,
    instances: Option<(Image, Vec<Instance>)>,
    categories: Vec<Category>,
}

impl Output {
    /// Creates the folder, or goes on with it.
    pub(super) fn create(
        folder: &Path,
        formats: &[Format],
        with_report: bool,
        skip_existing: bool,
    ) -> Result<Self> {
        let files = OutputFolder::create(folder, formats, with_report)?;
        let path = |format, file| formats.contains(&format).then(|| folder.join(file));
        let panoptic = path(Format::CocoPanoptic, PANOPTIC_FILE);
        let instances = path(Format::CocoInstances, INSTANCES_FILE);
        let shared = SharedFiles {
            panoptic: panoptic.map(|path| CocoFile::create(&path, skip_existing)).transpose()?,
            instances: instances.map(|path| CocoFile::create(&path, skip_existing)).transpose()?,
        };
        Ok(Self { folder: files.into(), shared, skip_existing })
    }

    /// Reports whether a picture is to be skipped, because all its results are there.
    pub(super) fn skips(&self, picture: &Picture) -> bool {
        let held = || {
            let file_name = file_name(&picture.listed_as);
            self.shared.panoptic.as_ref().is_none_or(|file| file.holds(&file_name))
                && self.shared.instances.as_ref().is_none_or(|file| file.holds(&file_name))
        };
        self.skip_existing && held() && self.folder.holds(&picture.name)
    }

    /// The categories of existing files for all pictures.
    pub(super) fn expected(&self) -> Vec<Expected> {
        let panoptic = self.shared.panoptic.as_ref().and_then(CocoFile::expected);
        let instances = self.shared.instances.as_ref().and_then(CocoFile::expected);
        panoptic.into_iter().chain(instances).collect()
    }

    /// Adds a picture to the files for all pictures.
    pub(super) fn add(&mut self, entries: Entries) -> Result<()> {
        let Entries { panoptic, instances, categories } = entries;
        if let (Some(file), Some((image, segments))) = (&mut self.shared.panoptic, panoptic) {
            file.add(image, vec![segments], categories.clone())?;
        }
        if let (Some(file), Some((image, instances))) = (&mut self.shared.instances, instances) {
            file.add(image, instances, categories)?;
        }
        Ok(())
    }

    /// Finishes the files for all pictures, and returns the paths of those that were written.
    pub(super) fn finish(self) -> Result<Vec<PathBuf>> {
        let SharedFiles { panoptic, instances } = self.shared;
        let panoptic = panoptic.map(CocoFile::finish).transpose()?;
        let instances = instances.map(CocoFile::finish).transpose()?;
        Ok([panoptic, instances].into_iter().flatten().flatten().collect())
    }
}

impl Entries {
    /// The part of a picture with its answer, for the formats of `folder`.
    pub(super) fn of(folder: &OutputFolder, picture: &Picture, answer: &Answer) -> Result<Self> {
        let image = || coco::image(file_name(&picture.listed_as), answer);
        let png = || file_name(&with_ending(&picture.name, ".png"));
        let panoptic = folder.writes(Format::CocoPanoptic).then(|| coco::panoptic(png(), answer));
        let instances = folder.writes(Format::CocoInstances).then(|| coco::instances(answer));
        Ok(Self {
            panoptic: panoptic.transpose()?.map(|segments| (image(), segments)),
            instances: instances.transpose()?.map(|instances| (image(), instances)),
            categories: coco::categories(&answer.report)?,
        })
    }

    pub(super) fn categories(&self) -> &[Category] {
        &self.categories
    }
}

/// A path as COCO's files name it, with `/` between its parts on every system.
fn file_name(path: &Path) -> String {
    let part = |part: Component<'_>| match part {
        // The join puts the slash behind it.
        Component::RootDir => String::new(),
        part => part.as_os_str().to_string_lossy().into_owned(),
    };
    path.components().map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_have_slashes() {
        for name in ["a.png", "deeper/a.png", "/root/a.png", "../a.png"] {
            let path: PathBuf = Path::new(name).components().collect();
            assert_eq!(file_name(&path), name);
        }
    }
}
