//! No crate has a circle of more than two files.
//!
//! An edge goes from a file to the file that defines what it names with `crate::` or `super::`, in production code. A
//! re-export is followed to the definition, so a facade that re-exports its children ties nothing; nor does a parent
//! that calls its own children, because that is what a parent is for. Files that reach each other over such edges form a
//! circle. Two files may, for example a table and its row; three cannot be read one after the other any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::{below, crates};

/// Names of modules from the root of the crate on; empty for the root.
type Module = Vec<String>;

/// A module's names as they are written, `root` for the root.
fn shown(module: &[String]) -> String {
    if module.is_empty() { "root".into() } else { module.join("::") }
}

/// What a file names.
struct File {
    /// Paths that begin with `crate` or `super`.
    names: BTreeSet<Vec<String>>,
    /// What it re-exports, by name.
    reexports: BTreeMap<String, Vec<String>>,
}

/// The production files of a crate.
struct Crate(BTreeMap<Module, File>);

impl Crate {
    /// Reads the files of a `src` folder, given as (path, text).
    fn parse<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)> + Clone) -> Crate {
        let of_tests: BTreeSet<Module> =
            files.clone().into_iter().flat_map(|(path, text)| test_modules(&module(path), text)).collect();
        let is_test = |module: &Module| (1..=module.len()).any(|len| of_tests.contains(&module[..len]));
        let parsed = files.into_iter().map(|(path, text)| (module(path), text));
        Crate(parsed.filter(|(module, _)| !is_test(module)).map(|(module, text)| (module, File::parse(text))).collect())
    }

    /// The file that defines what a path in a module names; none if it is not in this crate.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        let mut rest = path;
        let mut base = from.to_vec();
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "super" => _ = base.pop()?,
                "self" => {}
                _ => break,
            }
            rest = others;
        }
        while let Some((first, others)) = rest.split_first() {
            let child = [&base[..], std::slice::from_ref(first)].concat();
            if !self.0.contains_key(&child) {
                break;
            }
            base = child;
            rest = others;
        }
        let reexport = self.0.get(&base)?.reexports.get(rest.first()?).filter(|_| depth < 8);
        let target = reexport.and_then(|target| {
            let is_here = matches!(target[0].as_str(), "crate" | "super" | "self");
            let child = [&base[..], &target[..1]].concat();
            (is_here || self.0.contains_key(&child)).then(|| self.resolve(&base, target, depth + 1)).flatten()
        });
        Some(target.unwrap_or(base))
    }

    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |module: &Module, file: &File| {
            let mut found: BTreeSet<Module> = BTreeSet::new();
            for path in &file.names {
                // A path may end in the name of a module itself.
                let named = [&path[..], &["".to_string()]].concat();
                found.extend(self.resolve(module, &named, 0).filter(|other| other != module));
            }
            found
        };
        self.0.iter().map(|(module, file)| (module, of(module, file))).collect()
    }

    /// The circles of more than two files, each ascending, with the edges in it.
    fn circles(&self) -> Vec<Circle> {
        let edges = self.edges();
        let reached_from = |start: &Module| {
            let mut reached: BTreeSet<Module> = BTreeSet::new();
            let mut open = vec![start.clone()];
            while let Some(next) = open.pop() {
                for other in edges.get(&next).into_iter().flatten() {
                    if reached.insert(other.clone()) {
                        open.push(other.clone());
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            edges.keys().map(|module| (*module, reached_from(module))).collect();
        let mut circles: BTreeSet<BTreeSet<Module>> = BTreeSet::new();
        for (module, others) in &reached {
            let tied = others.iter().filter(|other| reached[*other].contains(*module));
            circles.insert(tied.cloned().collect());
        }
        circles.into_iter().filter(|circle| circle.len() > 2).map(|files| Circle::new(files, &edges)).collect()
    }
}

struct Circle {
    /// The files, separated by spaces.
    files: String,
    /// One edge a line.
    edges: String,
}

impl Circle {
    fn new(files: BTreeSet<Module>, edges: &BTreeMap<&Module, BTreeSet<Module>>) -> Circle {
        let inside = |from: &Module| {
            let to = edges[from].iter().filter(|to| files.contains(*to)).map(|to| shown(to));
            format!("  {} -> {}", shown(from), to.collect::<Vec<_>>().join(", "))
        };
        let names: Vec<String> = files.iter().map(|file| shown(file)).collect();
        Circle { files: names.join(" "), edges: files.iter().map(inside).collect::<Vec<_>>().join("\n") }
    }
}

impl File {
    fn parse(text: &str) -> File {
        let code = production_code(text);
        let (mut names, mut reexports) = (BTreeSet::new(), BTreeMap::new());
        let mut rest = String::new();
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let statement = line.trim_start();
            let Some((is_public, tree)) = use_tree(statement) else {
                rest.push_str(line);
                rest.push('\n');
                continue;
            };
            let mut tree = tree.to_string();
            while !tree.contains(';') {
                let Some(more) = lines.next() else { break };
                tree.push_str(more.trim());
            }
            for path in expand(tree.split(';').next().unwrap_or_default()) {
                if is_public && let Some(name) = path.last() {
                    reexports.insert(name.clone(), path.clone());
                }
                if matches!(path[0].as_str(), "crate" | "super") {
                    names.insert(path);
                }
            }
        }
        names.extend(inline_paths(&rest));
        File { names, reexports }
    }
}

/// The module of a file.
fn module(path: &Path) -> Module {
    let mut parts: Module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() == 1 && matches!(parts[0].as_str(), "lib" | "main") {
        parts.clear();
    }
    parts
}

/// Whether a line begins a `use`, whether it is public, and what follows.
fn use_tree(line: &str) -> Option<(bool, &str)> {
    if let Some(tree) = line.strip_prefix("use ") {
        return Some((false, tree));
    }
    let public = line.strip_prefix("pub")?;
    let public = match public.strip_prefix('(') {
        Some(scoped) => scoped.split_once(')')?.1,
        None => public,
    };
    public.strip_prefix(" use ").map(|tree| (true, tree))
}

/// The paths of a `use` tree.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return if path.is_empty() { Vec::new() } else { vec![path.split("::").map(str::to_string).collect()] };
    };
    let inner = &inner[..inner.rfind('}').unwrap_or(inner.len())];
    let prefix: Vec<String> = prefix.trim().split("::").filter(|part| !part.is_empty()).map(str::to_string).collect();
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let whole = |path: Vec<String>| [&prefix[..], &path[..]].concat();
    parts.iter().flat_map(|part| expand(part)).map(whole).collect()
}

/// The paths that begin with `crate::` or `super::` outside of `use`.
fn inline_paths(code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
                continue;
            }
            let end = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let path = &code[at..end.map_or(code.len(), |end| at + end)];
            let parts: Vec<String> = path.split("::").filter(|part| !part.is_empty()).map(str::to_string).collect();
            found.insert(parts);
        }
    }
    found
}

/// The modules that a file declares for tests only.
fn test_modules(of: &[String], text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let declared = lines.find(|line| !line.starts_with("#["));
        let name = declared.and_then(|line| line.strip_suffix(';')?.split("mod ").nth(1));
        found.extend(name.map(|name| [of, &[name.to_string()]].concat()));
    }
    found
}

/// The text without comments and without the tests at its end.
fn production_code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let declared = lines.by_ref().find(|line| !line.starts_with("#["));
            if declared.is_some_and(|line| line.contains("mod ") && line.ends_with('{')) {
                break;
            }
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        code.push_str(line);
        code.push('\n');
    }
    code
}

#[test]
fn no_crate_has_a_circle_of_more_than_two_files() {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut edges = String::new();
    for (name, folder) in crates() {
        let files = below(&folder.join("src"));
        let parsed = Crate::parse(files.iter().map(|(path, text)| (path.as_path(), text.as_str())));
        for circle in parsed.circles() {
            edges.push_str(&format!("{name}:\n{}\n", circle.edges));
            found.push((name.clone(), circle.files));
        }
    }
    assert!(found.is_empty(), "files that reach each other:\n{edges}");
}

/// A crate made of these files.
fn of(files: &[(&str, &str)]) -> Crate {
    Crate::parse(files.iter().map(|(path, text)| (Path::new(*path), *text)))
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    of(files).circles().into_iter().map(|circle| circle.files).collect()
}

#[test]
fn a_circle_of_three_files_is_found() {
    let files = [
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "fn f() -> super::c::C { todo() }"),
        ("c.rs", "use crate::{a::{A, Other}, model::Model};"),
        ("model.rs", "use std::sync::Arc;"),
    ];
    assert_eq!(circles(&files), ["a b c"]);
    let shown = of(&files).circles().remove(0).edges;
    assert_eq!(shown, "  a -> b\n  b -> c\n  c -> a");
}

#[test]
fn two_files_may_use_each_other() {
    assert_eq!(circles(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]), Vec::<String>::new());
}

#[test]
fn a_facade_that_reexports_ties_nothing() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\npub use b::B;\npub use c::C;"),
        ("a.rs", "use crate::B;"),
        ("b.rs", "use crate::C;"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(circles(&files), Vec::<String>::new());
}

#[test]
fn a_circle_through_reexports_is_found() {
    let files = [
        ("lib.rs", "pub(crate) use a::A;\npub(crate) use b::{B};\npub(crate) use c::C as C;"),
        ("a.rs", "use crate::B;"),
        ("b.rs", "use crate::C;"),
        ("c.rs", "use crate::A;"),
    ];
    assert_eq!(circles(&files), ["a b c"]);
}

#[test]
fn comments_and_tests_tie_nothing() {
    let files = [
        ("a.rs", "//! See [`crate::b`].\nuse crate::b::B; // crate::c"),
        ("b.rs", "use crate::c::C;\n#[cfg(test)]\nmod tests;"),
        ("c.rs", "struct C;\n\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
        ("b/tests.rs", "use crate::a::A;"),
    ];
    assert_eq!(circles(&files), Vec::<String>::new());
}
