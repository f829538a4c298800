//! Owns what `strongroom dev` says when it is ready and when it stops: lines to read and lines to paste.

use std::fmt::Write as _;
use std::path::Path;

use strongroom_model::RegionName;

use super::inventory::{Inventory, UnderWay};
use super::plan::{Plan, Planned};
use crate::http::DevCredentials;
use crate::human::{counted, part, seconds};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Regions to name as an example of one that is not there yet.
const EXAMPLES: [&str; 3] = ["ap-south-1", "us-west-2", "eu-central-1"];

/// What is ready.
pub struct Banner<'a> {
    /// `http://127.0.0.1:4225`
    pub endpoint: &'a str,
    /// The regions.
    pub plan: &'a Plan,
    /// The data folder.
    pub data: &'a Path,
    /// What is in it.
    pub inventory: &'a Inventory,
    /// Whether EniIp addresses can be bound.
    pub eni_ips: bool,
    /// How long the start took, in milliseconds.
    pub took: i64,
}

impl Banner<'_> {
    /// The lines of a `dev` that keeps its data.
    pub fn text(&self) -> String {
        let names = self.plan.regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(", ");
        let example = EXAMPLES.into_iter().find(|e| self.plan.regions.iter().all(|r| r.name.as_str() != *e));
        let more = example.map(|e| format!("; one more: --regions +{e}")).unwrap_or_default();
        let (key, secret) = (DevCredentials::ACCESS_KEY_ID, DevCredentials::SECRET_ACCESS_KEY);
        let mut text = format!(
            "strongroom {VERSION}, development mode: fixed credentials, this machine only, not for production\n"
        );
        line(&mut text, "endpoint", self.endpoint, "");
        line(&mut text, "regions", &names, &format!("(decided at the first start{more})"));
        line(&mut text, "credentials", &format!("{key} / {secret}, account {}", DevCredentials::ACCOUNT), "");
        line(&mut text, "data", &short(self.data), &self.content());
        line(&mut text, "HSM network", &networks(&self.plan.regions, self.eni_ips), "");
        let going_on = going_on(&self.inventory.under_way);
        let _ = writeln!(text, "Ready in {}.{going_on} In another terminal:", seconds(self.took));
        text + &exports(self.endpoint, &self.plan.regions[0].name)
    }

    /// The line of a `dev` whose data ends with it.
    pub fn ephemeral(&self) -> String {
        format!(
            "strongroom {VERSION}, ephemeral: keys and data end with this process. {}, ready in {}\n",
            self.endpoint,
            seconds(self.took)
        )
    }

    fn content(&self) -> String {
        let Inventory { clusters, hsms, backups, .. } = self.inventory;
        if self.plan.is_new {
            let keys = self.data.file_name().unwrap_or_default().to_string_lossy();
            return format!("new; root keys beside it, in {keys}.keys");
        }
        format!("{}, {}, {}", counted(*clusters, "cluster"), counted(*hsms, "HSM"), counted(*backups, "backup"))
    }
}

/// The lines to paste.
pub fn exports(endpoint: &str, region: &RegionName) -> String {
    let (key, secret) = (DevCredentials::ACCESS_KEY_ID, DevCredentials::SECRET_ACCESS_KEY);
    format!(
        "  export AWS_ENDPOINT_URL_CLOUDHSM_V2={endpoint} AWS_REGION={region}\n  \
         export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret}\n  strongroom quickstart\n"
    )
}

/// What is still to be done at Ctrl-C.
pub fn stopping(calls: usize, copies: &[UnderWay]) -> String {
    let mut parts = Vec::new();
    if calls > 0 {
        parts.push(format!("{} finish{}", counted(calls as u64, "call"), if calls == 1 { "es" } else { "" }));
    }
    match copies {
        [] => {}
        [copy] => parts.push(format!("1 copy pauses at {}", part(copy.done, copy.total, " of "))),
        copies => parts.push(format!("{} copies pause", copies.len())),
    }
    let what = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("Stopping{what}. Ctrl-C again ends at once.\n")
}

/// What is left after the end.
pub fn stopped(took: i64, data: Option<&Path>) -> String {
    match data {
        Some(data) => format!("Stopped in {}. Data stays in {}.\n", seconds(took), short(data)),
        None => format!("Stopped in {}. Keys and data are gone.\n", seconds(took)),
    }
}

/// A path with `~` for the home folder.
pub fn short(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

fn line(text: &mut String, name: &str, value: &str, note: &str) {
    let line = format!("  {name:<11}  {value:<32}  {note}");
    let _ = writeln!(text, "{}", line.trim_end());
}

fn networks(regions: &[Planned], eni_ips: bool) -> String {
    if eni_ips {
        let each = regions.iter().map(|region| format!("{} {}", region.network_text(), region.name));
        return format!("{}, port 2225", each.collect::<Vec<_>>().join(", "));
    }
    let each = regions.iter().zip(2225..).map(|(region, port)| format!("127.0.0.1:{port} {}", region.name));
    let note = "(EniIp addresses cannot be bound here; strongroom configure writes these instead)";
    format!("{} {note}", each.collect::<Vec<_>>().join(", "))
}

fn going_on(copies: &[UnderWay]) -> String {
    match copies {
        [] => String::new(),
        [copy] => {
            let UnderWay { id, destination, done, total } = copy;
            format!(" 1 copy goes on: {id} to {destination}, {} are there.", part(*done, *total, " of "))
        }
        copies => format!(" {} copies go on.", copies.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(is_new: bool) -> Plan {
        let regions = [("us-east-1", 17), ("eu-west-1", 18)];
        let regions = regions.map(|(name, c)| Planned { name: RegionName::new(name), network: [127, 94, c] });
        Plan { regions: regions.to_vec(), is_new }
    }

    fn text(plan: &Plan, inventory: &Inventory, eni_ips: bool) -> String {
        let data = Path::new("/srv/strongroom/dev");
        Banner { endpoint: "http://127.0.0.1:4225", plan, data, inventory, eni_ips, took: 412 }.text()
    }

    #[test]
    fn the_first_start_says_what_to_paste() {
        assert_eq!(
            text(&plan(true), &Inventory::default(), true),
            "strongroom 0.1.0, development mode: fixed credentials, this machine only, not for production\n\
             \x20 endpoint     http://127.0.0.1:4225\n\
             \x20 regions      us-east-1, eu-west-1              (decided at the first start; one more: --regions +ap-south-1)\n\
             \x20 credentials  test / test, account 000000000000\n\
             \x20 data         /srv/strongroom/dev               new; root keys beside it, in dev.keys\n\
             \x20 HSM network  127.94.17.0/24 us-east-1, 127.94.18.0/24 eu-west-1, port 2225\n\
             Ready in 0.4 s. In another terminal:\n\
             \x20 export AWS_ENDPOINT_URL_CLOUDHSM_V2=http://127.0.0.1:4225 AWS_REGION=us-east-1\n\
             \x20 export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test\n\
             \x20 strongroom quickstart\n"
        );
    }

    #[test]
    fn a_later_start_says_what_is_there_and_goes_on() {
        let copy = UnderWay {
            id: "copy-ysatlqk2c7c".into(),
            destination: "eu-west-1".into(),
            done: 13_631_488,
            total: 22_439_526,
        };
        let inventory = Inventory { clusters: 1, hsms: 2, backups: 2, under_way: vec![copy.clone()] };
        let text = text(&plan(false), &inventory, false);
        assert!(text.contains("dev               1 cluster, 2 HSMs, 2 backups\n"), "{text}");
        assert!(text.contains(" 1 copy goes on: copy-ysatlqk2c7c to eu-west-1, 13.0 of 21.4 MiB are there."), "{text}");
        assert!(text.contains("  HSM network  127.0.0.1:2225 us-east-1, 127.0.0.1:2226 eu-west-1 (EniIp"), "{text}");
        assert_eq!(
            stopping(2, &[copy]),
            "Stopping: 2 calls finish, 1 copy pauses at 13.0 of 21.4 MiB. Ctrl-C again ends at once.\n"
        );
        assert_eq!(stopping(0, &[]), "Stopping. Ctrl-C again ends at once.\n");
    }
}
