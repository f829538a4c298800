//! Owns the client configuration: AWS's JSON form (`cloudhsm-cli.cfg`, `cloudhsm-pkcs11.cfg`) with three members of
//! ours: `port` and `sni` of a server, and `key_pin` of a cluster. Members that it does not know are kept as they are,
//! so that a file that AWS's tools or a person wrote survives being changed here.
//!
//! A file is replaced as a whole, never half written. It holds no secret.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// The file that `cloudhsm-cli` reads.
pub const CLI_FILE: &str = "cloudhsm-cli.cfg";
/// The file that the PKCS#11 module reads.
pub const PKCS11_FILE: &str = "cloudhsm-pkcs11.cfg";
/// The port of an HSM where the configuration names none.
pub const DEFAULT_PORT: u16 = 2225;

/// What a fresh install of AWS's client has in place of an address.
const PLACEHOLDER: &str = "%%HSM_IP_ADDRESS%%";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("No client configuration: looked for {}. Write one with: configure-cli -a IP --hsm-ca-cert FILE", join(.0))]
    Absent(Vec<PathBuf>),
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not of the form.
    #[error("{path} is no client configuration: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// The address was never filled in.
    #[error("Config key hostname has invalid value {PLACEHOLDER}")]
    Placeholder,
    /// A file that the configuration names cannot be read.
    #[error("Could not read configuration-referenced file {key} at location {path}: {cause}")]
    Referenced {
        /// The member that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file that should hold the trust anchor does not.
    #[error("{path} holds no certificate: {cause}")]
    TrustAnchor {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Several clusters are configured and none was chosen.
    #[error("multiple clusters provided in configuration file. Please specify `cluster-id` ")]
    SeveralClusters,
    /// The chosen cluster is not configured.
    #[error("{0} is not in the configuration file; it has {known}", known = join_text(.1))]
    UnknownCluster(String, Vec<String>),
    /// The cluster has no enabled server.
    #[error("the configuration file names no HSM. Write one with: configure-cli -a IP --hsm-ca-cert FILE")]
    NoServer,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The clusters, usually one.
    #[serde(default)]
    pub clusters: Vec<ClusterEntry>,
    /// Members that are not read here, `logging` among them.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One cluster with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEntry {
    /// `hsm1` or `hsm2m`; written as AWS's tool does, never read.
    #[serde(rename = "type", default = "hsm1")]
    pub kind: String,
    /// The cluster.
    pub cluster: Cluster,
    /// Members that are not read here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The customer CA's certificate, PEM; a relative path starts from the configuration file's folder.
    pub hsm_ca_file: PathBuf,
    /// The cluster's id, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The key that the HSMs of this cluster show; since two clusters may share a CA. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pin: Option<KeyPin>,
    /// Switches.
    #[serde(default, skip_serializing_if = "Options::is_empty")]
    pub options: Options,
    /// The HSMs.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Members that are not read here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Switches of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// AWS's name for the rule that a key must be on two HSMs before it is used. Here the rule is off unless this is
    /// `false`: the HSMs of a cluster share one durable vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_key_availability_check: Option<bool>,
    /// Members that are not read here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One HSM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// An address or a name.
    pub hostname: String,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whether it is used.
    #[serde(default = "enabled")]
    pub enable: bool,
    /// `<hsm-id>.<cluster-id>`, said in the TLS greeting where several HSMs share an address. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Members that are not read here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// SHA-256 of the SubjectPublicKeyInfo (DER) in a cluster's certificate; written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPin(pub [u8; 32]);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Io`], [`ConfigError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|cause| ConfigError::Io { path: path.into(), cause })?;
        serde_json::from_slice(&bytes).map_err(|cause| ConfigError::Malformed { path: path.into(), cause })
    }

    /// Replaces a file, and makes its folder if need be.
    ///
    /// # Errors
    /// [`ConfigError::Io`]; the old file is then still whole.
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        let bytes = serde_json::to_vec_pretty(self).expect("the configuration has text keys only");
        replace(path, &bytes).map_err(|cause| ConfigError::Io { path: path.into(), cause })
    }

    /// The cluster of that id, or the only one.
    ///
    /// # Errors
    /// [`ConfigError::SeveralClusters`], [`ConfigError::UnknownCluster`], [`ConfigError::NoServer`].
    pub fn cluster(&self, id: Option<&str>) -> Result<&Cluster, ConfigError> {
        let mut clusters = self.clusters.iter().map(|entry| &entry.cluster);
        match (id, self.clusters.len()) {
            (_, 0) => Err(ConfigError::NoServer),
            (None, 1) => Ok(clusters.next().expect("there is one")),
            (None, _) => Err(ConfigError::SeveralClusters),
            (Some(id), _) => clusters.find(|c| c.cluster_id.as_deref() == Some(id)).ok_or_else(|| {
                let known = self.clusters.iter().filter_map(|entry| entry.cluster.cluster_id.clone()).collect();
                ConfigError::UnknownCluster(id.into(), known)
            }),
        }
    }
}

impl Cluster {
    /// Its enabled servers.
    ///
    /// # Errors
    /// [`ConfigError::Placeholder`], [`ConfigError::NoServer`].
    pub fn enabled_servers(&self) -> Result<Vec<&Server>, ConfigError> {
        let servers: Vec<_> = self.servers.iter().filter(|s| s.enable).collect();
        if servers.iter().any(|s| s.hostname == PLACEHOLDER) {
            Err(ConfigError::Placeholder)
        } else if servers.is_empty() {
            Err(ConfigError::NoServer)
        } else {
            Ok(servers)
        }
    }

    /// Whether a key must be on two HSMs before it is used.
    pub fn checks_key_availability(&self) -> bool {
        self.options.disable_key_availability_check == Some(false)
    }
}

impl Options {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Server {
    /// An HSM that is known by its address alone.
    pub fn new(hostname: impl Into<String>, port: u16) -> Self {
        Self { hostname: hostname.into(), port, enable: true, sni: None, rest: Map::new() }
    }
}

impl Serialize for KeyPin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("sha256:{}", HEXLOWER.encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for KeyPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("sha256:")
            .and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("key_pin is not `sha256:` and 64 hex digits"))
    }
}

/// The folder that `configure` writes to: `$STRONGROOM_CLIENT`, else the user's. `variable` reads the environment.
pub fn default_folder(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    search_path(variable).swap_remove(0)
}

/// Where a configuration file is: `$STRONGROOM_CLIENT` if set, else the user's folder, else `/etc/strongroom/client`.
/// `variable` reads the environment.
///
/// # Errors
/// [`ConfigError::Absent`] with the places looked at.
pub fn locate(file: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let candidates: Vec<_> = search_path(variable).into_iter().map(|folder| folder.join(file)).collect();
    candidates.iter().find(|path| path.exists()).cloned().ok_or(ConfigError::Absent(candidates))
}

fn search_path(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("STRONGROOM_CLIENT") {
        return vec![folder];
    }
    let user = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    user.map(|config| config.join("strongroom/client"))
        .into_iter()
        .chain([PathBuf::from("/etc/strongroom/client")])
        .collect()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn hsm1() -> String {
    "hsm1".into()
}

const fn default_port() -> u16 {
    DEFAULT_PORT
}

const fn enabled() -> bool {
    true
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn join_text(ids: &[String]) -> String {
    if ids.is_empty() { "no cluster with an id".into() } else { ids.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = r#"{ "clusters": [ { "type": "hsm2m", "cluster": {
        "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
        "options": { "disable_key_availability_check": true, "later": 1 },
        "servers": [ { "hostname": "10.0.1.2", "port": 2223, "enable": true },
                     { "hostname": "10.0.1.3", "enable": false } ], "client_cert_path": "c" } } ],
      "logging": { "log_type": "file" } }"#;

    #[test]
    fn the_form_of_aws_is_read_and_kept() {
        let config: Config = serde_json::from_str(AWS).unwrap();
        let cluster = config.cluster(None).unwrap();
        let servers = cluster.enabled_servers().unwrap();
        assert_eq!(servers, [&Server::new("10.0.1.2", 2223)]);
        assert!(!cluster.checks_key_availability());
        let again = serde_json::to_value(&config).unwrap();
        assert_eq!(again["clusters"][0]["cluster"]["client_cert_path"], "c");
        assert_eq!(again["clusters"][0]["cluster"]["options"]["later"], 1);
        assert_eq!(again["logging"]["log_type"], "file");
        assert_eq!(again["clusters"][0]["type"], "hsm2m");
    }

    #[test]
    fn our_members_survive_a_round_trip_through_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/the/way").join(CLI_FILE);
        let mut config: Config = serde_json::from_str(AWS).unwrap();
        config.clusters[0].cluster.key_pin = Some(KeyPin([0xab; 32]));
        config.clusters[0].cluster.servers[0].sni = Some("hsm-a.cluster-b".into());
        config.write(&path).unwrap();
        assert_eq!(Config::read(&path).unwrap(), config);
        assert!(fs::read_to_string(&path).unwrap().contains(&format!("\"sha256:{}\"", "ab".repeat(32))));
    }

    #[test]
    fn a_fresh_install_is_recognised() {
        let text = AWS.replace("10.0.1.2", PLACEHOLDER);
        let config: Config = serde_json::from_str(&text).unwrap();
        let error = config.cluster(None).unwrap().enabled_servers().unwrap_err();
        assert_eq!(error.to_string(), "Config key hostname has invalid value %%HSM_IP_ADDRESS%%");
    }

    #[test]
    fn several_clusters_want_a_choice() {
        let mut config: Config = serde_json::from_str(AWS).unwrap();
        let mut second = config.clusters[0].clone();
        second.cluster.cluster_id = Some("cluster-b".into());
        config.clusters.push(second);
        assert!(matches!(config.cluster(None), Err(ConfigError::SeveralClusters)));
        assert_eq!(config.cluster(Some("cluster-b")).unwrap().cluster_id.as_deref(), Some("cluster-b"));
        assert!(matches!(config.cluster(Some("cluster-c")), Err(ConfigError::UnknownCluster(..))));
    }

    #[test]
    fn the_variable_beats_the_home_folder() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join(".config/strongroom/client");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join(CLI_FILE), "{}").unwrap();
        let at_home = |name: &str| (name == "HOME").then(|| folder.path().into());
        assert_eq!(locate(CLI_FILE, at_home).unwrap(), home.join(CLI_FILE));
        let set = |name: &str| (name == "STRONGROOM_CLIENT").then(|| "/nowhere".into());
        assert!(matches!(locate(CLI_FILE, set), Err(ConfigError::Absent(places)) if places.len() == 1));
        assert_eq!(default_folder(at_home), home);
    }

    #[test]
    fn a_bad_pin_is_refused() {
        assert!(serde_json::from_str::<KeyPin>("\"sha256:abcd\"").is_err());
    }
}
