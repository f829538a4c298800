//! Owns C_Encrypt and C_Decrypt, of one part: AES-GCM. The HSM draws the IV of an encryption and puts its 12 bytes before
//! the ciphertext, as AWS's does; a caller's own IV is taken in NON_FIPS clusters only, since a repeated one gives the key
//! away.

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Failure, Mechanism, Parameter};
use strongroom_link::pkcs11::*;

use crate::key::{AesKey, Key};
use crate::mechanism::{not_supported, wrong_parameter, wrong_type};
use crate::refusal::{refusal, unexpected};
use crate::seam::random;
use crate::session::Session;

/// The bytes of an IV that the HSM draws.
const IV: usize = 12;

/// The longest IV that is taken.
const IV_MAX: usize = 256;

/// The bits of the tags that are permitted: NIST SP 800-38D's, without the shortest.
const TAG_BITS: [u32; 6] = [64, 96, 104, 112, 120, 128];

/// A GCM parameter, checked.
struct Gcm<'a> {
    iv: Option<&'a [u8]>,
    aad: &'a [u8],
    tag: usize,
}

pub(crate) fn encrypt(
    session: &Session,
    handle: Ulong,
    mechanism: &Mechanism,
    data: &Secret,
) -> Result<Answer, Failure> {
    let object = session.usable(handle, CKA_ENCRYPT)?;
    let gcm = read(mechanism)?;
    let key = aes(object.key())?;
    let Some(iv) = gcm.iv else {
        let iv = random::<IV>(&*session.cluster.region().rng);
        let sealed = key.gcm_seal(gcm.tag, &iv, gcm.aad, data.expose()).map_err(unexpected)?;
        return Ok(Answer::Bytes([&iv[..], &sealed].concat()));
    };
    if session.cluster.look(|cache| Ok(cache.mode() == "FIPS"))? {
        return Err(wrong_parameter("In FIPS mode the HSM makes the IV of an encryption. Give none."));
    }
    key.gcm_seal(gcm.tag, iv, gcm.aad, data.expose()).map(Answer::Bytes).map_err(unexpected)
}

pub(crate) fn decrypt(session: &Session, handle: Ulong, mechanism: &Mechanism, data: &[u8]) -> Result<Answer, Failure> {
    let object = session.usable(handle, CKA_DECRYPT)?;
    let gcm = read(mechanism)?;
    let key = aes(object.key())?;
    let (iv, ciphertext) = match gcm.iv {
        Some(iv) => (iv, data),
        None => data.split_at_checked(IV).ok_or_else(too_short)?,
    };
    if ciphertext.len() < gcm.tag {
        return Err(too_short());
    }
    let opened = key.gcm_open(gcm.tag, iv, gcm.aad, ciphertext).map_err(|_| {
        let message = "The ciphertext is not one of this key, IV and additional data";
        refusal(CKR_ENCRYPTED_DATA_INVALID, message)
    })?;
    Ok(Answer::Plaintext(Secret::new(opened.to_vec())))
}

fn read(mechanism: &Mechanism) -> Result<Gcm<'_>, Failure> {
    if mechanism.mechanism != CKM_AES_GCM {
        return Err(not_supported(mechanism.mechanism));
    }
    let Parameter::Gcm { iv, aad, tag_bits } = &mechanism.parameter else {
        return Err(wrong_parameter("AES-GCM takes CK_GCM_PARAMS."));
    };
    if iv.as_ref().is_some_and(|iv| !(1..=IV_MAX).contains(&iv.len())) {
        return Err(wrong_parameter("An IV of AES-GCM has 1 to 256 bytes."));
    }
    if !TAG_BITS.contains(tag_bits) {
        return Err(wrong_parameter("A tag of AES-GCM has 128, 120, 112, 104, 96 or 64 bits."));
    }
    Ok(Gcm { iv: iv.as_deref(), aad, tag: *tag_bits as usize / 8 })
}

fn aes(key: &Key) -> Result<&AesKey, Failure> {
    match key {
        Key::Aes(key) => Ok(key),
        _ => Err(wrong_type()),
    }
}

fn too_short() -> Failure {
    refusal(CKR_ENCRYPTED_DATA_LEN_RANGE, "The ciphertext is shorter than its IV and tag")
}
