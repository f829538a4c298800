//! Owns the data folder of `dev`: where its files are, the lock that keeps a second process off, and `dev.toml`, which holds
//! what is decided once: the regions, the network of each, the address of its region link. Keys are never in here but
//! beside it, in `DIR.keys`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_model::id::hex;
use strongroom_store::OpenError;
use strongroom_store::lock::Lock;

use crate::files;
use crate::human::coarse;
use crate::layout::Layout;
use crate::problem::{Exit, Problem};
use crate::seams::random;

const FORMAT: &str = "strongroom.dev/1";

/// The folders of a `dev`.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// Where everything is.
    pub layout: Layout,
    /// The folder that is removed at the end, with `--ephemeral`.
    pub temporary: Option<PathBuf>,
}

/// What `dev.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DevFile {
    format: String,
    pub region: Vec<RegionEntry>,
}

/// A region in `dev.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionEntry {
    pub name: String,
    /// The first three numbers of its /24 on the loopback interface.
    pub network: [u8; 3],
    /// The address of its region link, once it was bound.
    pub link: Option<String>,
}

/// What `--regions` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionsAsked {
    /// Those that are there, or the default ones.
    Any,
    /// These, from the first start on.
    These(Vec<String>),
    /// One more.
    Further(Vec<String>),
}

/// The regions of a first start that names none.
const DEFAULT_REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

impl Folder {
    /// The folder that was named, or `$XDG_DATA_HOME/strongroom/dev`.
    pub(super) fn lasting(
        named: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Problem> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = named.or_else(|| {
            let home = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
            home.map(|home| home.join("strongroom/dev"))
        });
        let data = data.ok_or_else(|| {
            Problem::new("no-data-folder", "there is no place for the data: HOME is not set")
                .help("strongroom dev --data DIR")
                .exit(Exit::Usage)
        })?;
        Ok(Self { layout: Layout::new(std::path::absolute(&data).unwrap_or(data)), temporary: None })
    }

    /// A new temporary one, for this user alone.
    pub(super) fn temporary() -> Result<Self, Problem> {
        let temporary = std::env::temp_dir().join(format!("strongroom-{}", hex(&random::<6>())));
        files::make_private_folder(&temporary).map_err(|e| unusable(&temporary, &e))?;
        Ok(Self { layout: Layout::new(temporary.join("dev")), temporary: Some(temporary) })
    }

    /// Makes the folders where they are not there, and takes the lock.
    pub(super) fn lock(&self) -> Result<Lock, Problem> {
        for folder in [self.layout.data(), self.layout.keys()] {
            files::make_private_folder(folder).map_err(|e| unusable(folder, &e))?;
        }
        let path = self.layout.lock();
        Lock::take(&path, "strongroom dev").map_err(|error| match error {
            OpenError::InUse { holder, .. } => {
                let held = fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
                let held = held.and_then(|age| i64::try_from(age.as_millis()).ok()).map_or_else(String::new, |age| {
                    format!(" for {}", coarse(age))
                });
                Problem::new("data-in-use", format!("{} belongs to a running process", shown(self.layout.data())))
                    .cause(format!("{holder} has held its lock{held}; two at once would lose keys"))
                    .help(
                        "use that one, stop it, or start another:  strongroom dev --listen 127.0.0.1:4325 --data ./other",
                    )
            }
            other => Problem::new("data-folder", format!("cannot use {}", shown(self.layout.data()))).cause(other),
        })
    }

    /// Removes what is temporary.
    pub(super) fn remove_temporary(&self) -> io::Result<()> {
        self.temporary.as_ref().map_or(Ok(()), fs::remove_dir_all)
    }

    /// What was decided at earlier starts; `None` before the first one.
    pub(super) fn read(&self) -> Result<Option<DevFile>, Problem> {
        let path = self.layout.dev_file();
        let unreadable = |cause: String| {
            Problem::new("dev-file", format!("cannot read {}", shown(&path)))
                .cause(cause)
                .help("put the file back as it was; it says which networks the HSMs of this folder have")
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let file: DevFile = toml::from_str(&text).map_err(|e| unreadable(e.message().to_owned()))?;
        if file.format != FORMAT {
            return Err(unreadable(format!("its format is {}, this release reads {FORMAT}", file.format)));
        }
        Ok(Some(file))
    }

    /// Makes it last.
    pub(super) fn write(&self, file: &DevFile) -> Result<(), Problem> {
        let text = toml::to_string(file).expect("names and numbers are TOML");
        let path = self.layout.dev_file();
        files::write_whole(&path, text.as_bytes(), 0o644).map_err(|e| unusable(&path, &e))
    }
}

impl DevFile {
    /// The file for what is asked, given what is there; `draw` gives random bytes for the first network.
    pub(super) fn decide(
        there: Option<Self>,
        asked: &RegionsAsked,
        draw: impl Fn() -> [u8; 2],
    ) -> Result<Self, Problem> {
        let known: Vec<String> = there.iter().flat_map(|file| &file.region).map(|r| r.name.clone()).collect();
        let wanted = match (asked, known.is_empty()) {
            (RegionsAsked::Any, true) => DEFAULT_REGIONS.map(str::to_owned).to_vec(),
            (RegionsAsked::Any, false) => known.clone(),
            (RegionsAsked::These(names), true) => names.clone(),
            (RegionsAsked::These(names), false) if same(names, &known) => known.clone(),
            (RegionsAsked::These(_), false) => return Err(decided(&known)),
            (RegionsAsked::Further(names), true) => [&DEFAULT_REGIONS.map(str::to_owned)[..], names].concat(),
            (RegionsAsked::Further(names), false) => [&known[..], names].concat(),
        };
        let mut file = there.unwrap_or(Self { format: FORMAT.to_owned(), region: Vec::new() });
        for name in wanted {
            if file.region.iter().any(|r| r.name == name) {
                continue;
            }
            let network = file.region.last().map_or_else(|| first_network(draw()), |last| next_network(last.network));
            file.region.push(RegionEntry { name, network, link: None });
        }
        Ok(file)
    }
}

impl std::str::FromStr for RegionsAsked {
    type Err = String;

    /// `a,b` or `+c`
    fn from_str(text: &str) -> Result<Self, String> {
        let (further, names) = text.strip_prefix('+').map_or((false, text), |names| (true, names));
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if let Some(name) = names.iter().find(|name| !is_region_name(name)) {
            return Err(format!("{name:?} is no region name; one looks like eu-west-1"));
        }
        if names.iter().enumerate().any(|(i, name)| names[..i].contains(name)) {
            return Err("a region is named twice".to_owned());
        }
        Ok(if further { Self::Further(names) } else { Self::These(names) })
    }
}

/// The form that the model wants of a copy's destination: `us-gov-west-1`, `ap-southeast-2`.
fn is_region_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let (country, direction, number) = match parts[..] {
        [country, direction, number] | [country, "gov", direction, number] => (country, direction, number),
        _ => return false,
    };
    let directions = ["east", "west", "north", "south", "central"];
    let rests = || directions.iter().filter_map(|d| direction.strip_prefix(d));
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_lowercase())
        && rests().any(|rest| rest.is_empty() || directions.contains(&rest))
        && number.len() == 1
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn same(names: &[String], known: &[String]) -> bool {
    names.len() == known.len() && names.iter().all(|name| known.contains(name))
}

fn decided(known: &[String]) -> Problem {
    Problem::new("regions-decided", format!("this data folder has the regions {}", known.join(", ")))
        .cause("they are decided at the first start; they cannot be taken away or renamed")
        .help("leave --regions out, add one with --regions +NAME, or start another:  strongroom dev --data ./other")
        .exit(Exit::Usage)
}

/// A /24 high in 127.0.0.0/8, where nobody else is.
fn first_network([a, b]: [u8; 2]) -> [u8; 3] {
    [127, 64 + a % 63, b]
}

/// The /24 after this one.
pub(super) fn next_network([a, b, c]: [u8; 3]) -> [u8; 3] {
    match c.checked_add(1) {
        Some(c) => [a, b, c],
        None => [a, 64 + (b - 63) % 63, 0],
    }
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    Problem::new("data-folder", format!("cannot write {}", shown(path))).cause(error).help("strongroom dev --data DIR")
}

/// A path as a person writes it.
pub(super) fn shown(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(there: Option<DevFile>, asked: &str) -> Result<Vec<String>, Problem> {
        let asked = if asked.is_empty() { RegionsAsked::Any } else { asked.parse().unwrap() };
        DevFile::decide(there, &asked, || [30, 17]).map(|file| file.region.into_iter().map(|r| r.name).collect())
    }

    #[test]
    fn regions_are_decided_once_and_can_be_added_to() {
        assert_eq!(decide(None, "").unwrap(), DEFAULT_REGIONS);
        assert_eq!(decide(None, "ap-south-1").unwrap(), ["ap-south-1"]);
        let there = DevFile::decide(None, &RegionsAsked::Any, || [30, 17]).unwrap();
        assert_eq!(there.region[1].network, [127, 94, 18]);
        assert_eq!(decide(Some(there.clone()), "eu-west-1,us-east-1").unwrap(), DEFAULT_REGIONS);
        assert_eq!(decide(Some(there.clone()), "+ap-south-1").unwrap(), ["us-east-1", "eu-west-1", "ap-south-1"]);
        assert_eq!(decide(Some(there.clone()), "+eu-west-1").unwrap(), DEFAULT_REGIONS);
        assert_eq!(decide(Some(there), "us-east-1").unwrap_err().slug(), "regions-decided");
    }

    #[test]
    fn names_of_regions_have_their_form() {
        for good in ["us-east-1", "us-gov-west-1", "+ap-southeast-2", "eu-west-1,eu-central-1"] {
            assert!(good.parse::<RegionsAsked>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "+",
            "useast1",
            "us-east",
            "US-EAST-1",
            "us-east-1,",
            "us-east-1,us-east-1",
            "../x-1",
            "u-east-1",
            "us-east-12",
        ] {
            assert!(bad.parse::<RegionsAsked>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_follow_each_other() {
        assert_eq!(next_network([127, 94, 17]), [127, 94, 18]);
        assert_eq!(next_network([127, 94, 255]), [127, 95, 0]);
        assert_eq!(next_network([127, 126, 255]), [127, 64, 0]);
        for draw in [[0, 0], [255, 255], [62, 9], [63, 9]] {
            assert!((64..=126).contains(&first_network(draw)[1]), "{draw:?}");
        }
    }

    #[test]
    fn the_file_is_read_back_and_the_lock_tells_its_holder() {
        let there = tempfile::tempdir().unwrap();
        let folder = Folder::lasting(Some(there.path().join("dev")), |_| None).unwrap();
        assert_eq!(folder.layout.keys(), there.path().join("dev.keys"));
        let lock = folder.lock().unwrap();
        lock.note("strongroom dev, http://127.0.0.1:4225").unwrap();
        let problem = folder.lock().unwrap_err();
        let pid = std::process::id();
        assert_eq!(problem.slug(), "data-in-use");
        assert!(problem.to_string().contains(&format!("pid {pid} (strongroom dev, http://127.0.0.1:4225) has held")));
        assert_eq!(folder.read().unwrap(), None);
        let file = DevFile::decide(None, &RegionsAsked::Any, || [1, 2]).unwrap();
        folder.write(&file).unwrap();
        assert_eq!(folder.read().unwrap(), Some(file));
    }

    #[test]
    fn the_default_folder_is_the_users() {
        let folder = |home: Option<&str>, xdg: Option<&str>| {
            let [home, xdg] = [home, xdg].map(|v| v.map(OsString::from));
            Folder::lasting(None, move |name| if name == "HOME" { home.clone() } else { xdg.clone() })
        };
        assert_eq!(folder(Some("/h"), None).unwrap().layout.data(), Path::new("/h/.local/share/strongroom/dev"));
        assert_eq!(folder(Some("/h"), Some("/x")).unwrap().layout.keys(), Path::new("/x/strongroom/dev.keys"));
        assert_eq!(folder(None, Some("")).unwrap_err().slug(), "no-data-folder");
    }
}
