//! Owns a rough reading of the engine's functions: which errors a function makes, and which functions it calls. Rough, but
//! sure enough: rustfmt puts a function's last brace under its first letter, free functions are called by their path, and
//! errors are made by four constructors. Calls of methods are not followed; those of ports and the store make no
//! [`ErrorKind`] of their own.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_model::ErrorKind;

use crate::source::RustFile;

/// A free function: the module that it is in (its file's name) and its own.
type Function = (String, String);

/// What each function makes and calls.
pub struct Calls {
    bodies: BTreeMap<Function, String>,
    imports: BTreeMap<String, BTreeMap<String, Function>>,
}

impl Calls {
    /// Reads a crate's files.
    pub fn of(files: &[RustFile]) -> Self {
        let mut calls = Self { bodies: BTreeMap::new(), imports: BTreeMap::new() };
        for file in files {
            let module = module(&file.path);
            for (name, body) in functions(&file.text) {
                calls.bodies.entry((module.clone(), name)).or_default().push_str(&body);
            }
            calls.imports.insert(module, imports(&file.text));
        }
        calls
    }

    /// The kinds of errors that a function makes, itself or by what it calls.
    pub fn errors(&self, module: &str, name: &str) -> BTreeSet<&'static str> {
        let (mut kinds, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open = vec![(module.to_owned(), name.to_owned())];
        while let Some(function) = open.pop() {
            if !seen.insert(function.clone()) {
                continue;
            }
            let Some(body) = self.bodies.get(&function) else { continue };
            kinds.extend(made(body));
            open.extend(self.called(&function.0, body));
        }
        kinds
    }

    fn called(&self, module: &str, body: &str) -> Vec<Function> {
        let imported = |name: &str| self.imports.get(module).and_then(|imports| imports.get(name)).cloned();
        let mut called = Vec::new();
        for (path, name) in paths(body) {
            let function = match path {
                // A function of a type is in the type's module.
                Some(path) if path.starts_with(char::is_uppercase) => {
                    (imported(&path).map_or(module.to_owned(), |(module, _)| module), name)
                }
                Some(path) => (path, name),
                None => imported(&name).unwrap_or((module.to_owned(), name)),
            };
            if self.bodies.contains_key(&function) {
                called.push(function);
            }
        }
        called
    }
}

/// `crates/engine/src/operation/create_hsm.rs` is `create_hsm`; a `mod.rs` has the name of its folder.
fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Functions with their bodies, methods too.
fn functions(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut body = String::new();
        let mut at = Some(line);
        while let Some(line) = at {
            body += line;
            body.push('\n');
            let own = line.len() - line.trim_start().len() == indent;
            if own && (line.trim_end() == format!("{}}}", " ".repeat(indent)) || line.ends_with(';')) {
                break;
            }
            at = lines.next();
        }
        found.push((name, body));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    let words = line.split("fn ").next()?.split_whitespace();
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    if !line.contains("fn ") || !words.clone().all(|word| modifiers.contains(&word)) {
        return None;
    }
    let rest = line.split_once("fn ")?.1;
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

/// Functions that a file imports by name: `use crate::operation::{live_cluster, own_backup};`
fn imports(text: &str) -> BTreeMap<String, Function> {
    let mut imports = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("use crate::")) {
        let path = line.trim_start_matches("use crate::").trim_end_matches(';');
        let Some((path, names)) = path.rsplit_once("::") else { continue };
        let module = path.rsplit("::").next().unwrap_or(path);
        for name in names.trim_matches(['{', '}']).split(',').map(str::trim) {
            imports.insert(name.to_owned(), (module.to_owned(), name.to_owned()));
        }
    }
    imports
}

/// The kinds that a body makes.
fn made(body: &str) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    for kind in ErrorKind::ALL {
        let short = format!("{kind:?}");
        let constructor = match kind {
            ErrorKind::CloudHsmInvalidRequest => "ApiError::invalid(",
            ErrorKind::CloudHsmResourceNotFound => "ApiError::not_found(",
            ErrorKind::CloudHsmInternalFailure => "ApiError::internal(",
            _ => "",
        };
        let named = words(body, &format!("ErrorKind::{short}"));
        if named || (!constructor.is_empty() && body.contains(constructor)) {
            kinds.insert(kind.name());
        }
    }
    kinds
}

/// Whether the word stands there as a whole.
fn words(body: &str, word: &str) -> bool {
    body.match_indices(word)
        .any(|(at, _)| body[at + word.len()..].chars().next().is_none_or(|next| !next.is_alphanumeric()))
}

/// What is called or handed on by its path: the last module before the name, if there is one, and the name. Methods are
/// left out.
fn paths(body: &str) -> Vec<(Option<String>, String)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for word in body.split(|c: char| !(is_part(c) || c == '.')) {
        let path = word.trim_matches(['.', ':']);
        if path.is_empty() || word.starts_with('.') || path.contains('.') {
            continue;
        }
        let mut parts = path.rsplit("::");
        let name = parts.next().unwrap_or_default().to_owned();
        found.push((parts.next().map(str::to_owned), name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> RustFile {
        RustFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn errors_are_found_through_calls_over_files() {
        let operation = "use crate::filter::Filter;\nuse crate::operation::live_cluster;\nuse crate::tags;\n\
                         pub(super) async fn run(\n    x: &X,\n) -> R {\n    decide(x)\n}\n\n\
                         fn decide(x: &X) -> R {\n    Filter::read(x)?;\n    tags::check(x)?;\n    live_cluster(x).map_err(other)\n}\n\n\
                         fn unused() {\n    ApiError::internal(\"\", x)\n}\n";
        let files = [
            file("src/operation/create_hsm.rs", operation),
            file("src/operation.rs", "fn live_cluster(x: &X) -> R {\n    Err(ApiError::not_found(x))\n}\n"),
            file("src/filter.rs", "impl Filter {\n    fn read(x: &X) -> R {\n        ApiError::invalid(x)\n    }\n}\n"),
            file("src/tags.rs", "pub fn check(x: &X) -> R {\n    ApiError::new(ErrorKind::CloudHsmTag, x)\n}\n"),
        ];
        let calls = Calls::of(&files);
        let kinds = calls.errors("create_hsm", "run");
        let short: Vec<_> = kinds.iter().map(|kind| kind.replace("CloudHsm", "").replace("Exception", "")).collect();
        assert_eq!(short, ["InvalidRequest", "ResourceNotFound", "Tag"]);
    }

    #[test]
    fn a_kind_is_not_found_in_a_longer_one() {
        assert!(made("ErrorKind::CloudHsmServiceless").is_empty());
        assert_eq!(made("ErrorKind::CloudHsmService,").len(), 1);
    }

    #[test]
    fn methods_are_not_followed() {
        let found = paths("region.control.read(x); Self::own(y); free(z)");
        let names: Vec<_> = found.into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["x", "own", "y", "free", "z"]);
    }
}
