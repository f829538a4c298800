//! Owns passwords: which are permitted, and their hashes. Argon2id; its parameters stand in each hash, so that they may grow
//! without voiding what was hashed before. Hashings queue behind a gate, since each takes 64 MiB: every HSM of a host
//! shares one [`PasswordHasher`]. A password is never kept, logged or compared in itself.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use minicbor::{Decode, Encode};
use strongroom_link::hsm::Failure;
use strongroom_link::pkcs11::{CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY, CKR_PIN_LEN_RANGE};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::refusal::refusal;
use crate::seam::{Rng, random};

/// The most that a hash in a record may ask for, in KiB and passes: a foreign record must not exhaust the host.
const MEMORY_MAX_KIB: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// What hashing costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Argon2's m, in KiB.
    pub memory_kib: u32,
    /// Argon2's t.
    pub passes: u32,
    /// Argon2's p.
    pub lanes: u32,
    /// How many hashings run at once; the others wait.
    pub at_once: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1, at_once: 2 }
    }
}

/// Hashes and verifies passwords, a bounded number at once.
#[derive(Debug)]
pub struct PasswordHasher {
    policy: PasswordPolicy,
    running: Mutex<usize>,
    ended: Condvar,
}

impl PasswordHasher {
    /// A hasher with a gate of its own.
    pub fn new(policy: PasswordPolicy) -> Self {
        Self { policy, running: Mutex::new(0), ended: Condvar::new() }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// The password is not permitted, or memory ran out.
    pub fn hash(&self, password: &[u8], rng: &dyn Rng) -> Result<PasswordHash, Failure> {
        check(password)?;
        let PasswordPolicy { memory_kib, passes, lanes, .. } = self.policy;
        let mut hash = PasswordHash { memory_kib, passes, lanes, salt: random(rng), value: [0; 32] };
        hash.value = *self.compute(&hash, password)?;
        Ok(hash)
    }

    /// Whether it is the password; takes as long if it is not.
    ///
    /// # Errors
    /// Memory ran out.
    pub fn verify(&self, hash: &PasswordHash, password: &[u8]) -> Result<bool, Failure> {
        let value = self.compute(hash, password)?;
        Ok(value.ct_eq(&hash.value).into())
    }

    /// Takes as long as a verification: for users that do not exist.
    ///
    /// # Errors
    /// Memory ran out.
    pub fn verify_nobody(&self, password: &[u8]) -> Result<(), Failure> {
        let PasswordPolicy { memory_kib, passes, lanes, .. } = self.policy;
        let nobody = PasswordHash { memory_kib, passes, lanes, salt: [0; 16], value: [0; 32] };
        self.compute(&nobody, password).map(drop)
    }

    fn compute(&self, hash: &PasswordHash, password: &[u8]) -> Result<Zeroizing<[u8; 32]>, Failure> {
        let _turn = self.turn();
        let mut value = Zeroizing::new([0; 32]);
        Params::new(hash.memory_kib, hash.passes, hash.lanes, Some(value.len()))
            .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
            .and_then(|argon2| argon2.hash_password_into(password, &hash.salt, value.as_mut_slice()))
            .map_err(|_| refusal(CKR_HOST_MEMORY, "The HSM has no memory left to check a password. Try again."))?;
        Ok(value)
    }

    /// Waits for a turn at the gate.
    fn turn(&self) -> Turn<'_> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = self
            .ended
            .wait_while(running, |running| *running >= self.policy.at_once)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Turn(self)
    }
}

/// A turn at the gate, given back when dropped.
struct Turn<'a>(&'a PasswordHasher);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}

/// A hashed password with what it was hashed with.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PasswordHash {
    #[n(0)]
    memory_kib: u32,
    #[n(1)]
    passes: u32,
    #[n(2)]
    lanes: u32,
    #[cbor(n(3), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[cbor(n(4), with = "minicbor::bytes")]
    value: [u8; 32],
}

impl PasswordHash {
    /// Whether its parameters are ones that a host may be asked to compute.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let bounded = self.memory_kib <= MEMORY_MAX_KIB && self.passes <= PASSES_MAX && self.lanes <= LANES_MAX;
        if !bounded || Params::new(self.memory_kib, self.passes, self.lanes, Some(self.value.len())).is_err() {
            return Err("the parameters of the password hash are out of range".into());
        }
        Ok(())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl Drop for PasswordHash {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// Checks a new password: 8 to 32 characters, no colon, since PKCS#11's PIN is `user:password`.
fn check(password: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(password)
        .map_err(|_| refusal(CKR_ARGUMENTS_BAD, "The password is not UTF-8 text. Choose another one."))?;
    let length = text.chars().count();
    if !(8..=32).contains(&length) {
        let message = format!("The password has {length} characters; it must have 8 to 32.");
        return Err(refusal(CKR_PIN_LEN_RANGE, message));
    }
    if text.contains(':') {
        let message = "The password contains ':', which separates user and password in a PIN. Choose another one.";
        return Err(refusal(CKR_ARGUMENTS_BAD, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::seam::SystemRng;

    const CHEAP: PasswordPolicy = PasswordPolicy { memory_kib: 8, passes: 1, lanes: 1, at_once: 2 };

    #[test]
    fn the_right_password_verifies_and_parameters_stay_with_the_hash() {
        let hasher = PasswordHasher::new(CHEAP);
        let hash = hasher.hash(b"password1", &SystemRng).unwrap();
        let stronger = PasswordHasher::new(PasswordPolicy { memory_kib: 16, passes: 2, ..CHEAP });
        assert_eq!(stronger.verify(&hash, b"password1"), Ok(true));
        assert_eq!(stronger.verify(&hash, b"password2"), Ok(false));
        assert_ne!(hash, hasher.hash(b"password1", &SystemRng).unwrap(), "salts differ");
        assert_ne!(hash, stronger.hash(b"password1", &SystemRng).unwrap());
    }

    /// RFC 9106, 5.3 uses a secret and associated data, which passwords here do not have; this is the vector of the
    /// Argon2 reference implementation's test.c for Argon2id v1.3: t=2, m=2^16 KiB, p=1, "password", "somesalt".
    #[test]
    fn it_is_argon2id() {
        let params = Params::new(65536, 2, 1, Some(32)).unwrap();
        let mut value = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"password", b"somesalt", &mut value)
            .unwrap();
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(data_encoding::HEXLOWER.encode(&value), expected);
        assert_eq!(PasswordPolicy::default(), PasswordPolicy { memory_kib: 65536, passes: 3, lanes: 1, at_once: 2 });
    }

    #[test]
    fn passwords_that_are_not_permitted_are_refused_with_the_reason() {
        assert_eq!(check("pässwörd".as_bytes()), Ok(()), "characters are counted, not bytes");
        assert_eq!(check(&[b'x'; 32]), Ok(()));
        assert_eq!(check(b"seven77").unwrap_err().ckr, CKR_PIN_LEN_RANGE);
        assert!(check(&[b'x'; 33]).unwrap_err().message.contains("33 characters"));
        assert!(check(b"pass:word").unwrap_err().message.contains("':'"));
        assert_eq!(check(&[0xff; 8]).unwrap_err().ckr, CKR_ARGUMENTS_BAD);
    }

    #[test]
    fn no_more_turns_than_permitted_are_taken_at_once() {
        let hasher = Arc::new(PasswordHasher::new(CHEAP));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = hasher.turn();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[test]
    fn hashes_that_would_exhaust_the_host_are_damaged() {
        let hash = PasswordHasher::new(CHEAP).hash(b"password1", &SystemRng).unwrap();
        assert_eq!(hash.check(), Ok(()));
        for (memory_kib, passes, lanes) in [(u32::MAX, 1, 1), (8, u32::MAX, 1), (8, 1, 1000), (0, 1, 1)] {
            assert!(PasswordHash { memory_kib, passes, lanes, ..hash.clone() }.check().is_err());
        }
    }
}
