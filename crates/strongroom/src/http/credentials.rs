//! Owns who may call: access keys with their secrets and principals, and the signing keys that were derived from them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use strongroom_engine::Authority;
use strongroom_model::AccountId;
use strongroom_wire::sigv4::{Claim, SecretKey, SigningKey};

/// Signing keys that are kept: one per access key, day, region and service.
const KEPT: usize = 64;

/// Whom an access key speaks for.
#[derive(Debug)]
pub struct Principal {
    /// The account.
    pub account: AccountId,
    /// The ARN.
    pub arn: String,
    /// The unique id beside the ARN, `AIDA` and 17 letters or digits for a user.
    pub user_id: String,
    /// The secret of the access key.
    pub secret: SecretKey,
    /// What he may.
    pub authority: Arc<Authority>,
}

impl Principal {
    /// `user/test`: the ARN without partition, service and account.
    pub fn short_name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or(&self.arn)
    }
}

/// The access keys that there are.
pub trait Credentials: Send + Sync {
    /// The principal of an access key.
    fn find(&self, access_key_id: &str) -> Option<Arc<Principal>>;
}

/// The fixed credentials of `strongroom dev`, for loopback only.
pub struct DevCredentials(Arc<Principal>);

impl DevCredentials {
    /// The access key.
    pub const ACCESS_KEY_ID: &str = "test";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &str = "test";
    /// The account.
    pub const ACCOUNT: &str = "000000000000";
}

impl Default for DevCredentials {
    fn default() -> Self {
        let (account, arn) = (AccountId::new(Self::ACCOUNT), format!("arn:aws:iam::{}:user/test", Self::ACCOUNT));
        let user_id = "AIDASTRONGROOMDEVTEST".to_owned();
        Self(Arc::new(Principal {
            authority: Authority::everything(&account, &arn, &user_id),
            account,
            arn,
            user_id,
            secret: SecretKey::new(Self::SECRET_ACCESS_KEY),
        }))
    }
}

impl Credentials for DevCredentials {
    fn find(&self, access_key_id: &str) -> Option<Arc<Principal>> {
        (access_key_id == Self::ACCESS_KEY_ID).then(|| self.0.clone())
    }
}

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
