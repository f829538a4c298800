//! Owns RSA keys: making, reading, writing, signing and verifying with them.

use std::fmt;
use std::ptr::NonNull;

use aws_lc_sys::{
    EVP_MD, EVP_sha1, EVP_sha224, EVP_sha256, EVP_sha384, EVP_sha512, NID_sha1, NID_sha224, NID_sha256, NID_sha384,
    NID_sha512, RSA, RSA_PKCS1_PADDING, RSA_free, RSA_generate_key_ex, RSA_get0_d, RSA_get0_e, RSA_get0_iqmp,
    RSA_get0_n, RSA_get0_p, RSA_get0_q, RSA_new, RSA_new_private_key, RSA_new_public_key, RSA_public_key_to_bytes,
    RSA_sign, RSA_sign_pss_mgf1, RSA_sign_raw, RSA_size, RSA_verify, RSA_verify_pss_mgf1, RSA_verify_raw,
};
use zeroize::Zeroizing;

use super::bn::{self, Bn};
use super::pkey::{Pkey, take_bytes};
use super::{Rejected, owned, rejected, succeeded};
use crate::digest::Digest;

/// The padding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// EMSA-PKCS1-v1_5 over a DigestInfo that is made from the given hash value.
    Pkcs1(Digest),
    /// PKCS#1 v1.5's padding around the given bytes, whatever they are (CKM_RSA_PKCS).
    Pkcs1Raw,
    /// EMSA-PSS over the given hash value.
    Pss {
        /// The hash that made the hash value.
        digest: Digest,
        /// The hash of MGF1.
        mgf: Digest,
        /// Salt bytes.
        salt: u32,
    },
}

/// A private key with CRT parameters.
pub struct PrivateKey(Handle);

/// The parts of a private key, big-endian.
pub struct PrivateParts<'a> {
    /// n
    pub modulus: &'a [u8],
    /// e
    pub public_exponent: &'a [u8],
    /// d
    pub private_exponent: &'a [u8],
    /// p
    pub prime_1: &'a [u8],
    /// q
    pub prime_2: &'a [u8],
    /// d mod (p - 1)
    pub exponent_1: &'a [u8],
    /// d mod (q - 1)
    pub exponent_2: &'a [u8],
    /// q⁻¹ mod p
    pub coefficient: &'a [u8],
}

impl PrivateKey {
    /// Makes a key of `bits`.
    ///
    /// # Errors
    /// An exponent or a size that makes no key.
    pub fn generate(bits: u32, public_exponent: &[u8]) -> Result<Self, Rejected> {
        let exponent = Bn::from_bytes(public_exponent)?;
        let bits = i32::try_from(bits).map_err(|_| Rejected)?;
        // SAFETY: takes nothing, returns a new object or null.
        let key = Handle(owned(unsafe { RSA_new() })?);
        // SAFETY: both pointers are valid; nobody else has `key` yet; no callback.
        succeeded(unsafe { RSA_generate_key_ex(key.0.as_ptr(), bits, exponent.as_ptr(), std::ptr::null_mut()) })?;
        Ok(Self(key))
    }

    /// Reads PKCS#8; aws-lc checks that the parts belong together.
    ///
    /// # Errors
    /// Anything but a whole, consistent RSA private key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Rejected> {
        Self::complete(Handle(Pkey::from_pkcs8(der)?.rsa()?))
    }

    /// Puts the parts together; aws-lc checks them.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn from_parts(parts: &PrivateParts<'_>) -> Result<Self, Rejected> {
        let [n, e, d] = [parts.modulus, parts.public_exponent, parts.private_exponent].map(Bn::from_bytes);
        let [p, q] = [parts.prime_1, parts.prime_2].map(Bn::from_bytes);
        let [dmp1, dmq1, iqmp] = [parts.exponent_1, parts.exponent_2, parts.coefficient].map(Bn::from_bytes);
        let (n, e, d, p, q, dmp1, dmq1, iqmp) = (n?, e?, d?, p?, q?, dmp1?, dmq1?, iqmp?);
        // SAFETY: all integers are valid and copied by the call; the result is a new object or null.
        let key = unsafe {
            RSA_new_private_key(
                n.as_ptr(),
                e.as_ptr(),
                d.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dmp1.as_ptr(),
                dmq1.as_ptr(),
                iqmp.as_ptr(),
            )
        };
        Ok(Self(Handle(owned(key)?)))
    }

    /// Refuses the private keys without exponent and primes that aws-lc takes for the sake of Java.
    fn complete(key: Handle) -> Result<Self, Rejected> {
        let rsa = key.0.as_ptr();
        // SAFETY: the handle is valid; the functions read pointers.
        let parts = unsafe { [RSA_get0_e(rsa), RSA_get0_d(rsa), RSA_get0_p(rsa), RSA_get0_q(rsa), RSA_get0_iqmp(rsa)] };
        if parts.iter().any(|part| part.is_null()) { Err(Rejected) } else { Ok(Self(key)) }
    }

    /// The key as PKCS#8.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        // SAFETY: the handle is valid.
        unsafe { Pkey::of_rsa(self.0.0.as_ptr()) }?.to_pkcs8()
    }

    /// The public half.
    ///
    /// # Errors
    /// Out of memory.
    pub fn public(&self) -> Result<PublicKey, Rejected> {
        PublicKey::from_parts(&self.modulus(), &self.public_exponent())
    }

    /// n, in as many bytes as it needs.
    pub fn modulus(&self) -> Vec<u8> {
        self.0.modulus()
    }

    /// e, in as many bytes as it needs.
    pub fn public_exponent(&self) -> Vec<u8> {
        self.0.public_exponent()
    }

    /// The bytes of the modulus and so of a signature.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Signs `input`: a hash value, or any bytes for [`Padding::Pkcs1Raw`].
    ///
    /// # Errors
    /// The input or the salt does not fit the padding and the key.
    pub fn sign(&self, padding: Padding, input: &[u8]) -> Result<Vec<u8>, Rejected> {
        let rsa = self.0.0.as_ptr();
        let mut out = vec![0; self.size()];
        let mut length = out.len();
        // SAFETY: `rsa` is valid and signing is documented as non-mutating; at most RSA_size bytes are written to `out`,
        // which has as many; input pointers are paired with their lengths.
        let result = unsafe {
            match padding {
                Padding::Pkcs1(digest) => {
                    let mut written = 0;
                    let nid = nid(digest);
                    let result = RSA_sign(nid, input.as_ptr(), input.len(), out.as_mut_ptr(), &mut written, rsa);
                    length = written as usize;
                    result
                }
                Padding::Pkcs1Raw => {
                    let (capacity, padding) = (out.len(), RSA_PKCS1_PADDING);
                    RSA_sign_raw(rsa, &mut length, out.as_mut_ptr(), capacity, input.as_ptr(), input.len(), padding)
                }
                Padding::Pss { digest, mgf, salt } => RSA_sign_pss_mgf1(
                    rsa,
                    &mut length,
                    out.as_mut_ptr(),
                    out.len(),
                    input.as_ptr(),
                    input.len(),
                    md(digest),
                    md(mgf),
                    salt_length(salt)?,
                ),
            }
        };
        succeeded(result)?;
        out.truncate(length);
        Ok(out)
    }
}

/// A public key.
pub struct PublicKey(Handle);

impl PublicKey {
    /// A key of n and e, big-endian.
    ///
    /// # Errors
    /// Not a possible key.
    pub fn from_parts(modulus: &[u8], public_exponent: &[u8]) -> Result<Self, Rejected> {
        let (n, e) = (Bn::from_bytes(modulus)?, Bn::from_bytes(public_exponent)?);
        // SAFETY: both integers are valid and copied by the call; the result is a new, checked object or null.
        owned(unsafe { RSA_new_public_key(n.as_ptr(), e.as_ptr()) }).map(|key| Self(Handle(key)))
    }

    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Anything but a whole RSA public key.
    pub fn from_spki(der: &[u8]) -> Result<Self, Rejected> {
        Ok(Self(Handle(Pkey::from_spki(der)?.rsa()?)))
    }

    /// The key as SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_spki(&self) -> Result<Vec<u8>, Rejected> {
        // SAFETY: the handle is valid.
        unsafe { Pkey::of_rsa(self.0.0.as_ptr()) }?.to_spki()
    }

    /// The key as PKCS#1's RSAPublicKey: the bits inside a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_pkcs1(&self) -> Result<Vec<u8>, Rejected> {
        // SAFETY: the handle is valid; on success both out-pointers are written.
        take_bytes(|bytes, length| unsafe { RSA_public_key_to_bytes(bytes, length, self.0.0.as_ptr()) })
            .map(|der| der.to_vec())
    }

    /// n, in as many bytes as it needs.
    pub fn modulus(&self) -> Vec<u8> {
        self.0.modulus()
    }

    /// e, in as many bytes as it needs.
    pub fn public_exponent(&self) -> Vec<u8> {
        self.0.public_exponent()
    }

    /// The bytes of the modulus and so of a signature.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether `signature` is one of `input`: a hash value, or any bytes for [`Padding::Pkcs1Raw`].
    pub fn verify(&self, padding: Padding, input: &[u8], signature: &[u8]) -> bool {
        let rsa = self.0.0.as_ptr();
        // SAFETY: `rsa` is valid and verifying is documented as non-mutating; pointers are paired with their lengths.
        let result = unsafe {
            match padding {
                Padding::Pkcs1(digest) => {
                    RSA_verify(nid(digest), input.as_ptr(), input.len(), signature.as_ptr(), signature.len(), rsa)
                }
                Padding::Pkcs1Raw => return self.recover(signature).is_ok_and(|recovered| recovered == input),
                Padding::Pss { digest, mgf, salt } => {
                    let Ok(salt) = salt_length(salt) else { return false };
                    RSA_verify_pss_mgf1(
                        rsa,
                        input.as_ptr(),
                        input.len(),
                        md(digest),
                        md(mgf),
                        salt,
                        signature.as_ptr(),
                        signature.len(),
                    )
                }
            }
        };
        succeeded(result).is_ok()
    }

    /// What was signed with [`Padding::Pkcs1Raw`].
    fn recover(&self, signature: &[u8]) -> Result<Vec<u8>, Rejected> {
        let mut out = vec![0; self.size()];
        let mut length = 0;
        // SAFETY: the handle is valid; at most `out.len()` bytes are written.
        succeeded(unsafe {
            RSA_verify_raw(
                self.0.0.as_ptr(),
                &mut length,
                out.as_mut_ptr(),
                out.len(),
                signature.as_ptr(),
                signature.len(),
                RSA_PKCS1_PADDING,
            )
        })?;
        out.truncate(length);
        Ok(out)
    }
}

/// An owned RSA object.
struct Handle(NonNull<RSA>);

// SAFETY: an RSA object is bound to no thread.
unsafe impl Send for Handle {}
// SAFETY: after construction only functions are called that aws-lc documents as non-mutating: signing, verifying, reading
// and marshalling, and taking references, whose count is atomic.
unsafe impl Sync for Handle {}

impl Handle {
    fn size(&self) -> usize {
        // SAFETY: the handle is valid.
        unsafe { RSA_size(self.0.as_ptr()) as usize }
    }

    fn modulus(&self) -> Vec<u8> {
        // SAFETY: the handle is valid, and every RSA object here has a modulus.
        unsafe { bn::minimal(RSA_get0_n(self.0.as_ptr())) }
    }

    fn public_exponent(&self) -> Vec<u8> {
        // SAFETY: the handle is valid, and every RSA object here has a public exponent: it was made with one, or
        // `PrivateKey::complete` saw one; a SubjectPublicKeyInfo cannot lack it.
        unsafe { bn::minimal(RSA_get0_e(self.0.as_ptr())) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this handle owns one reference; the last one wipes the key.
        unsafe { RSA_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rsa::PrivateKey({} bits)", self.size() * 8)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rsa::PublicKey({} bits)", self.size() * 8)
    }
}

/// aws-lc gives negative salt lengths meanings of its own; none may come from a caller.
fn salt_length(salt: u32) -> Result<i32, Rejected> {
    i32::try_from(salt).map_err(|_| rejected())
}

const fn nid(digest: Digest) -> i32 {
    match digest {
        Digest::Sha1 => NID_sha1,
        Digest::Sha224 => NID_sha224,
        Digest::Sha256 => NID_sha256,
        Digest::Sha384 => NID_sha384,
        Digest::Sha512 => NID_sha512,
    }
}

fn md(digest: Digest) -> *const EVP_MD {
    // SAFETY: these return pointers to static tables.
    unsafe {
        match digest {
            Digest::Sha1 => EVP_sha1(),
            Digest::Sha224 => EVP_sha224(),
            Digest::Sha256 => EVP_sha256(),
            Digest::Sha384 => EVP_sha384(),
            Digest::Sha512 => EVP_sha512(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGESTS: [Digest; 5] = [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

    #[test]
    fn every_padding_signs_and_verifies_and_nothing_changed_does() {
        let private = PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let public = private.public().unwrap();
        for digest in DIGESTS {
            for mgf in DIGESTS {
                let hash = digest.hash(b"message");
                for padding in [Padding::Pkcs1(digest), Padding::Pss { digest, mgf, salt: 11 }] {
                    let mut signature = private.sign(padding, hash.as_ref()).unwrap();
                    assert_eq!(signature.len(), 256);
                    assert!(public.verify(padding, hash.as_ref(), &signature));
                    assert!(!public.verify(padding, digest.hash(b"massage").as_ref(), &signature));
                    signature[100] ^= 1;
                    assert!(!public.verify(padding, hash.as_ref(), &signature));
                    assert!(!public.verify(padding, hash.as_ref(), &signature[..255]));
                }
            }
        }
        let signature = private.sign(Padding::Pkcs1Raw, b"any bytes").unwrap();
        assert!(public.verify(Padding::Pkcs1Raw, b"any bytes", &signature));
        assert!(!public.verify(Padding::Pkcs1Raw, b"any byte", &signature));
    }

    #[test]
    fn what_does_not_fit_is_rejected() {
        let private = PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let hash = Digest::Sha256.hash(b"message");
        assert!(private.sign(Padding::Pkcs1(Digest::Sha384), hash.as_ref()).is_err());
        assert!(private.sign(Padding::Pkcs1Raw, &[1; 245]).is_ok());
        assert!(private.sign(Padding::Pkcs1Raw, &[1; 246]).is_err());
        let salted = |salt| Padding::Pss { digest: Digest::Sha256, mgf: Digest::Sha256, salt };
        assert!(private.sign(salted(222), hash.as_ref()).is_ok());
        assert!(private.sign(salted(223), hash.as_ref()).is_err());
        assert!(private.sign(salted(u32::MAX), hash.as_ref()).is_err(), "-1 means `as the hash` to aws-lc");
    }

    /// A private key of modulus and private exponent alone, zeros for the rest, as Java's providers write it.
    #[test]
    fn a_private_key_without_primes_is_rejected() {
        let private = PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let integer = |bytes: &[u8]| [&[0x02, 0x82, 1, 1, 0][..], bytes].concat();
        let (zero, modulus, exponent) = ([2, 1, 0], integer(&private.modulus()), integer(&[0xaa; 256]));
        let parts = [&zero[..], &modulus, &zero, &exponent, &zero, &zero, &zero, &zero, &zero].concat();
        let wrap =
            |tag: u8, content: &[u8]| [&[tag, 0x82][..], &(content.len() as u16).to_be_bytes(), content].concat();
        let algorithm = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let pkcs8 = wrap(0x30, &[&zero[..], &algorithm, &wrap(0x04, &wrap(0x30, &parts))].concat());
        assert!(Pkey::from_pkcs8(&pkcs8).is_ok(), "aws-lc takes it");
        assert!(PrivateKey::from_pkcs8(&pkcs8).is_err());
    }

    #[test]
    fn encodings_are_read_back() {
        let private = PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let pkcs8 = private.to_pkcs8().unwrap();
        let back = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(back.modulus(), private.modulus());
        assert_eq!(back.public_exponent(), [1, 0, 1]);
        let spki = private.public().unwrap().to_spki().unwrap();
        assert_eq!(PublicKey::from_spki(&spki).unwrap().modulus(), private.modulus());
        assert!(spki.ends_with(&private.public().unwrap().to_pkcs1().unwrap()));
        assert!(PrivateKey::from_pkcs8(&spki).is_err());
        assert!(PublicKey::from_spki(&pkcs8).is_err());
        let mut longer = pkcs8.to_vec();
        longer.push(0);
        assert!(PrivateKey::from_pkcs8(&longer).is_err());
        let mut changed = pkcs8.to_vec();
        changed[600] ^= 1;
        assert!(PrivateKey::from_pkcs8(&changed).is_err(), "parts that do not belong together");
    }
}
