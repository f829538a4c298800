//! Owns what `dev` says on the screen when it starts and stops.

use std::net::SocketAddr;
use std::path::Path;

use strongroom_model::copy::Copy;

use super::content::Content;
use super::folder::{DevFile, shown};
use crate::human::{counted, part, seconds};
use crate::layout::Layout;

/// Regions to name as an example of one more.
const FURTHER: [&str; 3] = ["ap-south-1", "eu-central-1", "us-west-2"];

/// What a `dev` is, once it is ready.
pub(super) struct Banner<'a> {
    pub url: &'a str,
    /// Where it is watched, if anywhere.
    pub monitoring: Option<SocketAddr>,
    pub file: &'a DevFile,
    pub layout: &'a Layout,
    /// What the data folder holds; `None` at the first start.
    pub content: Option<Content>,
    /// Whether the EniIp addresses can be bound here.
    pub binds_eni_ips: bool,
    /// Copies that go on.
    pub copies: &'a [Copy],
    /// Milliseconds since the process began.
    pub took: i64,
}

impl Banner<'_> {
    /// The banner of a `dev` whose data lasts.
    pub(super) fn lasting(&self) -> String {
        let names: Vec<&str> = self.names().collect();
        let further = FURTHER.into_iter().find(|name| !names.contains(name)).unwrap_or("NAME");
        let (regions, data) = (names.join(", "), shown(self.layout.data()));
        let width = regions.len().max(data.len()) + 5;
        let mut lines = vec![
            format!(
                "strongroom {}, development mode: fixed credentials, this machine only, not for production",
                env!("CARGO_PKG_VERSION")
            ),
            format!("  endpoint     {}", self.url),
            format!("  regions      {regions:width$}(decided at the first start; one more: --regions +{further})"),
            "  credentials  test / test, account 000000000000".to_owned(),
            format!("  data         {data:width$}{}", self.content()),
            format!("  HSM network  {}", self.network()),
        ];
        lines
            .extend(self.monitoring.map(|address| format!("  monitoring   http://{address}/metrics, /livez, /readyz")));
        lines.extend(test_clock());
        let ready = format!("Ready in {}.", seconds(self.took));
        lines.push(match goes_on(self.copies) {
            None => format!("{ready} In another terminal:"),
            Some(copies) => format!("{ready} {copies}"),
        });
        lines.push(self.exports());
        lines.push("  strongroom quickstart".to_owned());
        lines.join("\n")
    }

    /// The line of a `dev` that leaves nothing behind.
    pub(super) fn ephemeral(&self) -> String {
        let line = format!(
            "strongroom {}, ephemeral: keys and data end with this process. {}, ready in {}",
            env!("CARGO_PKG_VERSION"),
            self.url,
            seconds(self.took)
        );
        let monitoring =
            self.monitoring.map(|address| format!("  monitoring   http://{address}/metrics, /livez, /readyz"));
        [Some(line), monitoring, test_clock()].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// What to paste in another terminal.
    fn exports(&self) -> String {
        let region = self.names().next().unwrap_or_default();
        format!(
            "  export AWS_ENDPOINT_URL_CLOUDHSM_V2={} AWS_REGION={region} AWS_DEFAULT_REGION={region}\n  \
             export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
            self.url
        )
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.file.region.iter().map(|region| region.name.as_str())
    }

    fn content(&self) -> String {
        match self.content {
            Some(Content { clusters, hsms, backups }) => {
                [counted(clusters, "cluster"), counted(hsms, "HSM"), counted(backups, "backup")].join(", ")
            }
            None => {
                let keys = self.layout.keys().file_name().map_or(self.layout.keys(), Path::new);
                format!("new; root keys beside it, in {}", keys.display())
            }
        }
    }

    fn network(&self) -> String {
        let regions = self.file.region.iter();
        if self.binds_eni_ips {
            let networks = regions.map(|region| {
                let [a, b, c] = region.network;
                format!("{a}.{b}.{c}.0/24 {}", region.name)
            });
            return format!("{}, port 2225", networks.collect::<Vec<_>>().join(", "));
        }
        let listeners = regions.zip(2225..).map(|(region, port)| format!("127.0.0.1:{port} {}", region.name));
        format!(
            "{} (EniIp addresses cannot be bound here; strongroom configure writes these instead)",
            listeners.collect::<Vec<_>>().join(", ")
        )
    }
}

/// What a stop waits for and cuts.
pub(super) fn stopping(calls: usize, copies: &[Copy]) -> String {
    let calls = match calls {
        0 => None,
        1 => Some("1 call finishes".to_owned()),
        n => Some(format!("{n} calls finish")),
    };
    let copies = match copies {
        [] => None,
        [one] => Some(format!("1 copy pauses at {}", progress(one))),
        many => Some(format!("{} copies pause", many.len())),
    };
    let parts: Vec<String> = [calls, copies].into_iter().flatten().collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("Stopping{parts}. Ctrl-C again ends at once.")
}

/// `1 copy goes on: copy-ysatlqk2c7c to eu-west-1, 13.0 of 21.4 MiB are there.`
fn goes_on(copies: &[Copy]) -> Option<String> {
    match copies {
        [] => None,
        [one] => {
            let (id, to) = (&one.copy_id, &one.destination.region);
            Some(format!("1 copy goes on: {id} to {to}, {} are there.", progress(one)))
        }
        many => Some(format!("{} copies go on; see: strongroom copies", many.len())),
    }
}

fn progress(copy: &Copy) -> String {
    let [sent, total] = [copy.bytes_sent, copy.bytes_total].map(|bytes| u64::try_from(bytes).unwrap_or(0));
    part(sent, total, " of ")
}

fn test_clock() -> Option<String> {
    cfg!(feature = "test-clock").then(|| "  clock        shifted by $STRONGROOM_TEST_CLOCK: a test build".to_owned())
}

#[cfg(test)]
mod tests {
    use strongroom_model::{CopyId, RegionName};

    use super::*;
    use crate::dev::folder::RegionsAsked;

    fn banner(content: Option<Content>, binds_eni_ips: bool, copies: &[Copy]) -> String {
        let file = DevFile::decide(None, &RegionsAsked::Any, || [30, 17]).unwrap();
        let layout = Layout::new("/var/tmp/strongroom/dev-data");
        let url = "http://127.0.0.1:4225";
        Banner { url, monitoring: None, file: &file, layout: &layout, content, binds_eni_ips, copies, took: 412 }
            .lasting()
    }

    fn copy() -> Copy {
        let mut copy = Copy { bytes_sent: 13_631_488, bytes_total: 22_439_526, ..Copy::default() };
        copy.copy_id = CopyId::new("copy-ysatlqk2c7c");
        copy.destination.region = RegionName::new("eu-west-1");
        copy
    }

    #[test]
    fn the_first_start_says_what_was_decided() {
        let text = banner(None, true, &[]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("a test build")).collect();
        assert!(lines[0].starts_with("strongroom 0") && lines[0].ends_with("not for production"), "{text}");
        assert_eq!(
            lines[1..],
            [
                "  endpoint     http://127.0.0.1:4225",
                "  regions      us-east-1, eu-west-1             (decided at the first start; one more: --regions +ap-south-1)",
                "  credentials  test / test, account 000000000000",
                "  data         /var/tmp/strongroom/dev-data     new; root keys beside it, in dev-data.keys",
                "  HSM network  127.94.17.0/24 us-east-1, 127.94.18.0/24 eu-west-1, port 2225",
                "Ready in 0.4 s. In another terminal:",
                "  export AWS_ENDPOINT_URL_CLOUDHSM_V2=http://127.0.0.1:4225 AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1",
                "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
                "  strongroom quickstart",
            ]
        );
    }

    #[test]
    fn later_starts_say_what_is_there_and_what_goes_on() {
        let text = banner(Some(Content { clusters: 1, hsms: 2, backups: 2 }), false, &[copy()]);
        assert!(text.contains("dev-data     1 cluster, 2 HSMs, 2 backups\n"), "{text}");
        assert!(text.contains("  HSM network  127.0.0.1:2225 us-east-1, 127.0.0.1:2226 eu-west-1 (EniIp"), "{text}");
        let goes_on = "Ready in 0.4 s. 1 copy goes on: copy-ysatlqk2c7c to eu-west-1, 13.0 of 21.4 MiB are there.\n";
        assert!(text.contains(goes_on), "{text}");
    }

    #[test]
    fn a_stop_says_what_it_waits_for() {
        assert_eq!(stopping(0, &[]), "Stopping. Ctrl-C again ends at once.");
        assert_eq!(
            stopping(2, &[copy()]),
            "Stopping: 2 calls finish, 1 copy pauses at 13.0 of 21.4 MiB. Ctrl-C again ends at once."
        );
        assert_eq!(
            stopping(1, &[copy(), copy()]),
            "Stopping: 1 call finishes, 2 copies pause. Ctrl-C again ends at once."
        );
    }
}
