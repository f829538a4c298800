//! Owns the life of a cluster in the vault, but for its installation from a backup: `made` with its identity, `initialized`
//! with its certificates, `destroyed` for good; and which of its HSMs are served. Every call is idempotent by the row it
//! makes: a repeat answers what the row says, other input is a `conflict`, and after a removal all is `gone`.

use strongroom_link::host::{Failure, FailureCode, Identity};

use crate::certificate;
use crate::cluster_key::ClusterKeys;
use crate::fault::{self, Stop, failure};
use crate::head::Head;
use crate::identity;
use crate::kdf::push_part;
use crate::manifest::sha256;
use crate::region::Region;
use crate::rows::{ClusterRow, ClusterState, HsmRow, UserRow, VaultTx};
use crate::seal::RowKind;
use crate::user::{self, User};

fn refuse<T>(code: FailureCode, text: String) -> Result<T, Stop> {
    Err(failure(code, text).into())
}

fn gone<T>(cluster: &str) -> Result<T, Stop> {
    refuse(FailureCode::Gone, format!("{cluster} is destroyed"))
}

fn unknown<T>(cluster: &str) -> Result<T, Stop> {
    refuse(FailureCode::Unknown, format!("{cluster} is not in the vault"))
}

/// Makes a cluster with key pair, CSR and an admin without a password; or returns the identity it was made with.
///
/// # Errors
/// `Conflict`, `Gone`, or the vault's failure.
pub(crate) fn create_identity(
    region: &Region,
    cluster: &str,
    mode: &str,
    first_hsm: &str,
) -> Result<Identity, Failure> {
    if !["FIPS", "NON_FIPS"].contains(&mode) {
        return Err(failure(FailureCode::Invalid, format!("the mode is {mode}; FIPS and NON_FIPS are possible")));
    }
    let mut input = b"strongroom create identity\x00".to_vec();
    push_part(&mut input, mode.as_bytes());
    push_part(&mut input, first_hsm.as_bytes());
    let input_digest = sha256(&input).to_vec();
    // Making a key pair takes long, so it is not done inside the transaction and not for a repeat.
    if let Some(made) = fault::read(&*region.rows, &mut |tx| made_identity(tx, cluster, &input_digest))? {
        return Ok(made);
    }
    let new = NewCluster::make(region, cluster, mode, first_hsm, input_digest);
    fault::write(&*region.rows, &mut |tx| {
        if let Some(made) = made_identity(tx, cluster, &new.row.input_digest)? {
            return Ok(made);
        }
        new.put(region, tx)?;
        Ok(new.identity.clone())
    })
}

fn made_identity(tx: &mut dyn VaultTx, cluster: &str, input_digest: &[u8]) -> Result<Option<Identity>, Stop> {
    let Some(row) = tx.cluster(cluster)? else {
        return Ok(None);
    };
    if row.state == ClusterState::Destroyed {
        return gone(cluster);
    }
    match <[String; 3]>::try_from(row.hardware_certificates) {
        Ok([hsm_certificate, hardware_certificate, manufacturer_certificate]) if row.input_digest == input_digest => {
            Ok(Some(Identity { csr: row.csr, hsm_certificate, hardware_certificate, manufacturer_certificate }))
        }
        _ => refuse(FailureCode::Conflict, format!("{cluster} was made from something else")),
    }
}

struct NewCluster {
    row: ClusterRow,
    keys: ClusterKeys,
    identity: Identity,
}

impl NewCluster {
    fn make(region: &Region, cluster: &str, mode: &str, first_hsm: &str, input_digest: Vec<u8>) -> Self {
        let keys = ClusterKeys::generate(&*region.rng);
        let now_ms = region.clock.now_ms();
        let identity = identity::make(region.roots.current(), &keys.key_pair, first_hsm, mode, now_ms);
        let row = ClusterRow {
            cluster: cluster.to_owned(),
            state: ClusterState::Made,
            epoch: 1,
            input_digest,
            lineage: keys.cluster_key.lineage().to_owned(),
            mode: mode.to_owned(),
            sealed_keys: keys.seal(&region.roots, &region.region_id, cluster, &*region.rng),
            csr: identity.csr.clone(),
            hardware_certificates: vec![
                identity.hsm_certificate.clone(),
                identity.hardware_certificate.clone(),
                identity.manufacturer_certificate.clone(),
            ],
            cluster_certificate: String::new(),
            trust_anchor: String::new(),
        };
        Self { row, keys, identity }
    }

    fn put(&self, region: &Region, tx: &mut dyn VaultTx) -> Result<(), Stop> {
        let cluster = &self.row.cluster;
        let sealer = self.keys.cluster_key.rows(&region.region_id, cluster);
        let mut head = Head::empty().next();
        for user in [user::unactivated_admin(), user::appliance_user()] {
            let User { name, .. } = &user;
            let sealed = sealer.seal(RowKind::User, name.as_bytes(), head.version, &user.encode(), &*region.rng);
            let row = UserRow { user: name.clone(), version: head.version, sealed };
            head.add_user(&sealer, &row);
            tx.put_user(cluster, self.row.epoch, &row)?;
        }
        tx.put_head(cluster, &head.seal(&sealer, &*region.rng))?;
        Ok(tx.put_cluster(&self.row)?)
    }
}

/// Checks certificates for the cluster that has this CSR.
///
/// # Errors
/// `Invalid` with the sentence for the caller.
pub(crate) fn check_certificates(
    region: &Region,
    csr: &str,
    signed_cert: &str,
    trust_anchor: &str,
) -> Result<(), Failure> {
    let check = |cluster: &str| certificate::check(cluster, csr, signed_cert, trust_anchor, region.clock.now_ms());
    if check("this cluster").is_ok() {
        return Ok(());
    }
    // The sentence names the cluster, which the call does not: it is looked for only where there is a sentence.
    let cluster = fault::read(&*region.rows, &mut |tx| {
        let owner = tx.clusters()?.into_iter().find(|row| row.csr == csr);
        Ok(owner.map_or_else(|| "this cluster".to_owned(), |row| row.cluster))
    })?;
    check(&cluster).map_err(|sentence| failure(FailureCode::Invalid, sentence))
}

/// Installs the certificates of a cluster: `made` → `initialized`.
///
/// # Errors
/// `Invalid`, `Conflict`, `Gone`, `Unknown`, or the vault's failure.
pub(crate) fn install_certificate(
    region: &Region,
    cluster: &str,
    signed_cert: &str,
    trust_anchor: &str,
) -> Result<(), Failure> {
    fault::write(&*region.rows, &mut |tx| {
        let Some(row) = tx.cluster(cluster)? else {
            return unknown(cluster);
        };
        match row.state {
            ClusterState::Destroyed => gone(cluster),
            ClusterState::Installing => refuse(
                FailureCode::Conflict,
                format!("{cluster} is being made from a backup, which has its certificate"),
            ),
            ClusterState::Initialized | ClusterState::Active
                if row.cluster_certificate == signed_cert && row.trust_anchor == trust_anchor =>
            {
                Ok(())
            }
            ClusterState::Initialized | ClusterState::Active => {
                refuse(FailureCode::Conflict, format!("{cluster} has another certificate already"))
            }
            ClusterState::Made => {
                certificate::check(cluster, &row.csr, signed_cert, trust_anchor, region.clock.now_ms())
                    .map_err(|sentence| failure(FailureCode::Invalid, sentence))?;
                tx.put_cluster(&ClusterRow {
                    state: ClusterState::Initialized,
                    cluster_certificate: signed_cert.to_owned(),
                    trust_anchor: trust_anchor.to_owned(),
                    ..row
                })?;
                Ok(())
            }
        }
    })
}

/// Removes everything of a cluster and leaves its tombstone, also where the cluster never was.
///
/// # Errors
/// The vault's failure.
pub(crate) fn destroy(region: &Region, cluster: &str) -> Result<(), Failure> {
    fault::write(&*region.rows, &mut |tx| {
        let (epoch, input_digest) = tx.cluster(cluster)?.map_or((0, vec![]), |row| (row.epoch, row.input_digest));
        tx.delete_rows(cluster, None)?;
        tx.put_cluster(&ClusterRow {
            cluster: cluster.to_owned(),
            state: ClusterState::Destroyed,
            epoch,
            input_digest,
            lineage: String::new(),
            mode: String::new(),
            sealed_keys: vec![],
            csr: String::new(),
            hardware_certificates: vec![],
            cluster_certificate: String::new(),
            trust_anchor: String::new(),
        })?;
        Ok(())
    })
}

/// Records that an HSM is served at an address.
///
/// # Errors
/// `Unknown` if the vault lacks the cluster, `Gone` if either was removed, `Busy` while it is being installed, `Conflict` if
/// the HSM is another cluster's or elsewhere.
pub(crate) fn serve(region: &Region, cluster: &str, hsm: &str, address: &str) -> Result<(), Failure> {
    let served =
        HsmRow { hsm: hsm.to_owned(), cluster: cluster.to_owned(), address: address.to_owned(), withdrawn: false };
    fault::write(&*region.rows, &mut |tx| {
        match tx.cluster(cluster)?.map(|row| row.state) {
            None => return unknown(cluster),
            Some(ClusterState::Destroyed) => return gone(cluster),
            Some(ClusterState::Installing) => {
                return refuse(FailureCode::Busy, format!("{cluster} is still being installed"));
            }
            Some(ClusterState::Made | ClusterState::Initialized | ClusterState::Active) => {}
        }
        match tx.hsm(hsm)? {
            None => Ok(tx.put_hsm(&served)?),
            Some(row) if row.withdrawn => refuse(FailureCode::Gone, format!("{hsm} is withdrawn")),
            Some(row) if row == served => Ok(()),
            Some(row) => refuse(FailureCode::Conflict, format!("{hsm} is at {} in {}", row.address, row.cluster)),
        }
    })
}

/// Records that an HSM is served no longer, for good.
///
/// # Errors
/// `Conflict` if it is another cluster's; the vault's failure.
pub(crate) fn withdraw(region: &Region, cluster: &str, hsm: &str) -> Result<(), Failure> {
    fault::write(&*region.rows, &mut |tx| {
        let row = tx.hsm(hsm)?.unwrap_or_else(|| HsmRow {
            hsm: hsm.to_owned(),
            cluster: cluster.to_owned(),
            address: String::new(),
            withdrawn: false,
        });
        if row.cluster != cluster {
            return refuse(FailureCode::Conflict, format!("{hsm} belongs to {}", row.cluster));
        }
        Ok(tx.put_hsm(&HsmRow { withdrawn: true, ..row })?)
    })
}

/// SHA-256 of a cluster's SubjectPublicKeyInfo: what a client pins.
///
/// # Errors
/// `Unknown`, `Damaged`, or the vault's failure.
pub(crate) fn key_digest(region: &Region, cluster: &str) -> Result<[u8; 32], Failure> {
    let row = fault::read(&*region.rows, &mut |tx| match tx.cluster(cluster)? {
        Some(row) => Ok(row),
        None => unknown(cluster),
    })?;
    let keys = region.keys(&row).map_err(|damage| failure(FailureCode::Damaged, damage.to_string()))?;
    Ok(sha256(&keys.key_pair.public_key()))
}
