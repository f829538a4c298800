//! Owns the errors of a call to an HSM, with the sentences that people read. A sentence says what happened, why, and
//! what to do; none carries a secret.

use std::fmt;
use std::path::PathBuf;

use strongroom_link::pkcs11::Ulong;

use crate::certificate::Untrusted;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No configured HSM answers. A mutating call may have been carried out: the repeat that would have told was lost.
    #[error("{}", unreachable_text(cluster.as_deref(), misses))]
    Unreachable {
        /// The cluster, where the configuration names it.
        cluster: Option<String>,
        /// Each address tried last, with why it was of no use.
        misses: Vec<Miss>,
    },
    /// An address showed a certificate that the configuration does not trust; nothing was sent to it.
    #[error("{}", not_trusted_text(address, ca_file, reason))]
    NotTrusted {
        /// `host:port`.
        address: String,
        /// The trust anchor it was held against.
        ca_file: PathBuf,
        /// What is wrong with it.
        reason: Untrusted,
    },
    /// An address has no certificate to show, and none was ever seen there: its cluster is not initialized yet.
    #[error(
        "{} is UNINITIALIZED, so its HSMs have no certificate to trust. Sign its CSR and call InitializeCluster.",
        cluster.clone().unwrap_or_else(|| format!("the cluster at {address}"))
    )]
    NoCertificate {
        /// `host:port`.
        address: String,
        /// The cluster, where the configuration names it.
        cluster: Option<String>,
    },
    /// The HSM refused the call, and nothing was changed.
    #[error("{message}")]
    Refused {
        /// CKR_…
        ckr: Ulong,
        /// The HSM's sentence.
        message: String,
    },
    /// The call is longer than a frame may be.
    #[error("the data is too long for one call: {0}")]
    TooLong(String),
    /// The HSM answered something else than what this version understands.
    #[error("the HSM answered something unexpected to {0}; are client and HSM of the same version?")]
    Unexpected(&'static str),
}

/// An address that was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// `host:port`.
    pub address: String,
    /// Why.
    pub cause: MissCause,
}

/// Why an address was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissCause {
    /// Nothing listens there.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It has no certificate for an HSM that it once served.
    Gone,
    /// The connection broke, or is no link of ours.
    Broken(String),
}

impl MissCause {
    fn text(&self, plural: bool) -> String {
        match self {
            Self::Refused if plural => "refuse connections".into(),
            Self::Refused => "refuses connections".into(),
            Self::TimedOut if plural => "do not answer in time".into(),
            Self::TimedOut => "does not answer in time".into(),
            Self::Gone if plural => "serve these HSMs no more".into(),
            Self::Gone => "serves this HSM no more".into(),
            Self::Broken(why) => format!("broke off: {why}"),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.cause.text(false))
    }
}

fn unreachable_text(cluster: Option<&str>, misses: &[Miss]) -> String {
    let of = cluster.map(|c| format!(" of {c}")).unwrap_or_default();
    let configure = match cluster {
        Some(c) => format!("configure --cluster-id {c}"),
        None => "configure -a IP".into(),
    };
    format!("no HSM{of} answers ({}). Is strongroom running? If addresses changed: {configure}", misses_text(misses))
}

/// `A and B refuse connections` where they all have one cause, else each with its own.
fn misses_text(misses: &[Miss]) -> String {
    let Some((first, rest)) = misses.split_first() else { return "no address is configured".into() };
    if rest.is_empty() || rest.iter().any(|m| m.cause != first.cause) {
        return misses.iter().map(Miss::to_string).collect::<Vec<_>>().join(", ");
    }
    let addresses: Vec<_> = misses.iter().map(|m| m.address.as_str()).collect();
    let (last, front) = addresses.split_last().expect("the list has a first element");
    format!("{} and {last} {}", front.join(", "), first.cause.text(true))
}

fn not_trusted_text(address: &str, ca_file: &std::path::Path, reason: &Untrusted) -> String {
    let ca_file = ca_file.display();
    match reason {
        Untrusted::NotSigned => format!(
            "{address} shows a certificate that {ca_file} did not sign. No password was sent. Use the customerCA.crt \
             with which this cluster, or the one it was restored from, was initialized: configure --hsm-ca-cert FILE"
        ),
        Untrusted::OtherKey => format!(
            "{address} shows a certificate that {ca_file} signed, but of another cluster than the one that was \
             configured. No password was sent. If this is the cluster you mean, run configure again."
        ),
        other => format!("{address} shows a certificate that cannot be trusted: {other}. No password was sent."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(address: &str, cause: MissCause) -> Miss {
        Miss { address: address.into(), cause }
    }

    fn text(cluster: Option<&str>, misses: Vec<Miss>) -> String {
        Error::Unreachable { cluster: cluster.map(str::to_owned), misses }.to_string()
    }

    #[test]
    fn one_cause_is_said_once() {
        let misses = vec![miss("127.94.17.16:2225", MissCause::Refused), miss("127.94.17.17:2225", MissCause::Refused)];
        assert_eq!(
            text(Some("cluster-laci57k43pe"), misses),
            "no HSM of cluster-laci57k43pe answers (127.94.17.16:2225 and 127.94.17.17:2225 refuse connections). \
             Is strongroom running? If addresses changed: configure --cluster-id cluster-laci57k43pe"
        );
    }

    #[test]
    fn several_causes_are_said_each() {
        let misses = vec![miss("a:1", MissCause::Refused), miss("b:2", MissCause::TimedOut)];
        assert_eq!(
            text(None, misses),
            "no HSM answers (a:1 refuses connections, b:2 does not answer in time). Is strongroom running? \
             If addresses changed: configure -a IP"
        );
    }
}
