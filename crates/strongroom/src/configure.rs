//! `configure-cli`, in AWS's flags, and `strongroom configure`: write the files with which clients find and trust the HSMs
//! of a cluster.
//!
//! The order: learn the addresses (given, or asked of the API), connect once to hold the certificate against the customer
//! CA and to pin its key, then write. Where the CA did not sign nothing is written; where no HSM answers yet the file is
//! written without a new pin, and every later connection checks the certificate all the same.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Map;
use strongroom_client::config::{
    CLI_FILE, Cluster, ClusterEntry, Config, ConfigError, DEFAULT_PORT, KeyPin, Options, PKCS11_FILE, Server,
    default_folder,
};
use strongroom_client::session::Contact;
use strongroom_client::{Client, Error};

use crate::ca::CERTIFICATE_FILE;
use crate::problem::{Exit, Problem};

/// AWS's flags.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = true)]
pub struct Settings {
    /// The IP addresses of the HSMs
    #[arg(short = 'a', value_name = "IP", num_args = 1.., conflicts_with = "cluster_id")]
    addresses: Vec<IpAddr>,
    /// The cluster, whose HSMs are asked of the API
    #[arg(long)]
    cluster_id: Option<String>,
    /// The region of the cluster
    #[arg(long, requires = "cluster_id", conflicts_with = "addresses")]
    region: Option<String>,
    /// The URL of the API
    #[arg(long, requires = "cluster_id", conflicts_with = "addresses")]
    endpoint: Option<String>,
    /// The certificate of the customer CA, PEM; customerCA.crt beside the configuration if never given
    #[arg(long, value_name = "FILE")]
    hsm_ca_cert: Option<PathBuf>,
    /// Let a key be used that is on one HSM only (as if never given)
    #[arg(long, conflicts_with = "enable_key_availability_check")]
    disable_key_availability_check: bool,
    /// Want a key to be on two HSMs before it is used
    #[arg(long, alias = "key-availability-check")]
    enable_key_availability_check: bool,
}

/// `configure-cli`
#[derive(Clone, Debug, Args)]
pub struct ConfigureCli {
    #[command(flatten)]
    settings: Settings,
}

/// `strongroom configure`
#[derive(Clone, Debug, Args)]
pub struct Configure {
    #[command(flatten)]
    settings: Settings,
    /// The folder to write to, instead of $STRONGROOM_CLIENT or ~/.config/strongroom/client
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What the API tells of a cluster's HSMs (our own DescribeHsmEndpoints).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HsmEndpoints {
    /// The cluster.
    pub cluster_id: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the cluster's certificate, once it has one.
    pub key_pin: Option<KeyPin>,
    /// Its HSMs.
    pub hsms: Vec<HsmEndpoint>,
}

/// One HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmEndpoint {
    /// Its id.
    pub hsm_id: String,
    /// Its address or host name.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `<hsm-id>.<cluster-id>`.
    pub sni: String,
}

/// Something that knows where the HSMs of a cluster are: the API, over the network.
pub trait Endpoints {
    /// Asks for the HSMs of a cluster, of the region and at the URL that were given, else of the environment's.
    ///
    /// # Errors
    /// [`Problem`], as the command should end.
    fn describe_hsm_endpoints(
        &self,
        cluster_id: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<HsmEndpoints, Problem>;
}

/// Runs `configure-cli`, and says on `out` what was written.
///
/// # Errors
/// [`Problem`]; the old file is then as it was.
pub fn run_configure_cli(
    command: &ConfigureCli,
    endpoints: &dyn Endpoints,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    let path = default_folder(variable).join(CLI_FILE);
    let outcome = write(&command.settings, endpoints, &[&path])?;
    say(out, &format!("Wrote {}: {}", shown(&path), outcome.text(None)))
}

/// Runs `strongroom configure`, and says on `out` what was written.
///
/// # Errors
/// As [`run_configure_cli`].
pub fn run_configure(command: &Configure, endpoints: &dyn Endpoints, out: &mut dyn Write) -> Result<(), Problem> {
    let folder = command.to.clone().unwrap_or_else(|| default_folder(variable));
    let [cli, pkcs11] = [CLI_FILE, PKCS11_FILE].map(|file| folder.join(file));
    let outcome = write(&command.settings, endpoints, &[&cli, &pkcs11])?;
    let cluster = outcome.cluster.cluster_id.as_deref();
    let mut text = format!("Wrote {}: {}", shown(&folder), outcome.text(cluster));
    if let Some(to) = &command.to {
        text.push_str(&format!(". Use: export STRONGROOM_CLIENT={}", from_here(to)));
    }
    say(out, &text)
}

/// What was written, and what the first contact said.
struct Outcome {
    cluster: Cluster,
    contact: Option<Result<Contact, Error>>,
}

impl Outcome {
    fn text(&self, cluster: Option<&str>) -> String {
        let cluster = cluster.map(|id| format!("{id}, ")).unwrap_or_default();
        match &self.contact {
            Some(Ok(Contact { address, info, .. })) => {
                let ca = self.cluster.hsm_ca_file.file_name().unwrap_or_default().to_string_lossy();
                format!("{cluster}{} at {address}, reached, certificate signed by {ca}", info.hsm)
            }
            Some(Err(error)) => format!("{cluster}not reached yet: {error}"),
            None if self.cluster.checks_key_availability() => format!("{cluster}keys must be on two HSMs"),
            None => format!("{cluster}keys may be on one HSM"),
        }
    }
}

/// Writes the same cluster to each of these files of one folder.
fn write(settings: &Settings, endpoints: &dyn Endpoints, paths: &[&Path]) -> Result<Outcome, Problem> {
    let folder = paths[0].parent().unwrap_or(Path::new(""));
    let mut configs = paths.iter().map(|path| read_or_new(path)).collect::<Result<Vec<_>, _>>()?;
    let known = configs[0].clusters.first().map(|entry| entry.cluster.clone());
    let (mut cluster, wants_contact) = apply(settings, known, endpoints, folder)?;
    let contact = if wants_contact { Some(first_contact(&mut cluster, folder)?) } else { None };
    for (config, path) in configs.iter_mut().zip(paths) {
        match config.clusters.first_mut() {
            Some(entry) => entry.cluster = cluster.clone(),
            None => config.clusters.push(entry(cluster.clone())),
        }
        config.write(path).map_err(unusable)?;
    }
    Ok(Outcome { cluster, contact })
}

fn read_or_new(path: &Path) -> Result<Config, Problem> {
    if !path.exists() {
        return Ok(Config::default());
    }
    let config = Config::read(path).map_err(unusable)?;
    if config.clusters.len() > 1 {
        return Err(Problem::new("several-clusters", format!("{} has several clusters", path.display()))
            .cause("which of them is meant cannot be said here")
            .help("edit the file, or move it away and configure anew"));
    }
    Ok(config)
}

/// The cluster as it was, changed as asked; and whether its HSMs or its CA are other ones now.
fn apply(
    settings: &Settings,
    known: Option<Cluster>,
    endpoints: &dyn Endpoints,
    folder: &Path,
) -> Result<(Cluster, bool), Problem> {
    let is_new = known.is_none();
    let mut cluster = known.unwrap_or_else(new_cluster);
    let moved = !settings.addresses.is_empty() || settings.cluster_id.is_some() || settings.hsm_ca_cert.is_some();
    if is_new && settings.addresses.is_empty() && settings.cluster_id.is_none() {
        return Err(Problem::new("no-hsm", "there is no configuration yet, and no HSM is named")
            .help("configure-cli -a IP --hsm-ca-cert FILE")
            .exit(Exit::Usage));
    }
    if let Some(ca) = &settings.hsm_ca_cert {
        cluster.hsm_ca_file = from_folder(ca, folder);
    }
    if moved {
        cluster.key_pin = None;
    }
    if !settings.addresses.is_empty() {
        cluster.cluster_id = None;
        cluster.servers = settings.addresses.iter().map(|ip| Server::new(ip.to_string(), DEFAULT_PORT)).collect();
    }
    if let Some(id) = &settings.cluster_id {
        let told = endpoints.describe_hsm_endpoints(id, settings.region.as_deref(), settings.endpoint.as_deref())?;
        cluster = Cluster { cluster_id: Some(told.cluster_id.clone()), key_pin: told.key_pin, ..cluster };
        cluster.servers = servers(told)?;
    }
    if settings.disable_key_availability_check || settings.enable_key_availability_check {
        cluster.options.disable_key_availability_check = Some(settings.disable_key_availability_check);
    }
    Ok((cluster, moved))
}

fn servers(endpoints: HsmEndpoints) -> Result<Vec<Server>, Problem> {
    if endpoints.hsms.is_empty() {
        return Err(Problem::new("no-hsm", format!("{} has no HSM", endpoints.cluster_id)).help(format!(
            "aws cloudhsmv2 create-hsm --cluster-id {} --availability-zone ZONE",
            endpoints.cluster_id
        )));
    }
    let server = |hsm: HsmEndpoint| Server { sni: Some(hsm.sni), ..Server::new(hsm.address, hsm.port) };
    Ok(endpoints.hsms.into_iter().map(server).collect())
}

/// Connects once. A certificate that is not trusted ends the command; an HSM that does not answer does not.
fn first_contact(cluster: &mut Cluster, folder: &Path) -> Result<Result<Contact, Error>, Problem> {
    match Client::open(cluster, folder).map_err(unusable)?.contact() {
        Ok(contact) => {
            cluster.key_pin = Some(contact.key.pin());
            cluster.cluster_id = Some(contact.info.cluster.clone());
            Ok(Ok(contact))
        }
        Err(error @ Error::NotTrusted { .. }) => {
            Err(Problem::new("not-trusted", error.to_string()).exit(Exit::Refused))
        }
        Err(error) => Ok(Err(error)),
    }
}

fn new_cluster() -> Cluster {
    Cluster {
        hsm_ca_file: PathBuf::from(CERTIFICATE_FILE),
        cluster_id: None,
        key_pin: None,
        options: Options::default(),
        servers: Vec::new(),
        rest: Map::new(),
    }
}

fn entry(cluster: Cluster) -> ClusterEntry {
    ClusterEntry { kind: "hsm1".into(), cluster, rest: Map::new() }
}

/// How a configuration in the folder names a file: by its name alone if it is there too, so that the folder can be moved.
fn from_folder(file: &Path, folder: &Path) -> PathBuf {
    let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let Ok(file) = absolute(file) else { return file.to_owned() };
    match (absolute(folder), file.parent(), file.file_name()) {
        (Ok(folder), Some(parent), Some(name)) if folder == parent => name.into(),
        _ => file,
    }
}

fn unusable(error: ConfigError) -> Problem {
    Problem::new("configuration", error.to_string())
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), Problem> {
    writeln!(out, "{text}").map_err(|error| Problem::new("output", "cannot write to standard output").cause(error))
}

/// A path as a person writes it.
fn shown(path: &Path) -> String {
    let home = variable("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// A path to paste in this folder.
fn from_here(path: &Path) -> String {
    if path.is_absolute() {
        return path.display().to_string();
    }
    format!("$PWD/{}", path.strip_prefix(".").unwrap_or(path).display())
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ca::{Bits, CustomerCa};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        command: Configure,
    }

    struct Api(HsmEndpoints);

    impl Endpoints for Api {
        fn describe_hsm_endpoints(&self, _: &str, _: Option<&str>, _: Option<&str>) -> Result<HsmEndpoints, Problem> {
            Ok(self.0.clone())
        }
    }

    struct Folder {
        folder: tempfile::TempDir,
        /// A port that was free a moment ago and that nobody listens on.
        port: u16,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = std::time::SystemTime::now();
            CustomerCa::create(Bits::Rsa2048, now).unwrap().write(folder.path()).unwrap();
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            Self { folder, port }
        }

        fn run(&self, flags: &str) -> Result<String, Problem> {
            let folder = self.folder.path().display();
            let line = format!("configure --to {folder} {}", flags.replace("DIR", &folder.to_string()));
            let command = Cli::try_parse_from(line.split_whitespace()).unwrap().command;
            let endpoint = HsmEndpoint {
                hsm_id: "hsm-a".into(),
                address: "127.0.0.1".into(),
                port: self.port,
                sni: "hsm-a.cluster-a".into(),
            };
            let api =
                HsmEndpoints { cluster_id: "cluster-a".into(), key_pin: Some(KeyPin([7; 32])), hsms: vec![endpoint] };
            let mut out = Vec::new();
            run_configure(&command, &Api(api), &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        }

        fn cluster(&self, file: &str) -> Cluster {
            Config::read(&self.folder.path().join(file)).unwrap().cluster(None).unwrap().clone()
        }
    }

    #[test]
    fn what_the_api_tells_is_written_to_both_files() {
        let folder = Folder::new();
        let said = folder.run("--cluster-id cluster-a --hsm-ca-cert DIR/customerCA.crt").unwrap();
        assert!(said.contains("cluster-a, not reached yet: no HSM of cluster-a answers"), "{said}");
        assert!(said.contains("Use: export STRONGROOM_CLIENT=/"), "{said}");
        let cluster = folder.cluster(CLI_FILE);
        assert_eq!(cluster, folder.cluster(PKCS11_FILE));
        assert_eq!(cluster.hsm_ca_file, Path::new("customerCA.crt"));
        assert_eq!(cluster.key_pin, Some(KeyPin([7; 32])));
        let server = Server { sni: Some("hsm-a.cluster-a".into()), ..Server::new("127.0.0.1", folder.port) };
        assert_eq!(cluster.servers, [server]);
    }

    #[test]
    fn a_switch_changes_nothing_else() {
        let folder = Folder::new();
        folder.run("--cluster-id cluster-a").unwrap();
        let before = folder.cluster(CLI_FILE);
        let said = folder.run("--key-availability-check").unwrap();
        assert!(said.contains("keys must be on two HSMs"), "{said}");
        let mut after = folder.cluster(CLI_FILE);
        assert!(after.checks_key_availability());
        after.options = Options::default();
        assert_eq!(after, before);
        folder.run("--disable-key-availability-check").unwrap();
        assert!(!folder.cluster(CLI_FILE).checks_key_availability());
    }

    #[test]
    fn addresses_and_a_cluster_exclude_each_other() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command.settings);
        assert!(parse("configure -a 127.0.0.1 --cluster-id cluster-a").is_err());
        assert!(parse("configure").is_err());
        assert!(parse("configure -a 127.0.0.1 --region eu-west-1").is_err());
        let settings = parse("configure -a 127.94.17.16 127.94.17.17 --hsm-ca-cert f").unwrap();
        assert_eq!(settings.addresses.len(), 2);
    }

    #[test]
    fn the_first_time_an_hsm_must_be_named() {
        let problem = Folder::new().run("--enable-key-availability-check").unwrap_err();
        assert_eq!((problem.slug(), problem.exit_code()), ("no-hsm", Exit::Usage));
    }

    #[test]
    fn a_missing_ca_is_named() {
        let folder = Folder::new();
        let problem = folder.run("--cluster-id cluster-a --hsm-ca-cert DIR/other.crt").unwrap_err();
        assert!(problem.to_string().contains("other.crt"), "{problem}");
        assert!(!folder.folder.path().join(CLI_FILE).exists());
    }

    #[test]
    fn relative_folders_are_pasted_from_here() {
        assert_eq!(from_here(Path::new("./dr")), "$PWD/dr");
        assert_eq!(from_here(Path::new("/dr")), "/dr");
    }
}
