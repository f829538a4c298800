//! Owns where a command finds its endpoint, region and credentials: flags, then AWS's variables, then AWS's own files, as
//! every AWS tool does.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use strongroom_wire::sigv4::SecretKey;

use crate::problem::{Exit, Problem};

/// Whom to call, and as whom.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// The URL of the API.
    pub endpoint: String,
    /// The region.
    pub region: String,
    /// The access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret: SecretKey,
    /// The token of a session.
    pub session_token: Option<String>,
    /// The certificates that vouch for an https endpoint, where these are not the system's.
    pub ca_bundle: Option<PathBuf>,
}

impl AwsConfig {
    /// From flags, variables and files.
    ///
    /// # Errors
    /// A [`Problem`] that names what is missing.
    pub fn find(
        region: Option<&str>,
        endpoint: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let files = Files::new(&set);
        let profile = set("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let endpoint = endpoint.map(str::to_owned);
        let endpoint = endpoint.or_else(|| set("AWS_ENDPOINT_URL_CLOUDHSM_V2")).or_else(|| set("AWS_ENDPOINT_URL"));
        let region = region.map(str::to_owned).or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
        let region = region.or_else(|| files.config(&profile).remove("region"));
        let (access_key_id, secret, session_token) = match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => (id, secret, set("AWS_SESSION_TOKEN")),
            _ => files.credentials(&profile).ok_or_else(|| {
                missing("credentials", "there are no credentials")
                    .cause(format!("AWS_ACCESS_KEY_ID is not set, and no file has a profile {profile:?} with keys"))
                    .help("for strongroom dev:  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test")
            })?,
        };
        Ok(Self {
            endpoint: endpoint.ok_or_else(|| {
                missing("endpoint", "there is no endpoint to call")
                    .cause("AWS_ENDPOINT_URL_CLOUDHSM_V2 is not set")
                    .help("for strongroom dev:  export AWS_ENDPOINT_URL_CLOUDHSM_V2=http://127.0.0.1:4225")
            })?,
            region: region.ok_or_else(|| {
                missing("region", "there is no region to call")
                    .cause("AWS_REGION is not set")
                    .help("export AWS_REGION=us-east-1")
            })?,
            access_key_id,
            secret: SecretKey::new(secret),
            session_token,
            ca_bundle: set("AWS_CA_BUNDLE").map(PathBuf::from),
        })
    }
}

fn missing(slug: &'static str, what: &str) -> Problem {
    Problem::new(slug, what).exit(Exit::Usage)
}

/// AWS's files; one that cannot be read has no profiles.
struct Files {
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Files {
    fn new(set: &dyn Fn(&str) -> Option<String>) -> Self {
        let at = |name: &str, file: &str| {
            let home = || set("HOME").map(|home| Path::new(&home).join(".aws").join(file));
            set(name).map(PathBuf::from).or_else(home)
        };
        Self { credentials: at("AWS_SHARED_CREDENTIALS_FILE", "credentials"), config: at("AWS_CONFIG_FILE", "config") }
    }

    /// In the configuration a profile is headed `[profile name]`, but for the default one.
    fn config(&self, profile: &str) -> HashMap<String, String> {
        let heading = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
        section(self.config.as_deref(), &heading)
    }

    /// Keys may stand in either file.
    fn credentials(&self, profile: &str) -> Option<(String, String, Option<String>)> {
        let places = [section(self.credentials.as_deref(), profile), self.config(profile)];
        places.into_iter().find_map(|mut keys| {
            let id = keys.remove("aws_access_key_id")?;
            Some((id, keys.remove("aws_secret_access_key")?, keys.remove("aws_session_token")))
        })
    }
}

fn section(path: Option<&Path>, heading: &str) -> HashMap<String, String> {
    let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let mut inside = false;
    let mut found = HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.split_whitespace().eq(heading.split_whitespace());
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            found.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<AwsConfig, Problem> {
        let variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        AwsConfig::find(None, None, &|name| variables.get(name).cloned())
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn variables_lead() {
        let all =
            [("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_CLOUDHSM_V2", "http://b"), ("AWS_REGION", "r-1")];
        let config = find(&[&all[..], &KEYS, &[("AWS_DEFAULT_REGION", "r-2")]].concat()).unwrap();
        assert_eq!((config.endpoint.as_str(), config.region.as_str()), ("http://b", "r-1"));
        assert_eq!((config.access_key_id.as_str(), config.secret.expose()), ("test", "secret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let slug = |variables: &[(&str, &str)]| find(variables).unwrap_err().slug();
        assert_eq!(slug(&[]), "credentials");
        assert_eq!(slug(&KEYS), "endpoint");
        assert_eq!(slug(&[&KEYS[..], &[("AWS_ENDPOINT_URL", "http://a"), ("AWS_REGION", "")]].concat()), "region");
    }

    #[test]
    fn files_have_profiles() {
        let folder = tempfile::tempdir().unwrap();
        let [credentials, config] = ["credentials", "config"].map(|name| folder.path().join(name));
        fs::write(
            &credentials,
            "[default]\naws_access_key_id = a\naws_secret_access_key=b\n[ops]\n# aws_access_key_id = x\n",
        )
        .unwrap();
        fs::write(&config, "[default]\nregion=d-1\n[profile ops]\nregion = o-1\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token=t\n").unwrap();
        let [credentials, config] = [&credentials, &config].map(|path| path.to_str().unwrap());
        let files = [
            ("AWS_SHARED_CREDENTIALS_FILE", credentials),
            ("AWS_CONFIG_FILE", config),
            ("AWS_ENDPOINT_URL", "http://a"),
        ];
        let default = find(&files).unwrap();
        assert_eq!((default.access_key_id.as_str(), default.region.as_str()), ("a", "d-1"));
        let ops = find(&[&files[..], &[("AWS_PROFILE", "ops")]].concat()).unwrap();
        assert_eq!((ops.access_key_id.as_str(), ops.region.as_str()), ("c", "o-1"));
        assert_eq!(ops.session_token.as_deref(), Some("t"));
    }
}
