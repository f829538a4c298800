//! Owns the signing keys that were derived from the secrets of principals, for as long as they serve.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use strongroom_wire::sigv4::{Claim, SigningKey};

use crate::identity::Principal;

/// Signing keys that are kept: one per access key, day, region and service.
const KEPT: usize = 64;

/// Signing keys of requests whose signature held, so that the four HMACs of a derivation are done once a day.
#[derive(Default)]
pub(super) struct SigningKeys(RwLock<Vec<Kept>>);

struct Kept {
    principal: Arc<Principal>,
    date: String,
    region: String,
    service: String,
    key: SigningKey,
}

impl SigningKeys {
    /// The key that was kept for a claim of this principal.
    pub(super) fn find(&self, principal: &Arc<Principal>, claim: &Claim) -> Option<SigningKey> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|k| k.is_for(principal, claim)).map(|k| k.key.clone())
    }

    /// Keeps the key of a claim that was verified; a claim that was not could fill the store with anything.
    pub(super) fn keep(&self, principal: &Arc<Principal>, claim: &Claim, key: SigningKey) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().any(|k| k.is_for(principal, claim)) {
            return;
        }
        if kept.len() == KEPT {
            kept.remove(0);
        }
        let (date, region, service) = (claim.date().to_owned(), claim.region().to_owned(), claim.service().to_owned());
        kept.push(Kept { principal: principal.clone(), date, region, service, key });
    }
}

impl Kept {
    fn is_for(&self, principal: &Arc<Principal>, claim: &Claim) -> bool {
        Arc::ptr_eq(&self.principal, principal)
            && self.date == claim.date()
            && self.region == claim.region()
            && self.service == claim.service()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(redacted)")
    }
}
