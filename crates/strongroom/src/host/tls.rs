//! Owns the TLS that an HSM shows its clients: version 1.3, the cluster certificate as it is, the cluster's RSA key. The
//! certificate is what the customer's CA signed, which may be an X.509 v1 leaf without names; rustls would refuse to load
//! such a one by its checked way, and every client of ours verifies by itself.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use strongroom_hsm::region::Region;
use strongroom_hsm::rows::ClusterRow;

/// The configuration of a cluster that has its certificate.
///
/// # Errors
/// The sentence for the log.
pub(super) fn of_cluster(region: &Region, row: &ClusterRow) -> Result<Arc<ServerConfig>, String> {
    let told = |cause: &dyn std::fmt::Display| format!("{} cannot be served: {cause}", row.cluster);
    let keys = region.keys(row).map_err(|damaged| told(&damaged.0))?;
    let certificate = CertificateDer::from_pem_slice(row.cluster_certificate.as_bytes()).map_err(|e| told(&e))?;
    let key = PrivateKeyDer::Pkcs8(keys.key_pair.to_pkcs8().to_vec().into());
    let signer = aws_lc_rs::sign::any_supported_type(&key).map_err(|e| told(&e))?;
    Ok(config(Some(CertifiedKey::new(vec![certificate], signer))))
}

/// The configuration of an HSM that has no certificate to show: it ends every handshake with `access_denied`.
pub(super) fn of_nobody() -> Arc<ServerConfig> {
    config(None)
}

fn config(shown: Option<CertifiedKey>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown(shown.map(Arc::new))));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Arc::new(config)
}

#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
