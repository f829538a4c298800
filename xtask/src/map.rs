//! `cargo xtask map`: holds what each crate imports against `house-map.toml`. Imports of code are checked through the whole
//! tree of normal dependencies; those of tests are checked by themselves and shown apart. Some rules are about names in the
//! source, where a dependency is allowed for a part of it only, or is the standard library's.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use crate::Findings;
use crate::source::{self, RustFile};

/// `house-map.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HouseMap {
    /// Lists of packages under a name that `never` may use.
    groups: BTreeMap<String, Vec<String>>,
    /// Packages from outside that only these crates import directly.
    owners: BTreeMap<String, Vec<String>>,
    /// Every crate of the workspace.
    crates: BTreeMap<String, Room>,
}

/// What one crate may do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Room {
    /// The workspace's crates that it imports.
    imports: Vec<String>,
    /// Those that only its tests import.
    #[serde(default)]
    imports_in_tests: Vec<String>,
    /// Packages or groups that are nowhere in its tree.
    never: Vec<String>,
    /// Of these packages only these modules are named.
    #[serde(default)]
    only: BTreeMap<String, Vec<String>>,
    /// What its source does not name.
    #[serde(default)]
    never_names: Vec<String>,
}

/// `cargo metadata`, as far as it is read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Absent for a normal one.
    kind: Option<String>,
}

/// Packages by name, with what they import.
struct Tree {
    members: BTreeSet<String>,
    normal: BTreeMap<String, BTreeSet<String>>,
    of_tests: BTreeMap<String, BTreeSet<String>>,
}

pub fn run() -> Result<(), Findings> {
    let text = source::read("house-map.toml")?;
    let map: HouseMap = toml::from_str(&text).map_err(|error| vec![format!("house-map.toml: {error}")])?;
    let tree = Tree::of(metadata()?);
    let mut findings = check_names(&map, &tree);
    for name in &tree.members {
        let Some(room) = map.crates.get(name) else { continue };
        findings.extend(check_imports(&map, room, name, &tree));
        findings.extend(check_sources(room, &source::rust_files(&format!("{}/src", folder(name)))?));
        println!("{name}: {}", list(&tree.workspace_imports(name, &tree.normal)));
        let of_tests = tree.workspace_imports(name, &tree.of_tests);
        if !of_tests.is_empty() {
            println!("{name}, tests: {}", list(&of_tests));
        }
    }
    if findings.is_empty() {
        println!("map: {} crates keep to house-map.toml", tree.members.len());
        return Ok(());
    }
    Err(findings)
}

fn metadata() -> Result<Metadata, Findings> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(source::root());
    let output = command.output().map_err(|error| vec![format!("cannot run cargo metadata: {error}")])?;
    if !output.status.success() {
        return Err(vec![format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim())]);
    }
    serde_json::from_slice(&output.stdout).map_err(|error| vec![format!("cargo metadata cannot be read: {error}")])
}

impl Tree {
    fn of(metadata: Metadata) -> Self {
        let names: BTreeMap<String, String> = metadata.packages.into_iter().map(|p| (p.id, p.name)).collect();
        let mut tree = Self { members: BTreeSet::new(), normal: BTreeMap::new(), of_tests: BTreeMap::new() };
        tree.members.extend(metadata.workspace_members.iter().map(|id| names[id].clone()));
        for node in metadata.resolve.nodes {
            let name = &names[&node.id];
            for dependency in node.deps {
                let imported = &names[&dependency.pkg];
                // A crate's tests may import the crate itself, with other features.
                if imported == name {
                    continue;
                }
                for kind in dependency.dep_kinds {
                    let of = match kind.kind.as_deref() {
                        None => &mut tree.normal,
                        Some("dev") => &mut tree.of_tests,
                        _ => continue,
                    };
                    // Two versions of a package are one here.
                    of.entry(name.clone()).or_default().insert(imported.clone());
                }
            }
        }
        tree
    }

    fn workspace_imports(&self, name: &str, of: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
        let imports = of.get(name).into_iter().flatten();
        imports.filter(|import| self.members.contains(*import)).cloned().collect()
    }

    /// Everything below a crate, each with the way to it.
    fn below(&self, name: &str) -> BTreeMap<String, String> {
        let mut ways = BTreeMap::new();
        let mut open = vec![(name.to_owned(), name.to_owned())];
        while let Some((at, way)) = open.pop() {
            for import in self.normal.get(&at).into_iter().flatten() {
                if !ways.contains_key(import) {
                    let way = format!("{way} -> {import}");
                    ways.insert(import.clone(), way.clone());
                    open.push((import.clone(), way));
                }
            }
        }
        ways
    }
}

/// The map and the workspace have the same crates, and the map names no others.
fn check_names(map: &HouseMap, tree: &Tree) -> Findings {
    let without_room = tree.members.iter().filter(|name| !map.crates.contains_key(*name));
    let mut findings: Findings = without_room.map(|name| format!("{name} is not in house-map.toml")).collect();
    let named = map.crates.iter().flat_map(|(name, room)| {
        [name].into_iter().chain(&room.imports).chain(&room.imports_in_tests).collect::<Vec<_>>()
    });
    let unknown: BTreeSet<_> =
        named.chain(map.owners.values().flatten()).filter(|n| !tree.members.contains(*n)).collect();
    findings.extend(unknown.into_iter().map(|name| format!("house-map.toml names {name}, which is no crate here")));
    findings
}

fn check_imports(map: &HouseMap, room: &Room, name: &str, tree: &Tree) -> Findings {
    let mut findings = Vec::new();
    for import in tree.workspace_imports(name, &tree.normal) {
        if !room.imports.contains(&import) {
            findings.push(format!("{name} imports {import}; house-map.toml allows {}", list(&room.imports)));
        }
    }
    for import in tree.workspace_imports(name, &tree.of_tests) {
        if !room.imports.contains(&import) && !room.imports_in_tests.contains(&import) {
            findings.push(format!("the tests of {name} import {import}, which house-map.toml does not allow"));
        }
    }
    for import in tree.normal.get(name).into_iter().flatten() {
        if map.owners.get(import).is_some_and(|owners| !owners.iter().any(|owner| owner == name)) {
            findings.push(format!("{name} imports {import}, which only {} may", list(&map.owners[import])));
        }
    }
    let below = tree.below(name);
    let never = room.never.iter().flat_map(|word| map.groups.get(word).cloned().unwrap_or(vec![word.clone()]));
    for package in never {
        if let Some(way) = below.get(&package) {
            findings.push(format!("{name} must never see {package}: {way}"));
        }
    }
    findings
}

fn check_sources(room: &Room, files: &[RustFile]) -> Findings {
    let mut findings = Vec::new();
    for file in files {
        for (n, line) in file.text.lines().enumerate() {
            // A comment may name what the code must not.
            let code = line.split("//").next().unwrap_or_default();
            let at = format!("{}:{}", file.path, n + 1);
            for name in room.never_names.iter().filter(|name| code.contains(*name)) {
                findings.push(format!("{at} names {name}"));
            }
            for (package, modules) in &room.only {
                let prefix = format!("{package}::");
                let named = code.split(&prefix).skip(1);
                for rest in named.filter(|rest| !modules.iter().any(|module| rest.starts_with(module))) {
                    let rest: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    findings.push(format!("{at} names {package}::{rest}, but only {} is allowed", list(modules)));
                }
            }
        }
    }
    findings
}

/// Folder = crate name without the prefix.
fn folder(name: &str) -> String {
    match name {
        "xtask" => name.to_owned(),
        _ => format!("crates/{}", name.strip_prefix("strongroom-").unwrap_or(name)),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn tree() -> Tree {
        Tree {
            members: set(&["model", "engine", "wire"]),
            normal: [("engine", set(&["model", "async"])), ("async", set(&["tokio"])), ("model", set(&["regex"]))]
                .map(|(name, imports)| (name.to_owned(), imports))
                .into(),
            of_tests: [("engine".to_owned(), set(&["wire", "tempfile"]))].into(),
        }
    }

    fn map(room: &str) -> HouseMap {
        toml::from_str(&format!(
            "groups.runtime = ['tokio', 'mio']\nowners.regex = ['model']\n[crates.engine]\n{room}\n\
             [crates.model]\nimports = []\nnever = ['runtime']\n[crates.wire]\nimports = []\nnever = []"
        ))
        .unwrap()
    }

    fn findings(room: &str) -> Findings {
        let map = map(room);
        check_imports(&map, &map.crates["engine"], "engine", &tree())
    }

    #[test]
    fn what_is_allowed_is_no_finding() {
        assert_eq!(findings("imports = ['model']\nimports-in-tests = ['wire']\nnever = ['hyper']"), Findings::new());
        assert_eq!(check_names(&map("imports = ['model']\nnever = []"), &tree()), Findings::new());
    }

    #[test]
    fn each_forbidden_import_is_named_with_its_crate() {
        let found = findings("imports = []\nnever = ['runtime', 'regex']");
        assert_eq!(
            found,
            [
                "engine imports model; house-map.toml allows (none)",
                "the tests of engine import wire, which house-map.toml does not allow",
                "engine must never see tokio: engine -> async -> tokio",
                "engine must never see regex: engine -> model -> regex",
            ]
        );
    }

    #[test]
    fn an_owned_package_is_imported_by_its_owner_only() {
        let mut tree = tree();
        tree.normal.get_mut("engine").unwrap().insert("regex".to_owned());
        let map = map("imports = ['model']\nimports-in-tests = ['wire']\nnever = []");
        let found = check_imports(&map, &map.crates["engine"], "engine", &tree);
        assert_eq!(found, ["engine imports regex, which only model may"]);
    }

    #[test]
    fn crates_that_the_map_lacks_or_makes_up_are_found() {
        let mut tree = tree();
        tree.members.insert("new".to_owned());
        let found = check_names(&map("imports = ['old']\nnever = []"), &tree);
        assert_eq!(found, ["new is not in house-map.toml", "house-map.toml names old, which is no crate here"]);
    }

    #[test]
    fn names_in_code_are_found_and_names_in_comments_are_not() {
        let room = map("imports = []\nnever = []\nnever-names = ['Instant::now']\nonly.tokio = ['sync']");
        let text = "// Instant::now\nuse tokio::sync::Notify;\nlet t = Instant::now();\ntokio::spawn(x);\n";
        let file = RustFile { path: "a.rs".to_owned(), text: text.to_owned() };
        let found = check_sources(&room.crates["engine"], &[file]);
        assert_eq!(found, ["a.rs:3 names Instant::now", "a.rs:4 names tokio::spawn, but only sync is allowed"]);
    }
}
