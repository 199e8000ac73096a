//! A list of names: the pictures of a dataset that count.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    find,
};

/// The names of a file, one a line, with or without ending, suffix and folder.
#[derive(Clone, Debug)]
pub struct NameList {
    file: PathBuf,
    names: Vec<String>,
}

impl NameList {
    /// Reads a list. Empty lines do not count.
    ///
    /// # Errors
    /// The file cannot be read or holds no name.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.map_err(|source| Error::List { file: file.to_owned(), source })?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let names: Vec<String> = lines.filter(|line| !line.is_empty()).map(normal).collect();
        if names.is_empty() {
            return Err(Error::EmptyList(file.to_owned()));
        }
        Ok(Self { file: file.to_owned(), names })
    }

    /// Returns those of `known` that the list names, in their order: by the whole name, or by its last part
    /// where that is of one alone. `suffixes` may end a name.
    ///
    /// # Errors
    /// A name of the list is that of no picture, or of more than one.
    pub(crate) fn choose<'a>(
        &self,
        known: impl Iterator<Item = &'a str>,
        suffixes: &[&str],
        pictures: &Path,
    ) -> Result<BTreeSet<&'a str>> {
        let known: BTreeSet<&str> = known.collect();
        let mut chosen = BTreeSet::new();
        let mut missing = Vec::new();
        for name in &self.names {
            match forms(name, suffixes).into_iter().find_map(|form| found(&known, form)) {
                Some(Found::One(one)) => _ = chosen.insert(one),
                Some(Found::Many(first, second)) => {
                    let (file, name) = (self.file.clone(), name.clone());
                    return Err(Error::Ambiguous { file, name, first: first.into(), second: second.into() });
                }
                None => missing.push(name),
            }
        }
        match missing.first() {
            None => Ok(chosen),
            Some(first) => Err(Error::NotListed {
                file: self.file.clone(),
                missing: missing.len(),
                names: self.names.len(),
                first: (*first).clone(),
                pictures: pictures.to_owned(),
            }),
        }
    }
}

/// A pictures' name that a name of a list stands for.
enum Found<'a> {
    One(&'a str),
    Many(&'a str, &'a str),
}

fn found<'a>(known: &BTreeSet<&'a str>, name: &str) -> Option<Found<'a>> {
    if let Some(one) = known.get(name) {
        return Some(Found::One(one));
    }
    let is_last = |known: &&&str| known.strip_suffix(name).is_some_and(|folder| folder.ends_with('/'));
    let mut same = known.iter().filter(is_last);
    let first = *same.next()?;
    Some(same.next().map_or(Found::One(first), |second| Found::Many(first, second)))
}

/// A name with `/` between its parts, from the folder on.
fn normal(line: &str) -> String {
    let line = line.replace('\\', "/");
    line.trim_start_matches("./").trim_start_matches('/').to_owned()
}

/// The name as it stands, without its ending, and each without a suffix.
fn forms<'a>(name: &'a str, suffixes: &[&str]) -> Vec<&'a str> {
    let bare = find::name(name);
    let suffixes = suffixes.iter().filter(|suffix| !suffix.is_empty());
    let without = suffixes.flat_map(|suffix| [name, bare].map(|name| name.strip_suffix(*suffix))).flatten();
    [name, bare].into_iter().chain(without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(lines: &str, known: &[&'static str]) -> Result<Vec<&'static str>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("val.txt");
        fs::write(&file, lines).unwrap();
        let suffixes = ["_leftImg8bit", "_gtFine_labelTrainIds"];
        let chosen = NameList::read(&file)?.choose(known.iter().copied(), &suffixes, Path::new("img"))?;
        Ok(chosen.into_iter().collect())
    }

    #[test]
    fn names_have_endings_suffixes_and_folders_or_not() {
        let known = ["a.1", "b", "bonn/c_0", "ulm/d"];
        let lines = "\u{feff}b.JPG\r\n\na.1\nbonn/c_0_leftImg8bit.png\n./ulm\\d_gtFine_labelTrainIds.png\n";
        assert_eq!(choose(lines, &known).unwrap(), known);
        assert_eq!(choose("c_0\nd.tif\nd\n", &known).unwrap(), ["bonn/c_0", "ulm/d"]);
    }

    #[test]
    fn names_of_no_picture_or_of_two_are_named() {
        let error = choose("a\nx.png\ny\n", &["a"]).unwrap_err().to_string();
        assert!(error.contains("2 of the 3 names in"), "{error}");
        assert!(error.contains("val.txt") && error.contains("such as x.png"), "{error}");
        let error = choose("a", &["ulm/a", "bonn/a"]).unwrap_err().to_string();
        assert!(error.contains("is that of bonn/a and of ulm/a"), "{error}");
        assert!(choose(" \n", &["a"]).unwrap_err().to_string().contains("holds no name"));
        let error = NameList::read(Path::new("no/such.txt")).unwrap_err().to_string();
        assert!(error.contains("no/such.txt"), "{error}");
    }
}
