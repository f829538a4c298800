//! Owns AES-GCM contexts.

use std::fmt;
use std::ptr::NonNull;

use aws_lc_sys::{
    EVP_AEAD, EVP_AEAD_CTX, EVP_AEAD_CTX_free, EVP_AEAD_CTX_new, EVP_AEAD_CTX_open, EVP_AEAD_CTX_seal,
    EVP_aead_aes_128_gcm, EVP_aead_aes_192_gcm, EVP_aead_aes_256_gcm,
};
use zeroize::Zeroizing;

use super::{Rejected, owned, rejected, succeeded};

/// AES-GCM under one key with one length of tag.
pub struct Gcm {
    context: NonNull<EVP_AEAD_CTX>,
    tag: usize,
}

// SAFETY: aws-lc documents that seal and open may be called concurrently on one context of the AES-GCM AEADs, and a
// context is bound to no thread.
unsafe impl Send for Gcm {}
// SAFETY: as above; after construction the context is only used through those two functions.
unsafe impl Sync for Gcm {}

impl Gcm {
    /// A context for a key of 16, 24 or 32 bytes and tags of `tag` bytes, 1 to 16.
    ///
    /// # Errors
    /// Any other length.
    pub fn new(key: &[u8], tag: usize) -> Result<Self, Rejected> {
        if tag == 0 {
            return Err(Rejected);
        }
        let context = {
            let algorithm = algorithm(key.len()).ok_or(Rejected)?;
            // SAFETY: reads `key.len()` bytes, which is the algorithm's key length.
            owned(unsafe { EVP_AEAD_CTX_new(algorithm, key.as_ptr(), key.len(), tag) })?
        };
        Ok(Self { context, tag })
    }

    /// Ciphertext ‖ tag. The caller must never use an IV twice.
    ///
    /// # Errors
    /// An empty IV, or more plaintext than GCM takes (64 GiB).
    pub fn seal(&self, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Rejected> {
        let mut out = vec![0; plaintext.len() + self.tag];
        let mut length = 0;
        // SAFETY: every pointer is paired with its slice's length; at most `out.len()` bytes are written.
        succeeded(unsafe {
            EVP_AEAD_CTX_seal(
                self.context.as_ptr(),
                out.as_mut_ptr(),
                &mut length,
                out.len(),
                iv.as_ptr(),
                iv.len(),
                plaintext.as_ptr(),
                plaintext.len(),
                aad.as_ptr(),
                aad.len(),
            )
        })?;
        out.truncate(length);
        Ok(out)
    }

    /// The plaintext of ciphertext ‖ tag.
    ///
    /// # Errors
    /// The tag does not fit.
    pub fn open(&self, iv: &[u8], aad: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        let mut out = Zeroizing::new(vec![0; ciphertext.len()]);
        let mut length = 0;
        // SAFETY: every pointer is paired with its slice's length; at most `out.len()` bytes are written.
        let opened = unsafe {
            EVP_AEAD_CTX_open(
                self.context.as_ptr(),
                out.as_mut_ptr(),
                &mut length,
                out.len(),
                iv.as_ptr(),
                iv.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        if opened != 1 {
            return Err(rejected());
        }
        out.truncate(length);
        Ok(out)
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        // SAFETY: this handle owns the context; freeing wipes the key schedule.
        unsafe { EVP_AEAD_CTX_free(self.context.as_ptr()) }
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm(..)")
    }
}

fn algorithm(key_length: usize) -> Option<*const EVP_AEAD> {
    // SAFETY: these return pointers to static tables.
    unsafe {
        match key_length {
            16 => Some(EVP_aead_aes_128_gcm()),
            24 => Some(EVP_aead_aes_192_gcm()),
            32 => Some(EVP_aead_aes_256_gcm()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    /// Test cases 2, 4, 6 (an IV of 60 bytes), 8, 10 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation
    /// (GCM)", appendix B: key, IV, AAD, plaintext, ciphertext ‖ tag.
    #[test]
    fn published_vectors_hold() {
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
        let plaintext = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                         b16aedf5aa0de657ba637b39";
        let long_iv = "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b5254\
                       16aedbf5a0de6a57a637b39b";
        let zeros = "00000000000000000000000000000000";
        let cases = [
            (
                zeros,
                "000000000000000000000000",
                "",
                zeros,
                "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
            ),
            (
                &key[..32],
                "cafebabefacedbaddecaf888",
                aad,
                plaintext,
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05\
                 1ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
            ),
            (
                &key[..32],
                long_iv,
                aad,
                plaintext,
                "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6f\
                 d62875d2aca417034c34aee5619cc5aefffe0bfa462af43c1699d050",
            ),
            (
                "000000000000000000000000000000000000000000000000",
                "000000000000000000000000",
                "",
                zeros,
                "98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb",
            ),
            (
                &key[..48],
                "cafebabefacedbaddecaf888",
                aad,
                plaintext,
                "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f47\
                 18e2448b2fe324d9ccda27102519498e80f1478f37ba55bd6d27618c",
            ),
            (
                key,
                "cafebabefacedbaddecaf888",
                aad,
                plaintext,
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                 c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ];
        for (key, iv, aad, plaintext, sealed) in cases {
            let gcm = Gcm::new(&hex(key), 16).unwrap();
            let (iv, aad, plaintext, sealed) = (hex(iv), hex(aad), hex(plaintext), hex(sealed));
            assert_eq!(gcm.seal(&iv, &aad, &plaintext).unwrap(), sealed);
            assert_eq!(gcm.open(&iv, &aad, &sealed).unwrap().as_slice(), plaintext);
        }
    }

    #[test]
    fn short_tags_are_the_start_of_long_ones_and_nothing_changed_opens() {
        let (key, iv) = ([3; 32], [4; 12]);
        let long = Gcm::new(&key, 16).unwrap().seal(&iv, b"aad", b"text").unwrap();
        let short = Gcm::new(&key, 12).unwrap();
        let sealed = short.seal(&iv, b"aad", b"text").unwrap();
        assert_eq!(sealed, long[..16]);
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(short.open(&iv, b"aad", &changed).unwrap_err(), Rejected);
        }
        assert!(short.open(&iv, b"dad", &sealed).is_err());
        assert!(short.open(&iv, b"aad", &sealed[..11]).is_err());
        assert!(Gcm::new(&key[..31], 16).is_err());
        assert!(Gcm::new(&key, 17).is_err());
        assert!(Gcm::new(&key, 0).is_err());
    }
}
