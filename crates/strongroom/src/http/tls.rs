//! Owns the certificate of the endpoint. Its files are looked at before each handshake, so that a certificate that is
//! replaced serves at once; one that cannot be used leaves the former in place, and that is told.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Where a certificate chain and its private key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the endpoint's own certificate first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// An acceptor that speaks HTTP/2 and HTTP/1.1 under the certificate that is in the files at that moment.
    ///
    /// # Errors
    /// A sentence for people, if the files cannot be used now.
    pub fn acceptor(self) -> Result<TlsAcceptor, String> {
        let (read_at, key) = (self.changed_at(), Arc::new(self.read()?));
        let current = Mutex::new(Current { read_at, key });
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config =
            config.with_no_client_auth().with_cert_resolver(Arc::new(Certificate { files: self, current }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn read(&self) -> Result<CertifiedKey, String> {
        let told = |path: &Path, cause: &dyn fmt::Display| format!("{}: {cause}", path.display());
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(|found| found.collect::<Result<Vec<_>, _>>())
            .map_err(|error| told(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(told(&self.certificate, &"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| told(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| told(&self.key, &error))
    }

    /// When each file was changed last, as far as the system says.
    fn changed_at(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
    }
}

type Stamp = [Option<SystemTime>; 2];

/// The certificate that serves.
struct Certificate {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    read_at: Stamp,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let changed_at = self.files.changed_at();
        if changed_at != current.read_at {
            // Looked at once for each change, also if it cannot be used.
            current.read_at = changed_at;
            match self.files.read() {
                Ok(key) => {
                    current.key = Arc::new(key);
                    tracing::info!(kind = "tls", "the certificate of the endpoint was read anew");
                }
                Err(cause) => {
                    tracing::warn!(kind = "tls", "the new certificate cannot be used, the former serves on: {cause}");
                }
            }
        }
        Some(current.key.clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}
