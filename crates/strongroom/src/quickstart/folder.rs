//! Owns the folder of `quickstart` and its file `env`: what a shell sources, and what a later run goes on from. It is written
//! before what it names is made, so that nothing is made twice.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use strongroom_link::Secret;
use strongroom_model::ClusterId;
use strongroom_model::id::{base32, hex};
use zeroize::Zeroizing;

use crate::aws_config::AwsConfig;
use crate::files;
use crate::problem::Problem;
use crate::seams::random;

/// The crypto user.
pub(super) const USER: &str = "app";

/// The folder and what is decided in it.
pub(super) struct Folder {
    path: PathBuf,
    /// Names this quickstart in the calls that make something.
    pub id: String,
    /// The cluster, once it is known.
    pub cluster: Option<ClusterId>,
    admin_password: Zeroizing<String>,
    user_password: Zeroizing<String>,
    /// Where the PKCS#11 module is, if it is anywhere.
    pub module: Option<PathBuf>,
}

impl Folder {
    /// Goes on from the folder, or makes it.
    pub(super) fn open(path: &Path, config: &AwsConfig) -> Result<Self, Problem> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let module = module();
        match fs::read_to_string(path.join("env")).map(Zeroizing::new) {
            Ok(text) => Self::read(&path, &text, module),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = || Zeroizing::new(base32(&random::<16>(), 24));
                let (id, admin_password, user_password) = (hex(&random::<16>()), password(), password());
                let folder = Self { path, id, cluster: None, admin_password, user_password, module };
                folder.write(config)?;
                Ok(folder)
            }
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    fn read(path: &Path, text: &str, module: Option<PathBuf>) -> Result<Self, Problem> {
        let words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        let mut values: HashMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
        let mut take = |name: &str| {
            values.remove(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                Problem::new("quickstart-folder", format!("{} does not say {name}", path.join("env").display()))
                    .cause("it is not as quickstart wrote it")
                    .help("move the folder away, or:  strongroom quickstart --to DIR")
            })
        };
        let pin = take("CLOUDHSM_PIN")?;
        let user_password = pin.strip_prefix(USER).and_then(|rest| rest.strip_prefix(':')).unwrap_or(pin);
        Ok(Self {
            path: path.to_owned(),
            id: take("QUICKSTART_ID")?.to_owned(),
            admin_password: Zeroizing::new(take("ADMIN_PASSWORD")?.to_owned()),
            user_password: Zeroizing::new(user_password.to_owned()),
            cluster: take("QUICKSTART_CLUSTER").ok().map(ClusterId::new),
            module,
        })
    }

    /// Writes `env`, for this user alone.
    pub(super) fn write(&self, config: &AwsConfig) -> Result<(), Problem> {
        let text = Zeroizing::new(self.text(config));
        files::make_private_folder(&self.path)
            .and_then(|()| files::write_whole(&self.path.join("env"), text.as_bytes(), 0o600))
            .map_err(|error| unusable(&self.path, &error))
    }

    fn text(&self, config: &AwsConfig) -> String {
        let token = config.session_token.as_ref().map(|token| format!(" AWS_SESSION_TOKEN={}", quoted(token)));
        let mut lines = vec![
            "# Made by strongroom quickstart, for a shell to source. Keep it to yourself: it has passwords.".to_owned(),
            format!(
                "export AWS_ENDPOINT_URL_CLOUDHSM_V2={0} AWS_REGION={1} AWS_DEFAULT_REGION={1}",
                quoted(&config.endpoint),
                config.region
            ),
            format!(
                "export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}{}",
                quoted(&config.access_key_id),
                quoted(config.secret.expose()),
                token.unwrap_or_default()
            ),
            format!("export CLOUDHSM_ROLE=crypto-user CLOUDHSM_PIN={USER}:{}", *self.user_password),
            format!("export STRONGROOM_CLIENT={}", quoted(&self.path.to_string_lossy())),
        ];
        lines.extend(
            self.module
                .as_ref()
                .map(|module| format!("export STRONGROOM_PKCS11={}", quoted(&module.to_string_lossy()))),
        );
        lines.push(format!("ADMIN_PASSWORD={}", *self.admin_password));
        lines.push("# What quickstart goes on from.".to_owned());
        lines.push(format!("QUICKSTART_ID={}", self.id));
        lines.push(format!("QUICKSTART_CLUSTER={}", self.cluster.as_ref().map_or("", ClusterId::as_str)));
        lines.join("\n") + "\n"
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The admin's password.
    pub(super) fn admin_password(&self) -> Secret {
        Secret::new(self.admin_password.as_bytes().to_vec())
    }

    /// The crypto user's password.
    pub(super) fn user_password(&self) -> Secret {
        Secret::new(self.user_password.as_bytes().to_vec())
    }
}

/// A value as a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/:._+=-".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The PKCS#11 module: beside this program, or where packages put it.
fn module() -> Option<PathBuf> {
    const NAME: &str = "libstrongroom_pkcs11.so";
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(NAME)));
    let places = [beside, Some(Path::new("/usr/lib/strongroom").join(NAME))];
    places.into_iter().flatten().find(|path| path.is_file())
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    Problem::new("quickstart-folder", format!("cannot use {}", path.display()))
        .cause(error)
        .help("strongroom quickstart --to DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AwsConfig {
        AwsConfig {
            endpoint: "http://127.0.0.1:4225".into(),
            region: "us-east-1".into(),
            access_key_id: "test".into(),
            secret: strongroom_wire::sigv4::SecretKey::new("te st"),
            session_token: None,
            ca_bundle: None,
        }
    }

    #[test]
    fn a_folder_is_gone_on_from() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("a folder");
        let mut made = Folder::open(&path, &config()).unwrap();
        assert_eq!(made.cluster, None);
        made.cluster = Some(ClusterId::new("cluster-laci57k43pe"));
        made.write(&config()).unwrap();
        let read = Folder::open(&path, &config()).unwrap();
        assert_eq!((&read.id, &read.cluster), (&made.id, &made.cluster));
        assert_eq!(read.admin_password().expose(), made.admin_password().expose());
        assert_eq!(read.user_password().expose(), made.user_password().expose());
        assert!(!files::is_readable_by_others(&path.join("env")).unwrap());
        let text = fs::read_to_string(path.join("env")).unwrap();
        assert!(text.contains("AWS_SECRET_ACCESS_KEY='te st'\n"), "{text}");
        assert!(text.contains(&format!("STRONGROOM_CLIENT='{}'\n", path.display())), "{text}");
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let there = tempfile::tempdir().unwrap();
        fs::write(there.path().join("env"), "export CLOUDHSM_PIN=app:x\n").unwrap();
        let problem = Folder::open(there.path(), &config()).err().unwrap();
        assert!(problem.to_string().contains("does not say QUICKSTART_ID"), "{problem}");
    }
}
