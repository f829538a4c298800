//! Owns the file by which regions come to know each other (`strongroom region export | trust`): a name, a RegionId, an
//! address and public keys, in TOML. Nothing in it is secret; whoever trusts one compares its fingerprint, which covers
//! everything but the address (TLS proves the keys wherever they are reached).

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use strongroom_engine::ports::Peer;
use strongroom_model::{AccountId, RegionId, RegionName};

const FORMAT: &str = "strongroom.region/1";

/// A region as others must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionFile {
    /// Its name.
    pub name: RegionName,
    /// What it is.
    pub region_id: RegionId,
    /// `host:port` of its region link.
    pub address: String,
    /// SubjectPublicKeyInfo (DER) of the keys that its region link shows.
    pub link_keys: Vec<Vec<u8>>,
    /// X-Wing public keys that open envelopes, the current one first.
    pub hpke_keys: Vec<Vec<u8>>,
    /// Ed25519 public keys that sign envelopes, the current one first.
    pub identity_keys: Vec<Vec<u8>>,
    /// The accounts whose copies are taken from it, all of them where this says nothing. Whoever trusts it decides that; it
    /// says nothing of the region itself, so that no fingerprint covers it.
    pub accept_accounts: Option<Vec<AccountId>>,
}

/// A text that is no region file.
#[derive(Debug, thiserror::Error)]
pub enum RegionFileError {
    /// The form is wrong.
    #[error("{0}")]
    Form(String),
    /// The fingerprint in the file is not that of its content.
    #[error("its fingerprint is {found}, but it says {stated}: it was altered or cut")]
    Fingerprint {
        /// What the content has.
        found: Fingerprint,
        /// What the file says.
        stated: String,
    },
}

/// SHA-256 over a region's identity: what people read to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", BASE64.encode(&self.0))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    name: String,
    region_id: String,
    address: String,
    fingerprint: String,
    link_keys: Vec<String>,
    identity_keys: Vec<String>,
    hpke_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_accounts: Option<Vec<String>>,
}

impl RegionFile {
    /// Reads the text and holds its fingerprint against its content.
    ///
    /// # Errors
    /// [`RegionFileError`].
    pub fn parse(text: &str) -> Result<Self, RegionFileError> {
        let text: Text = toml::from_str(text).map_err(|e| RegionFileError::Form(e.message().to_owned()))?;
        if text.format != FORMAT {
            return Err(RegionFileError::Form(format!("its format is {}, this release reads {FORMAT}", text.format)));
        }
        let region = Self {
            name: RegionName::new(text.name),
            region_id: RegionId::new(text.region_id),
            address: text.address,
            link_keys: decode("link_keys", &text.link_keys)?,
            hpke_keys: decode("hpke_keys", &text.hpke_keys)?,
            identity_keys: decode("identity_keys", &text.identity_keys)?,
            accept_accounts: text.accept_accounts.map(|ids| ids.into_iter().map(AccountId::new).collect()),
        };
        let found = region.fingerprint();
        if found.to_string() != text.fingerprint {
            return Err(RegionFileError::Fingerprint { found, stated: text.fingerprint });
        }
        Ok(region)
    }

    /// The text.
    pub fn to_toml(&self) -> String {
        let text = Text {
            format: FORMAT.into(),
            name: self.name.to_string(),
            region_id: self.region_id.to_string(),
            address: self.address.clone(),
            fingerprint: self.fingerprint().to_string(),
            link_keys: encode(&self.link_keys),
            identity_keys: encode(&self.identity_keys),
            hpke_keys: encode(&self.hpke_keys),
            accept_accounts: self.accept_accounts.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect()),
        };
        toml::to_string(&text).expect("texts and lists of texts are TOML")
    }

    /// The region as a peer.
    pub fn peer(&self) -> Peer {
        Peer { name: self.name.clone(), region_id: self.region_id.clone(), accounts: self.accept_accounts.clone() }
    }

    /// Covers name, RegionId and every key, not the address.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        let mut field = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        field(FORMAT.as_bytes());
        field(self.name.as_str().as_bytes());
        field(self.region_id.as_str().as_bytes());
        for keys in [&self.link_keys, &self.hpke_keys, &self.identity_keys] {
            field(&(keys.len() as u64).to_be_bytes());
            keys.iter().for_each(|key| field(key));
        }
        Fingerprint(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

fn encode(keys: &[Vec<u8>]) -> Vec<String> {
    keys.iter().map(|key| BASE64.encode(key)).collect()
}

fn decode(name: &str, keys: &[String]) -> Result<Vec<Vec<u8>>, RegionFileError> {
    if keys.is_empty() {
        return Err(RegionFileError::Form(format!("{name} is empty")));
    }
    let decoded = keys.iter().map(|key| BASE64.decode(key.as_bytes())).collect::<Result<_, _>>();
    decoded.map_err(|e| RegionFileError::Form(format!("{name} is not base64: {e}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn region(name: &str) -> RegionFile {
        RegionFile {
            name: RegionName::new(name),
            region_id: RegionId::new(format!("{name}-id")),
            address: "127.0.0.1:1".into(),
            link_keys: vec![vec![1; 91]],
            hpke_keys: vec![vec![2; 1216], vec![3; 1216]],
            identity_keys: vec![vec![4; 32]],
            accept_accounts: None,
        }
    }

    #[test]
    fn a_file_is_read_back() {
        let region = region("eu-west-1");
        assert_eq!(RegionFile::parse(&region.to_toml()).unwrap(), region);
    }

    #[test]
    fn who_trusts_says_whose_copies_are_taken() {
        let all = region("eu-west-1");
        let some = RegionFile { accept_accounts: Some(vec![AccountId::new("111122223333")]), ..all.clone() };
        assert_eq!(RegionFile::parse(&some.to_toml()).unwrap(), some);
        assert_eq!(some.fingerprint(), all.fingerprint());
        assert!(some.peer().may_send_for("111122223333") && !some.peer().may_send_for("444455556666"));
        assert!(all.peer().may_send_for("444455556666"));
    }

    #[test]
    fn an_altered_key_is_told_and_another_address_is_not() {
        let region = region("eu-west-1");
        let moved = RegionFile { address: "10.0.0.1:2".into(), ..region.clone() };
        assert_eq!(moved.fingerprint(), region.fingerprint());
        let fingerprint = region.fingerprint().to_string();
        let other = RegionFile { identity_keys: vec![vec![5; 32]], ..region };
        let forged = other.to_toml().replace(&other.fingerprint().to_string(), &fingerprint);
        assert!(matches!(RegionFile::parse(&forged), Err(RegionFileError::Fingerprint { .. })));
    }

    #[test]
    fn other_forms_are_refused() {
        let text = region("eu-west-1").to_toml();
        for (from, to) in
            [("region/1", "region/9"), ("address = ", "adress = "), ("link_keys = [\"", "link_keys = [\"!")]
        {
            let altered = text.replacen(from, to, 1);
            assert_ne!(altered, text, "{from} is in the file");
            assert!(matches!(RegionFile::parse(&altered), Err(RegionFileError::Form(_))), "{from} to {to}");
        }
    }
}
