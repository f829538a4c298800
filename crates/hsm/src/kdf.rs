//! Owns key derivation: HKDF-SHA256 with a label per purpose. The info is label ‖ 0x00 ‖ (length as u32 ‖ bytes) of each
//! part of the context, so that no two purposes or contexts share an encoding.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// A derived key of 32 bytes.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// HKDF-SHA256(`key`, `label` ‖ `context`), 32 bytes. Labels contain no zero byte.
pub(crate) fn derive(key: &[u8; 32], label: &str, context: &[&[u8]]) -> Key {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut info = label.as_bytes().to_vec();
    info.push(0);
    for part in context {
        push_part(&mut info, part);
    }
    let mut derived = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, &[])
        .extract(key)
        .expand(&[&info], Length)
        .and_then(|okm| okm.fill(derived.as_mut_slice()))
        .expect("32 bytes are within HKDF-SHA256's limit of 8160");
    derived
}

/// Appends length (u32, big endian) and bytes: the unambiguous form of a part in derivations, AADs and signed bytes.
pub(crate) fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("parts are far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_contexts_give_keys_of_their_own() {
        let key = [7; 32];
        let keys = [
            derive(&key, "a", &[]),
            derive(&key, "b", &[]),
            derive(&key, "a", &[b""]),
            derive(&key, "a", &[b"xy"]),
            derive(&key, "a", &[b"x", b"y"]),
            derive(&[8; 32], "a", &[]),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a, b);
            }
        }
        assert_eq!(derive(&key, "a", &[b"x", b"y"]), keys[4]);
    }
}
