//! Owns what `dev` decides once per data folder and keeps: which regions there are, in which order, and the loopback /24 of
//! each. Regions can be added; the network of one that is there never changes, since client files name its addresses.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use strongroom_model::{RegionName, table};

use crate::files;
use crate::problem::{Exit, Problem};

/// The regions of a new data folder.
const DEFAULT_REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];
/// The most regions in one `dev`.
const REGIONS_MAX: usize = 32;

/// A region and its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: RegionName,
    /// The first three numbers of its /24.
    pub network: [u8; 3],
}

impl Planned {
    /// `127.94.17.0/24`
    pub fn network_text(&self) -> String {
        let [a, b, c] = self.network;
        format!("{a}.{b}.{c}.0/24")
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they were added.
    pub regions: Vec<Planned>,
    /// Whether nothing was there before.
    pub is_new: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    regions: Vec<RegionText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionText {
    name: String,
    network: String,
}

impl Plan {
    /// Reads the plan and adds what is asked for, or makes one. `asked` is the option `--regions`: `a,b` at the first
    /// start, `+c` at any.
    ///
    /// # Errors
    /// A [`Problem`].
    pub fn load(path: &Path, asked: Option<&str>, draw: impl FnOnce() -> [u8; 2]) -> Result<Self, Problem> {
        let kept = read(path)?;
        let asked = asked.map(parse_names).transpose()?;
        let mut plan = match (kept, &asked) {
            (Some(regions), Some(Asked::Exactly(names))) => return agrees(regions, names, path),
            (Some(regions), _) => Self { regions, is_new: false },
            (None, asked) => {
                let names = match asked {
                    Some(Asked::Exactly(names)) => names.clone(),
                    _ => DEFAULT_REGIONS.map(RegionName::new).to_vec(),
                };
                Self { regions: networks(names, draw()), is_new: true }
            }
        };
        if let Some(Asked::Added(names)) = asked {
            plan.add(names)?;
        }
        if plan.regions.len() > REGIONS_MAX {
            return Err(Problem::new("regions", format!("one dev has at most {REGIONS_MAX} regions")).exit(Exit::Usage));
        }
        plan.write(path)?;
        Ok(plan)
    }

    fn add(&mut self, names: Vec<RegionName>) -> Result<(), Problem> {
        for name in names {
            if self.regions.iter().any(|region| region.name == name) {
                continue;
            }
            let free = self.free_network().ok_or_else(|| Problem::new("regions", "no loopback network is left"))?;
            self.regions.push(Planned { name, network: free });
        }
        Ok(())
    }

    fn free_network(&self) -> Option<[u8; 3]> {
        let [a, b, _] = self.regions.first()?.network;
        (0..=254).map(|c| [a, b, c]).find(|network| self.regions.iter().all(|region| region.network != *network))
    }

    fn write(&self, path: &Path) -> Result<(), Problem> {
        let text = |region: &Planned| RegionText { name: region.name.to_string(), network: region.network_text() };
        let text = Text { regions: self.regions.iter().map(text).collect() };
        let toml = toml::to_string(&text).expect("texts are TOML");
        let whole = format!("# Decided at the first start of strongroom dev. One more region: --regions +NAME\n\n{toml}");
        files::write_whole(path, whole.as_bytes(), 0o600)
            .map_err(|cause| Problem::new("data-folder", format!("cannot write {}", path.display())).cause(cause))
    }
}

/// Consecutive networks from a random place, so that two data folders seldom share one.
fn networks(names: Vec<RegionName>, [b, c]: [u8; 2]) -> Vec<Planned> {
    // 127.0 and 127.255 are left to others.
    let (b, c) = (1 + b % 254, c % (255 - REGIONS_MAX as u8));
    names.into_iter().zip(c..).map(|(name, c)| Planned { name, network: [127, b, c] }).collect()
}

enum Asked {
    Exactly(Vec<RegionName>),
    Added(Vec<RegionName>),
}

fn parse_names(text: &str) -> Result<Asked, Problem> {
    let (added, list) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
    let mut names: Vec<RegionName> = Vec::new();
    for name in list.split(',').map(|name| name.trim().trim_start_matches('+')) {
        if !is_region_name(name) {
            return Err(Problem::new("regions", format!("\"{name}\" is no region name"))
                .help("names have AWS's form: --regions us-east-1,eu-west-1")
                .exit(Exit::Usage));
        }
        if !names.iter().any(|there| there.as_str() == name) {
            names.push(RegionName::new(name));
        }
    }
    Ok(if added { Asked::Added(names) } else { Asked::Exactly(names) })
}

/// Whether the API takes the name: it is the table's pattern.
fn is_region_name(name: &str) -> bool {
    let table = table::api();
    let shape = table.find("Region").map(|index| &table[index]);
    shape.and_then(|shape| shape.constraints.pattern.as_ref()).is_some_and(|pattern| pattern.matches(name))
}

fn agrees(regions: Vec<Planned>, names: &[RegionName], path: &Path) -> Result<Plan, Problem> {
    let missing = names.iter().filter(|name| regions.iter().all(|region| region.name != **name)).collect::<Vec<_>>();
    if missing.is_empty() && names.len() == regions.len() {
        return Ok(Plan { regions, is_new: false });
    }
    let there = regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(", ");
    let problem = Problem::new("regions", "the regions of this data folder were decided at its first start")
        .cause(format!("{} names {there}", path.display()))
        .exit(Exit::Usage);
    Err(match missing.first() {
        Some(name) => problem.help(format!("strongroom dev --regions +{name}")),
        None => problem.help("leave --regions out, or use another folder with --data"),
    })
}

fn read(path: &Path) -> Result<Option<Vec<Planned>>, Problem> {
    let broken = |cause: &dyn std::fmt::Display| {
        Problem::new("data-folder", format!("{} cannot be used", path.display())).cause(cause)
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(&error)),
    };
    let text: Text = toml::from_str(&text).map_err(|e| broken(&e.message()))?;
    let regions = text.regions.into_iter().map(|region| {
        let network = parse_network(&region.network).ok_or_else(|| broken(&format!("{} is no /24", region.network)))?;
        Ok(Planned { name: RegionName::new(region.name), network })
    });
    regions.collect::<Result<Vec<_>, _>>().map(Some)
}

fn parse_network(text: &str) -> Option<[u8; 3]> {
    let address: std::net::Ipv4Addr = text.strip_suffix("/24")?.parse().ok()?;
    let [a, b, c, 0] = address.octets() else { return None };
    Some([a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(folder: &Path, asked: Option<&str>) -> Result<Vec<String>, Problem> {
        let plan = Plan::load(&folder.join("dev.toml"), asked, || [93, 17])?;
        Ok(plan.regions.iter().map(|r| format!("{} {}", r.name, r.network_text())).collect())
    }

    #[test]
    fn regions_are_decided_once_and_can_be_added() {
        let folder = tempfile::tempdir().unwrap();
        let first = load(folder.path(), None).unwrap();
        assert_eq!(first, ["us-east-1 127.94.17.0/24", "eu-west-1 127.94.18.0/24"]);
        assert_eq!(load(folder.path(), Some("eu-west-1,us-east-1")).unwrap(), first);
        let added = load(folder.path(), Some("+ap-south-1")).unwrap();
        assert_eq!(added[2], "ap-south-1 127.94.0.0/24");
        assert_eq!(added[..2], first);
        assert_eq!(load(folder.path(), None).unwrap(), added);
    }

    #[test]
    fn other_regions_than_the_first_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), Some("eu-central-1")).unwrap();
        let problem = load(folder.path(), Some("eu-central-1,us-east-1")).unwrap_err();
        assert!(problem.to_string().contains("--regions +us-east-1"), "{problem}");
        assert!(load(folder.path(), Some("us-east-1")).is_err());
        for wrong in ["", "moon", "us-east-1,", "../x"] {
            assert_eq!(load(folder.path(), Some(wrong)).unwrap_err().exit_code(), Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_no_plan_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dev.toml"), "regions = 1").unwrap();
        assert!(load(folder.path(), None).is_err());
        assert_eq!(fs::read_to_string(folder.path().join("dev.toml")).unwrap(), "regions = 1");
    }
}
