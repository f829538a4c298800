//! Owns the test-open of what a payload holds: that its records are those of one cluster in the order that snapshots write,
//! that each is one that could have been made by an HSM, that the counts and the identity are those of the manifest, and
//! that public and private halves agree. Beside the record at hand it keeps the names of the users and 24 bytes for each key
//! pair.

use std::collections::{HashMap, HashSet};

use strongroom_link::host::Facts;

use crate::certificate::Certificate;
use crate::cluster_key::{ClusterKey, ClusterKeys};
use crate::identity::ClusterKeyPair;
use crate::key::Class;
use crate::manifest::sha256;
use crate::object::Object;
use crate::payload::{ClusterRecord, Record};
use crate::user::User;

/// The cluster that a payload holds.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Its keys.
    pub(crate) keys: ClusterKeys,
    /// ClusterCertificate, PEM.
    pub(crate) certificate: String,
    /// The customer CA, PEM.
    pub(crate) trust_anchor: String,
    /// The version of its head.
    pub(crate) version: u64,
}

/// A record that was checked.
#[derive(Debug)]
pub(crate) enum Checked<'a> {
    /// The cluster, once and first; it is kept in [`Contents::cluster`].
    Cluster,
    /// A user: name, version and encoding.
    User { name: String, version: u64, user: &'a [u8] },
    /// An object: handle, version and encoding.
    Object { handle: u64, version: u64, object: &'a [u8] },
}

/// The records so far.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    facts: &'a Facts,
    cluster: Option<Cluster>,
    users: HashSet<String>,
    keys: u32,
    last_handle: Option<u64>,
    /// The start of the SHA-256 of each public key, by the handle that its public object has or had.
    public_keys: HashMap<u64, [u8; 16]>,
}

impl<'a> Contents<'a> {
    /// Of the payload whose manifest says these facts.
    pub(crate) fn new(facts: &'a Facts) -> Self {
        Self { facts, cluster: None, users: HashSet::new(), keys: 0, last_handle: None, public_keys: HashMap::new() }
    }

    /// The cluster, once its record is there.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Checks the next record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn record<'r>(&mut self, record: Record<'r>) -> Result<Checked<'r>, String> {
        match record {
            Record::Cluster(record) => {
                if self.cluster.is_some() {
                    return Err("a second cluster's record".to_owned());
                }
                self.cluster = Some(self.check_cluster(*record)?);
                Ok(Checked::Cluster)
            }
            Record::User { version, user } => {
                self.check_version(version)?;
                let name = self.check_user(user)?;
                Ok(Checked::User { name, version, user })
            }
            Record::Object { handle, version, object } => {
                self.check_version(version)?;
                self.check_object(handle, object)?;
                Ok(Checked::Object { handle, version, object })
            }
        }
    }

    /// Checks what only the end shows.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn finish(self) -> Result<Cluster, String> {
        let cluster = self.cluster.ok_or("there is no cluster's record")?;
        if self.users.len() != self.facts.users as usize || self.keys != self.facts.keys {
            let (users, keys) = (self.users.len(), self.keys);
            return Err(format!(
                "{users} users and {keys} keys are in it, the manifest says {} and {}",
                self.facts.users, self.facts.keys
            ));
        }
        Ok(cluster)
    }

    fn check_cluster(&self, record: ClusterRecord) -> Result<Cluster, String> {
        let facts = self.facts;
        let same = [
            (&record.cluster, &facts.cluster),
            (&record.lineage, &facts.lineage),
            (&record.mode, &facts.mode),
            (&record.cluster_certificate, &facts.cluster_certificate),
        ];
        if same.iter().any(|(inside, said)| inside != said) {
            return Err("the cluster is not the one that the manifest names".to_owned());
        }
        let cluster_key = ClusterKey::from_slice(record.cluster_key.expose(), record.lineage);
        let key_pair = ClusterKeyPair::from_pkcs8(record.key_pair.expose());
        let keys = ClusterKeys {
            cluster_key: cluster_key.ok_or("the cluster key has the wrong length")?,
            key_pair: key_pair.ok_or("the cluster's key pair is none")?,
        };
        let certificate = Certificate::parse(&record.cluster_certificate);
        let certificate = certificate.map_err(|what| format!("the cluster certificate {what}"))?;
        if certificate.public_key() != keys.key_pair.public_key() {
            return Err("the cluster's key pair is not that of its certificate".to_owned());
        }
        Ok(Cluster {
            keys,
            certificate: record.cluster_certificate,
            trust_anchor: record.trust_anchor,
            version: record.version,
        })
    }

    fn check_version(&self, version: u64) -> Result<(), String> {
        match &self.cluster {
            None => Err("the first record is not the cluster's".to_owned()),
            Some(cluster) if version > cluster.version => {
                Err(format!("a record has version {version}, the cluster only {}", cluster.version))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_user(&mut self, encoded: &[u8]) -> Result<String, String> {
        if self.last_handle.is_some() {
            return Err("a user comes after an object".to_owned());
        }
        let user = User::decode(encoded)?;
        if !self.users.insert(user.name.clone()) {
            return Err(format!("user {} is there twice", user.name));
        }
        if self.users.len() > self.facts.users as usize {
            return Err(format!("there are more users than the {} that the manifest counts", self.facts.users));
        }
        Ok(user.name)
    }

    fn check_object(&mut self, handle: u64, encoded: &[u8]) -> Result<(), String> {
        if self.last_handle.is_some_and(|last| handle <= last) {
            return Err("objects are not in the order of their handles".to_owned());
        }
        self.last_handle = Some(handle);
        if self.keys == self.facts.keys {
            return Err(format!("there are more keys than the {} that the manifest counts", self.facts.keys));
        }
        self.keys += 1;
        let object = Object::decode(encoded)?;
        if object.handle() != handle {
            return Err(format!("object 0x{handle:016x} says that it is 0x{:016x}", object.handle()));
        }
        if !self.users.contains(object.owner()) {
            return Err(format!("object 0x{handle:016x} is owned by {}, who is no user", object.owner()));
        }
        self.check_pair(&object)
    }

    /// A private key names the handle of the public one it was made with; whichever comes first says what the other must be.
    fn check_pair(&mut self, object: &Object) -> Result<(), String> {
        let Some(public_key) = object.public_key_info() else {
            return Ok(());
        };
        let public_handle = match object.key().class() {
            Class::Public => object.handle(),
            _ => match object.public() {
                Some(handle) => handle,
                None => return Ok(()),
            },
        };
        let digest = *sha256(&public_key).first_chunk::<16>().expect("SHA-256 has 32 bytes");
        if *self.public_keys.entry(public_handle).or_insert(digest) != digest {
            return Err(format!("the halves of the key pair of 0x{public_handle:016x} do not agree"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
