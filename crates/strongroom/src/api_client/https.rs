//! Owns whom our own commands trust at an https endpoint: the certificates of AWS_CA_BUNDLE, as every AWS tool does, else
//! those of the system.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where systems keep the certificates that they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The way to one https endpoint.
#[derive(Clone)]
pub(super) struct Https {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Https {
    /// To this host, whose certificate is vouched for by the bundle.
    ///
    /// # Errors
    /// A sentence for people.
    pub(super) fn new(host: &str, ca_bundle: Option<&Path>) -> Result<Self, String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a host"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_bundle)?)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| error.to_string())
    }
}

fn roots(ca_bundle: Option<&Path>) -> Result<RootCertStore, String> {
    let system = || SYSTEM.map(Path::new).into_iter().find(|path| path.is_file());
    let path = ca_bundle.or_else(system).ok_or("there are no certificates to trust: set AWS_CA_BUNDLE")?;
    let told = |cause: &dyn std::fmt::Display| format!("{}: {cause}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| told(&error))? {
        // A bundle may have some that are of no use to anybody here.
        let _ = roots.add(certificate.map_err(|error| told(&error))?);
    }
    if roots.is_empty() { Err(told(&"there is no certificate in it")) } else { Ok(roots) }
}
