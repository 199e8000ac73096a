//! Folders of scenes with labels and words, as `models/sed-tiny/train/evaluate.py --write` makes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    case::{Case, Meaning},
    error::{Cause, Error, Result},
    plan::{Names, Plan},
};

/// The phrases by which a word of a scene is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phrases {
    /// The word alone.
    Word,
    /// The word, and the name of its category as a synonym where it is another.
    WordAndCategory,
}

/// The list of words that measures rejection; it holds up to this many.
pub const MANY: usize = 300;

/// The JSON file beside a scene's picture.
#[derive(Debug, Deserialize)]
struct Words {
    /// Number of words, from the first, that are objects in the picture.
    objects: usize,
    /// Number of words, from the first, that are in the picture; those after the objects are stuff.
    present: usize,
    /// The categories of the words of every list. Words of other scenes may have the same category.
    categories: Vec<String>,
    /// The lists of words, by their count.
    #[serde(flatten)]
    lists: BTreeMap<String, Value>,
}

impl Words {
    fn counts(&self) -> impl Iterator<Item = usize> {
        self.lists.keys().filter_map(|key| key.parse().ok())
    }

    fn check(&self) -> Result<(), Cause> {
        let (objects, present, named) = (self.objects, self.present, self.categories.len());
        if objects > present || present > named {
            return Err(format!(
                "\"objects\" ({objects}) must not be above \"present\" ({present}), nor that above the number \
                 of \"categories\" ({named})"
            )
            .into());
        }
        Ok(())
    }
}

/// A scene on disk.
#[derive(Debug)]
struct Scene {
    picture: PathBuf,
    label: PathBuf,
    file: PathBuf,
    words: Words,
}

/// Scenes of one kind.
#[derive(Debug)]
pub struct Condition {
    name: String,
    scenes: Vec<Scene>,
}

/// Finds the conditions in a folder, with the first `limit` scenes of each: the folder itself and its
/// sub-folders, as far as they hold scenes.
///
/// # Errors
/// A folder cannot be listed, or a scene is wrong or incomplete.
pub fn find(folder: &Path, limit: Option<usize>) -> Result<Vec<Condition>> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    folders.insert(0, folder.to_owned());
    let conditions = folders.iter().map(|folder| condition(folder, limit));
    let conditions: Vec<Condition> = conditions.collect::<Result<_>>()?;
    Ok(conditions.into_iter().filter(|condition| !condition.scenes.is_empty()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut paths = list().map_err(|source| Error::Folder { folder: folder.to_owned(), source })?;
    paths.sort();
    Ok(paths)
}

fn condition(folder: &Path, limit: Option<usize>) -> Result<Condition> {
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let mut files = entries(folder)?;
    files.retain(|path| is_scene(path));
    files.truncate(limit.unwrap_or(usize::MAX));
    let scenes = files.into_iter().map(scene).collect::<Result<_>>()?;
    Ok(Condition { name, scenes })
}

/// Reports whether a file holds the words of a picture.
fn is_scene(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    is_json
        && !path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
        && ["png", "label.png"].iter().any(|ending| path.with_extension(ending).is_file())
}

fn scene(file: PathBuf) -> Result<Scene> {
    let read = || -> Result<Words, Cause> {
        let words: Words = serde_json::from_slice(&std::fs::read(&file)?)?;
        words.check()?;
        Ok(words)
    };
    let words = match read() {
        Ok(words) => words,
        Err(source) => return Err(Error::Scene { file, source }),
    };
    let (picture, label) = (file.with_extension("png"), file.with_extension("label.png"));
    if let Some(missing) = [&picture, &label].into_iter().find(|path| !path.is_file()) {
        return Err(Error::Incomplete { scene: file, file: missing.clone() });
    }
    Ok(Scene { picture, label, file, words })
}

impl Condition {
    /// Returns a plan for each count of words that the scenes have, or for `count` alone.
    ///
    /// # Errors
    /// No scene has `count` words, or some scene has not.
    pub fn plans(&self, count: Option<usize>, phrases: Phrases) -> Result<Vec<Plan>> {
        // Only words with a category can be added up over scenes.
        let mut there = BTreeSet::new();
        for scene in &self.scenes {
            there.extend(scene.words.counts().filter(|count| *count <= scene.words.categories.len()));
        }
        if count.is_some_and(|count| !there.contains(&count)) || there.is_empty() {
            let wanted = count.map_or("a".to_owned(), |count| count.to_string());
            let there = there.into_iter().collect();
            return Err(Error::NoCount { condition: self.name.clone(), wanted, there });
        }
        let counts = there.into_iter().filter(|there| count.is_none_or(|count| count == *there));
        counts.map(|count| self.plan(count, phrases)).collect()
    }

    fn plan(&self, count: usize, phrases: Phrases) -> Result<Plan> {
        let mut names = Names::default();
        let cases = self.scenes.iter().map(|scene| {
            let list = self.list(scene, count)?;
            let ids = scene.words.categories.iter().enumerate().map(|(index, category)| {
                let is_stuff = (scene.words.objects..scene.words.present).contains(&index);
                names.id(category, is_stuff)
            });
            let ids = ids.take(list.len()).collect::<Result<_>>()?;
            Ok(scene.case(list, ids, phrases))
        });
        let cases = cases.collect::<Result<_>>()?;
        let condition = Some(self.name.clone());
        Ok(Plan { condition, words: Some(count), cases, names: Some(names), background: None })
    }

    /// The scenes with [`MANY`] words, which are their own categories; `None` if no scene has such a list.
    ///
    /// # Errors
    /// Some scene has no such list.
    pub fn rejection_plan(&self) -> Result<Option<Plan>> {
        if self.scenes.iter().all(|scene| !scene.words.lists.contains_key(&MANY.to_string())) {
            return Ok(None);
        }
        let cases = self.scenes.iter().map(|scene| {
            let list = self.list(scene, MANY)?;
            // A server accepts fewer words than u16 counts.
            let count = list.len() as u16;
            Ok(scene.case(list, (0..count).collect(), Phrases::Word))
        });
        let (condition, cases) = (Some(self.name.clone()), cases.collect::<Result<_>>()?);
        Ok(Some(Plan { condition, words: None, cases, names: None, background: None }))
    }

    fn list(&self, scene: &Scene, count: usize) -> Result<Vec<String>> {
        let file = scene.file.clone();
        match scene.words.lists.get(&count.to_string()) {
            Some(list) => {
                serde_json::from_value(list.clone()).map_err(|source| Error::NotAList { file, count, source })
            }
            None => Err(Error::NoList { file, count, condition: self.name.clone() }),
        }
    }
}

impl Scene {
    fn case(&self, list: Vec<String>, categories: Vec<u16>, phrases: Phrases) -> Case {
        let words = list.into_iter().enumerate().map(|(index, word)| {
            let category = self.words.categories.get(index).filter(|category| **category != word);
            let synonyms = match phrases {
                Phrases::Word => Vec::new(),
                Phrases::WordAndCategory => category.cloned().into_iter().collect(),
            };
            (word, synonyms)
        });
        let vocabulary = sed_client::categories(words);
        let (picture, label) = (self.picture.clone(), self.label.clone());
        Case { picture, label, vocabulary, meaning: Meaning::Words { categories } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(folder: &Path, name: &str, words: &Value) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), words.to_string()).unwrap();
        for ending in ["png", "label.png"] {
            std::fs::write(folder.join(format!("{name}.{ending}")), "").unwrap();
        }
    }

    fn meaning(case: &Case) -> &[u16] {
        match &case.meaning {
            Meaning::Words { categories } => categories,
            Meaning::Vocabulary { .. } => panic!("a scene has words"),
        }
    }

    #[test]
    fn synonyms_and_other_orders_are_the_same_categories() {
        let root = tempfile::tempdir().unwrap();
        let trained = root.path().join("trained");
        write(
            &trained,
            "000",
            &json!({ "2": ["puppy", "sky"], "3": ["puppy", "sky", "cat"], "300": ["puppy", "sky", "cat", "x"],
                     "objects": 1, "present": 2, "categories": ["dog", "sky", "cat"] }),
        );
        write(
            &trained,
            "001",
            &json!({ "2": ["sky", "dog"], "3": ["sky", "dog", "cat"], "300": ["sky"],
                     "objects": 0, "present": 1, "categories": ["sky", "dog", "cat"] }),
        );
        let conditions = find(root.path(), None).unwrap();
        let plans = conditions[0].plans(None, Phrases::Word).unwrap();
        assert_eq!(
            plans.iter().map(|plan| (plan.words.unwrap(), plan.cases.len())).collect::<Vec<_>>(),
            [(2, 2), (3, 2)]
        );
        let names = plans[1].names.as_ref().unwrap();
        let names = |case: &Case| -> Vec<(String, bool)> {
            let name = |id: &u16| (names.name(usize::from(*id)).to_owned(), names.is_stuff(usize::from(*id)));
            meaning(case).iter().map(name).collect()
        };
        let [dog, sky, cat] = [("dog", false), ("sky", true), ("cat", false)].map(|(n, s)| (n.to_owned(), s));
        assert_eq!(names(&plans[1].cases[0]), [dog.clone(), sky.clone(), cat.clone()]);
        assert_eq!(names(&plans[1].cases[1]), [sky, dog, cat]);

        assert_eq!(conditions[0].plans(Some(2), Phrases::Word).unwrap().len(), 1);
        let error = conditions[0].plans(Some(300), Phrases::Word).unwrap_err().to_string();
        assert!(error.contains("no list of 300 words with categories; there are [2, 3]"), "{error}");
        let rejection = conditions[0].rejection_plan().unwrap().unwrap();
        assert_eq!(meaning(&rejection.cases[0]), [0, 1, 2, 3]);

        let both = conditions[0].plans(Some(2), Phrases::WordAndCategory).unwrap();
        let puppy =
            sed_client::categories([("puppy", vec!["dog"]), ("sky", Vec::new())].map(|(word, synonyms)| {
                (word.to_owned(), synonyms.into_iter().map(str::to_owned).collect())
            }));
        assert_eq!(both[0].cases[0].vocabulary, puppy);

        // The condition's own folder, too, and only its first scene.
        let one = find(&trained, Some(1)).unwrap();
        assert_eq!((one.len(), one[0].scenes.len()), (1, 1));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("package.json"), "[]").unwrap();
        assert!(find(root.path(), None).unwrap().is_empty());
        let words = json!({ "1": ["dog"], "objects": 1, "present": 1, "categories": ["dog"] });
        write(root.path(), "000", &words);
        assert!(find(root.path(), None).unwrap()[0].rejection_plan().unwrap().is_none());
        std::fs::remove_file(root.path().join("000.label.png")).unwrap();
        let error = find(root.path(), None).unwrap_err().to_string();
        assert!(error.contains("000.json lacks") && error.ends_with("000.label.png"), "{error}");
        write(root.path(), "000", &json!({ "objects": 3, "present": 2, "categories": ["dog"] }));
        let error = sed_client::causes(&find(root.path(), None).unwrap_err());
        assert!(error.contains("000.json: \"objects\" (3)"), "{error}");
    }
}
