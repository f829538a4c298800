//! `cargo xtask plant`: shows that the tests can fail. Each fault of `xtask/faults.toml` changes the source where a rule is
//! kept; its test, which passes without it, must then turn red. Works in a copy of the files under `target/plant`, with a
//! build folder of its own, so that neither this checkout nor its builds are touched. A fault whose code is not found, whose
//! test passes with it, or does not pass without it, is an error.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use crate::Findings;
use crate::source;

/// `xtask/faults.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// Its name here.
    name: String,
    /// What is wrong with it planted.
    says: String,
    /// The package with the test.
    package: String,
    /// Where in the package: `--lib`, or `--test` and its file.
    target: Vec<String>,
    /// The test's name in full.
    test: String,
    /// What is changed.
    patch: Vec<Patch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    file: String,
    /// Stands there exactly once.
    find: String,
    replace: String,
}

/// How a run of a test ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Green,
    Red,
    /// It was not run: it does not compile, or there is no such test.
    NotRun(String),
}

pub fn run(names: &[&str]) -> Result<(), Findings> {
    let text = source::read("xtask/faults.toml")?;
    let faults: Faults = toml::from_str(&text).map_err(|error| vec![format!("xtask/faults.toml: {error}")])?;
    if names == ["--list"] {
        for fault in &faults.fault {
            println!("{:26} {}", fault.name, fault.says);
        }
        return Ok(());
    }
    let chosen = choose(&faults.fault, names)?;
    let copy = Copy::make()?;
    let mut findings = Vec::new();
    let mut table = Vec::new();
    for fault in chosen {
        eprintln!("planting {}", fault.name);
        let outcome = copy.try_fault(fault).unwrap_or_else(|finding| finding);
        table.push(format!("{:26} {outcome:12} {} {}", fault.name, fault.package, fault.test));
        if outcome != "red" {
            findings.push(format!("{}: {outcome}", fault.name));
        }
    }
    println!("{:26} {:12} test", "fault", "planted");
    println!("{}", table.join("\n"));
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn choose<'a>(faults: &'a [Fault], names: &[&str]) -> Result<Vec<&'a Fault>, Findings> {
    if names.is_empty() || names == ["all"] {
        return Ok(faults.iter().collect());
    }
    let find = |name: &&str| {
        let found = faults.iter().find(|fault| fault.name == *name);
        found.ok_or_else(|| vec![format!("there is no fault {name}; cargo xtask plant --list names them")])
    };
    names.iter().map(find).collect()
}

/// The copy of the workspace that faults are planted in.
struct Copy {
    root: PathBuf,
    builds: PathBuf,
}

impl Copy {
    fn make() -> Result<Self, Findings> {
        let target = source::root().join("target");
        let copy = Self { root: target.join("plant"), builds: target.join("plant-target") };
        copy.update()
            .map_err(|error| vec![format!("cannot copy the workspace to {}: {error}", copy.root.display())])?;
        Ok(copy)
    }

    /// Makes the copy equal to the files that git knows or would add. Files that are equal keep their times, so that
    /// nothing is built without need.
    fn update(&self) -> io::Result<()> {
        let files = listed_files()?;
        for file in &files {
            // A file that git knows may be deleted here.
            if let Ok(bytes) = fs::read(source::root().join(file)) {
                write_if_changed(&self.root.join(file), &bytes)?;
            }
        }
        remove_others(&self.root, &self.root, &files)
    }

    /// Runs a fault's test without it and with it: `red`, or what is wrong.
    fn try_fault(&self, fault: &Fault) -> Result<String, String> {
        let faulty = fault.patch.iter().map(|patch| patch.apply(&self.root)).collect::<Result<Vec<_>, _>>()?;
        match self.test(fault) {
            Ended::Green => {}
            Ended::Red => return Err("red without it".to_owned()),
            Ended::NotRun(why) => return Err(format!("the test was not run: {why}")),
        }
        for (path, text) in &faulty {
            fs::write(path, text).map_err(|error| format!("cannot change {}: {error}", path.display()))?;
        }
        let ended = self.test(fault);
        self.update().map_err(|error| format!("cannot restore the copy: {error}"))?;
        match ended {
            Ended::Red => Ok("red".to_owned()),
            Ended::Green => Err("GREEN: the test does not see it".to_owned()),
            Ended::NotRun(why) => Err(format!("it does not compile: {why}")),
        }
    }

    fn test(&self, fault: &Fault) -> Ended {
        let mut arguments = vec!["test", "--locked", "--quiet", "--package", &fault.package];
        arguments.extend(fault.target.iter().map(String::as_str));
        let built = self.cargo(&[&arguments[..], &["--no-run"]].concat());
        match built {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Ended::NotRun(first_error(&output)),
            Err(error) => return Ended::NotRun(error.to_string()),
        }
        match self.cargo(&[&arguments[..], &["--", "--exact", &fault.test]].concat()) {
            Ok(output) => judge(output.status.success(), &String::from_utf8_lossy(&output.stdout)),
            Err(error) => Ended::NotRun(error.to_string()),
        }
    }

    fn cargo(&self, arguments: &[&str]) -> io::Result<Output> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.builds);
        // What cargo tells its children about this build is not about that one.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
            command.env_remove(name);
        }
        command.output()
    }
}

impl Patch {
    /// The file as it is with the fault.
    fn apply(&self, root: &Path) -> Result<(PathBuf, String), String> {
        let path = root.join(&self.file);
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", self.file))?;
        match text.matches(&self.find).count() {
            1 => Ok((path, text.replacen(&self.find, &self.replace, 1))),
            n => Err(format!("what it changes stands {n} times in {}, not once", self.file)),
        }
    }
}

/// Tells a red test from one that was not run.
fn judge(succeeded: bool, printed: &str) -> Ended {
    let ran = printed.contains("running 1 test\n");
    match (ran, succeeded) {
        (true, true) => Ended::Green,
        (true, false) => Ended::Red,
        (false, _) => Ended::NotRun("there is no such test".to_owned()),
    }
}

fn first_error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("error")).or_else(|| text.lines().next_back());
    line.unwrap_or("cargo said nothing").to_owned()
}

/// The files that git knows, and those that it would add.
fn listed_files() -> io::Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(source::root());
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other("git ls-files failed"));
    }
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned())).collect())
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}

/// Removes from the copy what is not, or no longer, in the checkout.
fn remove_others(root: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).map_err(io::Error::other)?;
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else if !files.contains(name) || !source::root().join(name).exists() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_not_run_is_neither_red_nor_green() {
        assert_eq!(judge(true, "\nrunning 1 test\n.\n"), Ended::Green);
        assert_eq!(judge(false, "\nrunning 1 test\nF\n"), Ended::Red);
        assert!(matches!(judge(true, "\nrunning 0 tests\n"), Ended::NotRun(_)));
        assert!(matches!(judge(false, ""), Ended::NotRun(_)));
    }

    #[test]
    fn every_fault_fits_the_source() {
        let faults: Faults = toml::from_str(&source::read("xtask/faults.toml").unwrap()).unwrap();
        let mut names = BTreeSet::new();
        for fault in &faults.fault {
            assert!(names.insert(&fault.name), "{} is there twice", fault.name);
            for patch in &fault.patch {
                let (_, text) = patch.apply(&source::root()).unwrap_or_else(|error| panic!("{}: {error}", fault.name));
                assert!(text.contains(&patch.replace), "{}", fault.name);
            }
        }
    }
}
