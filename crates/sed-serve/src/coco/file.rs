//! A file of COCO that grows while pictures are segmented.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::BufReader,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{Annotation, Category, Image, existing, part::Part};
use crate::output_files::whole::{UNFINISHED, with_ending};

/// A JSON file of pictures and their annotations. Until it is finished, new pictures and annotations lie in
/// two files of their own beside it, so that of many pictures only the names of an existing file are held in
/// memory.
#[derive(Debug)]
pub(crate) struct CocoFile<A> {
    path: PathBuf,
    /// Absent until a picture is added.
    new: Option<New>,
    existing: Existing,
    /// Of the existing file or the first answer; empty before.
    categories: Vec<Category>,
    last_image: u64,
    last_annotation: u64,
    of: PhantomData<A>,
}

/// The lists of new entries.
#[derive(Debug)]
struct New {
    images: Part,
    annotations: Part,
}

/// The pictures of an existing file.
#[derive(Debug, Default)]
struct Existing {
    /// Their ids by their names.
    ids: HashMap<String, u64>,
    /// Ids of those that were added again.
    replaced: HashSet<u64>,
}

/// The categories of an existing file.
#[derive(Debug)]
pub(crate) struct Expected {
    path: PathBuf,
    categories: Vec<Category>,
}

impl<A: Annotation> CocoFile<A> {
    /// A file without pictures, or, to go on with, with those of an existing one. An existing file stays as it
    /// is until the end.
    ///
    /// # Errors
    /// The existing one is not of this kind, or cannot be read.
    pub(crate) fn create(path: &Path, go_on: bool) -> Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            new: None,
            existing: Existing::default(),
            categories: Vec::new(),
            last_image: 0,
            last_annotation: 0,
            of: PhantomData,
        };
        if go_on && path.exists() {
            file.read_existing().with_context(|| {
                format!("cannot go on with {}; without --skip-existing it is replaced", path.display())
            })?;
        }
        Ok(file)
    }

    fn read_existing(&mut self) -> Result<()> {
        let Self { path, existing, last_image, last_annotation, .. } = self;
        let image = |image: Image| {
            *last_image = image.id.max(*last_image);
            existing.ids.insert(image.file_name, image.id);
            Ok(())
        };
        let annotation = |annotation: A| {
            *last_annotation = annotation.own().max(*last_annotation);
            Ok(())
        };
        self.categories = existing::read(open(path)?, image, annotation)?;
        Ok(())
    }

    /// Reports whether the existing file holds a picture.
    pub(crate) fn holds(&self, file_name: &str) -> bool {
        self.existing.ids.contains_key(file_name)
    }

    /// The categories of the existing file, if there is one.
    pub(crate) fn expected(&self) -> Option<Expected> {
        let expected = || Expected { path: self.path.clone(), categories: self.categories.clone() };
        (!self.existing.ids.is_empty()).then(expected)
    }

    /// Adds a picture with its annotations, and numbers them. A picture of this name in an existing file is
    /// replaced. All pictures have the same categories ([`Expected::check`]).
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn add(
        &mut self,
        mut image: Image,
        annotations: Vec<A>,
        categories: Vec<Category>,
    ) -> Result<()> {
        if self.categories.is_empty() {
            self.categories = categories;
        }
        self.existing.replaced.extend(self.existing.ids.get(&image.file_name));
        let new = match &mut self.new {
            Some(new) => new,
            None => self.new.insert(New::create(&self.path)?),
        };
        self.last_image += 1;
        image.id = self.last_image;
        for mut annotation in annotations {
            self.last_annotation += 1;
            annotation.number(self.last_image, self.last_annotation);
            new.annotations.push(&annotation)?;
        }
        new.images.push(&image)
    }

    /// Writes the whole file, which replaces an existing one, and returns its path. Without a new picture
    /// leaves everything as it was, and returns `None`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>> {
        let Some(new) = self.new.take() else { return Ok(None) };
        self.write(new).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Some(self.path))
    }

    /// Writes the lists of the existing file, each with the new entries behind.
    fn write(&self, mut new: New) -> Result<()> {
        let Self { path, existing: Existing { ids, replaced }, categories, .. } = self;
        let mut out = Part::create(with_ending(path, UNFINISHED))?;
        out.begin("{\"images\": [")?;
        if !ids.is_empty() {
            let old = |image: Image| if replaced.contains(&image.id) { Ok(()) } else { out.push(&image) };
            existing::read::<A>(open(path)?, old, |_| Ok(()))?;
        }
        out.append(&mut new.images)?;
        out.begin("\n],\n\"annotations\": [")?;
        if !ids.is_empty() {
            let old = |one: A| if replaced.contains(&one.image()) { Ok(()) } else { out.push(&one) };
            existing::read(open(path)?, |_| Ok(()), old)?;
        }
        out.append(&mut new.annotations)?;
        let categories = serde_json::to_string(categories)?;
        let info = serde_json::json!({
            "description": "regions of open-vocabulary semantic segmentation",
            "version": format!("sed-serve {}", env!("CARGO_PKG_VERSION")),
        });
        out.begin(&format!("\n],\n\"categories\": {categories},\n\"info\": {info},\n\"licenses\": []}}\n"))?;
        Ok(out.move_to(path)?)
    }
}

impl New {
    /// Empty lists beside the file `path`.
    fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            images: Part::create(with_ending(path, ".images.part"))?,
            annotations: Part::create(with_ending(path, ".annotations.part"))?,
        })
    }
}

impl Expected {
    /// Checks that an answer has the same categories.
    ///
    /// # Errors
    /// It has others; the error names the file.
    pub(crate) fn check(&self, categories: &[Category]) -> Result<()> {
        if self.categories == categories {
            return Ok(());
        }
        bail!(
            "{} was made with other words; name another folder with --output, or leave out --skip-existing \
             to replace it",
            self.path.display()
        )
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    Ok(BufReader::new(File::open(path)?))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::coco::{Panoptic, Segment};

    fn category(name: &str) -> Category {
        Category { id: 1, name: name.into(), supercategory: String::new(), isthing: 0, color: [1, 2, 3] }
    }

    fn add(file: &mut CocoFile<Panoptic>, name: &str, word: &str) -> Result<()> {
        let image = Image { id: 0, file_name: name.into(), width: 4, height: 3 };
        let segment = Segment { id: 1, category_id: 1, area: 5, bbox: [0, 0, 4, 2], iscrowd: 0 };
        let annotation = Panoptic { image_id: 0, file_name: "x.png".into(), segments_info: vec![segment] };
        file.add(image, vec![annotation], vec![category(word)])
    }

    #[test]
    fn an_existing_file_is_gone_on_with_or_replaced_and_stays_where_nothing_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coco.json");
        let read = || -> Value { serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() };
        let ids = |list: &str, id: &str| -> Vec<Value> {
            read()[list].as_array().unwrap().iter().map(|entry| entry[id].clone()).collect()
        };
        let mut file = CocoFile::create(&path, true).unwrap();
        add(&mut file, "a.png", "cat").unwrap();
        add(&mut file, "deeper/\"b\".png", "cat").unwrap();
        assert_eq!(file.finish().unwrap(), Some(path.clone()));
        assert_eq!(ids("images", "id"), [1, 2].map(Value::from));
        assert_eq!(ids("annotations", "image_id"), [1, 2].map(Value::from));
        assert_eq!(read()["categories"][0]["name"], "cat");

        let file = CocoFile::<Panoptic>::create(&path, true).unwrap();
        assert!(file.holds("a.png") && file.holds("deeper/\"b\".png") && !file.holds("c.png"));
        let expected = file.expected().unwrap();
        expected.check(&[category("cat")]).unwrap();
        let error = expected.check(&[category("dog")]).unwrap_err().to_string();
        assert!(error.contains("other words"), "{error}");
        let before = read();
        assert_eq!(file.finish().unwrap(), None);
        assert_eq!(read(), before);

        // A picture that is done again replaces its entry.
        let mut file = CocoFile::create(&path, true).unwrap();
        add(&mut file, "c.png", "cat").unwrap();
        add(&mut file, "a.png", "cat").unwrap();
        file.finish().unwrap();
        assert_eq!(ids("images", "file_name"), ["deeper/\"b\".png", "c.png", "a.png"].map(Value::from));
        assert_eq!(ids("images", "id"), [2, 3, 4].map(Value::from));
        assert_eq!(ids("annotations", "image_id"), [2, 3, 4].map(Value::from));

        let mut file = CocoFile::create(&path, false).unwrap();
        add(&mut file, "d.png", "dog").unwrap();
        file.finish().unwrap();
        assert_eq!(ids("images", "file_name"), ["d.png"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coco.json");
        for content in ["{\"images\": [", "[]", "{\"images\": [{\"id\": \"a\"}]}"] {
            std::fs::write(&path, content).unwrap();
            let error = format!("{:#}", CocoFile::<Panoptic>::create(&path, true).unwrap_err());
            assert!(error.contains("coco.json; without --skip-existing"), "{error}");
        }
    }
}
