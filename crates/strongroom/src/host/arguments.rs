//! Owns the arguments of `strongroom hsm`, both ways: how a child is started and how it reads what it was given, side by
//! side, so that neither changes alone.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use strongroom_model::RegionName;

use super::HostSettings;
use crate::layout::Layout;

/// `strongroom hsm`
#[derive(Clone, Debug, Args)]
pub struct HostArguments {
    /// The data folder; root keys are in DIR.keys
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The socket for the API process
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// A region to serve; once for each, in the order of their ports
    #[arg(long = "region", value_name = "REGION", required = true)]
    regions: Vec<String>,
    /// Keep root keys in memory only
    #[arg(long)]
    ephemeral: bool,
    /// End when standard input does
    #[arg(long, hide = true)]
    child: bool,
}

impl From<HostArguments> for HostSettings {
    fn from(arguments: HostArguments) -> Self {
        Self {
            socket: arguments.socket,
            layout: Layout::new(arguments.data),
            regions: arguments.regions.into_iter().map(RegionName::new).collect(),
            ephemeral: arguments.ephemeral,
            is_child: arguments.child,
        }
    }
}

impl HostSettings {
    /// What follows `strongroom hsm` on the command line.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--data".into(), self.layout.data().into()];
        arguments.extend(["--socket".into(), OsString::from(&self.socket)]);
        arguments.extend(self.regions.iter().flat_map(|region| ["--region".into(), region.as_str().into()]));
        arguments.extend(self.ephemeral.then(|| "--ephemeral".into()));
        arguments.extend(self.is_child.then(|| "--child".into()));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Hsm {
        #[command(flatten)]
        arguments: HostArguments,
    }

    #[test]
    fn a_child_reads_what_its_parent_meant() {
        for (ephemeral, is_child) in [(false, true), (true, false)] {
            let settings = HostSettings {
                socket: "/run/a b/hsm.sock".into(),
                layout: Layout::new("/var/lib/-strange"),
                regions: ["us-east-1", "eu-west-1"].map(RegionName::new).into(),
                ephemeral,
                is_child,
            };
            let line = ["hsm".into()].into_iter().chain(settings.to_arguments());
            assert_eq!(HostSettings::from(Hsm::parse_from(line).arguments), settings);
        }
    }
}
