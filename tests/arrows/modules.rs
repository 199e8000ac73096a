//! The modules of a crate: what each defines, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{self, Token};

/// The names of the modules from the crate's root down to one.
pub(crate) type ModulePath = Vec<String>;

/// Most re-exports that lead from a name to its definition.
const MOST_HOPS: usize = 16;

/// The modules of a crate without those for tests.
pub(crate) type Modules = BTreeMap<ModulePath, Module>;

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    /// Paths in `use` declarations and in code, each with its line.
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    /// The paths that names come from by a `use` declaration.
    imports: BTreeMap<String, Vec<String>>,
    /// Paths that all names are imported of.
    globs: Vec<Vec<String>>,
    /// Names of what is defined here.
    items: BTreeSet<String>,
}

/// Reads the modules below `src` from its `lib.rs` on.
pub(crate) fn read(src: &Path) -> Modules {
    let mut modules = Modules::new();
    let mut for_tests = Vec::new();
    for file in source::files(src) {
        let mut path: ModulePath = file
            .strip_prefix(src)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if path == ["main"] || path.iter().any(|part| part == "tests") {
            continue;
        }
        if path == ["lib"] || path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        modules.entry(path.clone()).or_default().file = file.clone();
        let tokens = source::tokens(&std::fs::read_to_string(&file).unwrap());
        Scan { modules: &mut modules, for_tests: &mut for_tests, file: &file, path }.run(&tokens);
    }
    modules.retain(|path, _| !for_tests.iter().any(|hidden| path.starts_with(hidden)));
    modules
}

/// A walk over the tokens of one file.
struct Scan<'a> {
    modules: &'a mut Modules,
    for_tests: &'a mut Vec<ModulePath>,
    file: &'a Path,
    /// The module that the walk is in.
    path: ModulePath,
}

impl Scan<'_> {
    fn run(&mut self, tokens: &[Token]) {
        let (mut at, mut depth, mut inline) = (0, 0, Vec::new());
        while let Some(token) = tokens.get(at) {
            let next = |is: &str| tokens.get(at + 1).is_some_and(|next| next.is(is));
            match token.text.as_str() {
                "#" if next("[") => {
                    let end = closing(tokens, at + 1);
                    at = if is_for_tests(&tokens[at + 2..end]) {
                        self.skip_item(tokens, end + 1)
                    } else {
                        end + 1
                    };
                    continue;
                }
                "mod" if tokens.get(at + 2).is_some_and(|token| token.is("{")) => {
                    self.path.push(tokens[at + 1].text.clone());
                    self.modules.entry(self.path.clone()).or_default().file = self.file.to_owned();
                    inline.push(depth);
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inline.pop_if(|outside| *outside == depth).is_some() {
                        self.path.pop();
                    }
                }
                "use" if !next("<") => {
                    let end = end_of(tokens, at, ";");
                    self.import(&tokens[at + 1..end], Vec::new());
                    at = end;
                }
                "crate" | "self" | "super"
                    if next("::") && !tokens[at - 1].is("::") && !tokens[at - 1].is("in") =>
                {
                    let (names, end) = names(tokens, at);
                    self.module().paths.push((names, token.line));
                    at = end;
                }
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => {
                    let name = tokens.get(at + 1).filter(|name| name.is_name());
                    self.module().items.extend(name.map(|name| name.text.clone()));
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn module(&mut self) -> &mut Module {
        self.modules.entry(self.path.clone()).or_default()
    }

    /// Notes the imports of a tree of paths.
    fn import(&mut self, tree: &[Token], before: Vec<String>) {
        let (mut path, mut at, mut alias) = (before, 0, None);
        while let Some(token) = tree.get(at) {
            match token.text.as_str() {
                "{" => {
                    let end = closing(tree, at);
                    while at < end {
                        let comma = end_of(&tree[..end], at + 1, ",");
                        self.import(&tree[at + 1..comma], path.clone());
                        at = comma;
                    }
                    return;
                }
                "*" => return self.module().globs.push(path),
                "as" => {
                    alias = tree.get(at + 1).map(|alias| alias.text.clone());
                    at += 1;
                }
                "self" if !path.is_empty() => {}
                _ if token.is_name() => path.push(token.text.clone()),
                _ => {}
            }
            at += 1;
        }
        let (Some(name), Some(last)) = (alias.or_else(|| path.last().cloned()), tree.last()) else { return };
        let line = last.line;
        self.module().imports.insert(name, path.clone());
        self.module().paths.push((path, line));
    }

    /// Returns the end of the item, field or statement that an attribute hides from all but tests.
    fn skip_item(&mut self, tokens: &[Token], mut at: usize) -> usize {
        while tokens[at].is("#") {
            at = closing(tokens, at + 1) + 1;
        }
        if tokens[at].is("mod") && tokens[at + 2].is(";") {
            self.for_tests.push([self.path.clone(), vec![tokens[at + 1].text.clone()]].concat());
        }
        let is_field = (at..at + 6).any(|at| tokens.get(at + 1).is_some_and(|token| token.is(":")));
        while let Some(token) = tokens.get(at) {
            match token.text.as_str() {
                "{" => return closing(tokens, at) + 1,
                "(" | "[" => at = closing(tokens, at),
                ";" => return at + 1,
                "," if is_field => return at + 1,
                _ => {}
            }
            at += 1;
        }
        at
    }
}

fn is_for_tests(attribute: &[Token]) -> bool {
    let text: String = attribute.iter().map(|token| token.text.as_str()).collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// The place of the bracket that closes the one at `at`.
fn closing(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// The place of the next `end` outside of braces, or the end of the tokens.
fn end_of(tokens: &[Token], mut at: usize, end: &str) -> usize {
    while at < tokens.len() && !tokens[at].is(end) {
        at = if tokens[at].is("{") { closing(tokens, at) + 1 } else { at + 1 };
    }
    at.min(tokens.len())
}

/// The names of the path that begins at `at`, and the place of its last token.
fn names(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut names = vec![tokens[at].text.clone()];
    while let [colons, name, ..] = &tokens[at + 1..]
        && colons.is("::")
        && name.is_name()
    {
        names.push(name.text.clone());
        at += 2;
    }
    (names, at)
}

/// The modules that a path in module `from` leads through by re-exports, down to the one that defines the name;
/// none for a path into another crate.
pub(crate) fn resolve(modules: &Modules, from: &[String], path: &[String]) -> Vec<ModulePath> {
    let mut passed = Vec::new();
    follow(modules, from, path, &mut passed);
    passed
}

fn follow(modules: &Modules, from: &[String], path: &[String], passed: &mut Vec<ModulePath>) {
    let mut at = from.to_vec();
    let known = |at: &ModulePath, name: &String| {
        modules.contains_key(&[at.as_slice(), std::slice::from_ref(name)].concat())
            || modules.get(at).is_some_and(|module| module.imports.contains_key(name))
    };
    for (index, name) in path.iter().enumerate() {
        match name.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => _ = at.pop(),
            _ if index == 0 && !known(&at, name) => return,
            _ => {
                at.push(name.clone());
                if modules.contains_key(&at) {
                    continue;
                }
                at.pop();
                passed.push(at.clone());
                let Some(module) = modules.get(&at).filter(|_| passed.len() < MOST_HOPS) else { return };
                if let Some(import) = module.imports.get(name).filter(|import| *import != path) {
                    let rest = [import.as_slice(), &path[index + 1..]].concat();
                    follow(modules, &at, &rest, passed);
                } else if !module.items.contains(name) {
                    let sources = module.globs.iter().flat_map(|glob| resolve(modules, &at, glob));
                    passed.extend(sources.filter(|source| modules[source].items.contains(name)));
                }
                return;
            }
        }
    }
    passed.push(at);
}
