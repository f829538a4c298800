//! Owns keys on elliptic curves and ECDSA with them.

use std::fmt;
use std::ptr::NonNull;

use aws_lc_sys::{
    EC_GROUP, EC_GROUP_get_curve_name, EC_KEY, EC_KEY_check_key, EC_KEY_free, EC_KEY_generate_key, EC_KEY_get0_group,
    EC_KEY_get0_private_key, EC_KEY_get0_public_key, EC_KEY_new_by_curve_name, EC_KEY_set_private_key,
    EC_KEY_set_public_key, EC_POINT, EC_POINT_free, EC_POINT_mul, EC_POINT_new, EC_POINT_oct2point, EC_POINT_point2oct,
    ECDSA_SIG, ECDSA_SIG_free, ECDSA_SIG_get0, ECDSA_SIG_new, ECDSA_SIG_set0, ECDSA_do_sign, ECDSA_do_verify,
    NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1, point_conversion_form_t,
};
use zeroize::Zeroizing;

use super::bn::{self, Bn};
use super::pkey::Pkey;
use super::{Rejected, owned, rejected, succeeded};

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1, also prime256v1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve's object identifier, DER: the value of CKA_EC_PARAMS.
    pub const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    /// The curve of an object identifier.
    pub fn from_oid(oid: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }

    /// The bytes of a coordinate, a scalar, and each half of a signature: field and order of these curves are of one size.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn nid(self) -> i32 {
        match self {
            Self::P256 => NID_X9_62_prime256v1,
            Self::P384 => NID_secp384r1,
            Self::P521 => NID_secp521r1,
        }
    }
}

/// A private key, with its public point.
pub struct PrivateKey(Handle);

impl PrivateKey {
    /// Makes a key.
    ///
    /// # Errors
    /// Out of memory.
    pub fn generate(curve: Curve) -> Result<Self, Rejected> {
        let key = Handle::empty(curve)?;
        // SAFETY: the handle is valid and nobody else has it yet.
        succeeded(unsafe { EC_KEY_generate_key(key.key.as_ptr()) })?;
        Ok(Self(key))
    }

    /// A key of its scalar, big-endian.
    ///
    /// # Errors
    /// A scalar outside 1 to order - 1.
    pub fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, Rejected> {
        let key = Handle::empty(curve)?;
        let scalar = Bn::from_bytes(scalar)?;
        let point = Point::new(key.group())?;
        // SAFETY: all pointers are valid; nobody else has `key` yet; the scalar and the point are copied. The first call
        // refuses scalars out of range.
        unsafe {
            succeeded(EC_KEY_set_private_key(key.key.as_ptr(), scalar.as_ptr()))?;
            let (null_point, null) = (std::ptr::null(), std::ptr::null());
            let context = std::ptr::null_mut();
            succeeded(EC_POINT_mul(key.group(), point.0.as_ptr(), scalar.as_ptr(), null_point, null, context))?;
            succeeded(EC_KEY_set_public_key(key.key.as_ptr(), point.0.as_ptr()))?;
        }
        Self::checked(key)
    }

    /// Reads PKCS#8 and checks that scalar and point belong together.
    ///
    /// # Errors
    /// Anything but a whole, consistent private key on a known curve.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Rejected> {
        Self::checked(Handle::of_known_curve(Pkey::from_pkcs8(der)?.ec()?)?)
    }

    fn checked(key: Handle) -> Result<Self, Rejected> {
        // SAFETY: the handle is valid. A public key passes EC_KEY_check_key, so the scalar is looked for too.
        unsafe {
            succeeded(EC_KEY_check_key(key.key.as_ptr()))?;
            if EC_KEY_get0_private_key(key.key.as_ptr()).is_null() {
                return Err(Rejected);
            }
        }
        Ok(Self(key))
    }

    /// The key as PKCS#8.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        // SAFETY: the handle is valid.
        unsafe { Pkey::of_ec(self.0.key.as_ptr()) }?.to_pkcs8()
    }

    /// The public half.
    ///
    /// # Errors
    /// Out of memory.
    pub fn public(&self) -> Result<PublicKey, Rejected> {
        PublicKey::from_point(self.curve(), &self.0.point()?)
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// ECDSA over a hash value, of which at most the order's length is used: r ‖ s, each of the order's length.
    ///
    /// # Errors
    /// Out of memory.
    pub fn sign(&self, hash: &[u8]) -> Result<Vec<u8>, Rejected> {
        // SAFETY: the handle is valid and signing takes it as const; the result is a new object or null.
        let signature = unsafe { ECDSA_do_sign(hash.as_ptr(), hash.len(), self.0.key.as_ptr()) };
        let signature = Signature(owned(signature)?);
        let (mut r, mut s) = (std::ptr::null(), std::ptr::null());
        let size = self.curve().size();
        let mut out = vec![0; 2 * size];
        // SAFETY: `signature` is valid and keeps r and s alive.
        unsafe {
            ECDSA_SIG_get0(signature.0.as_ptr(), &mut r, &mut s);
            bn::padded(r, &mut out[..size])?;
            bn::padded(s, &mut out[size..])?;
        }
        Ok(out)
    }
}

/// A public key.
pub struct PublicKey(Handle);

impl PublicKey {
    /// A key of its point: 04 ‖ X ‖ Y, or compressed.
    ///
    /// # Errors
    /// Not a point of the curve.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, Rejected> {
        let key = Handle::empty(curve)?;
        let decoded = Point::new(key.group())?;
        // SAFETY: all pointers are valid; nobody else has `key` yet; the point is copied.
        unsafe {
            let context = std::ptr::null_mut();
            succeeded(EC_POINT_oct2point(key.group(), decoded.0.as_ptr(), point.as_ptr(), point.len(), context))?;
            succeeded(EC_KEY_set_public_key(key.key.as_ptr(), decoded.0.as_ptr()))?;
        }
        Self::checked(key)
    }

    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Anything but a whole public key on a known curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, Rejected> {
        Self::checked(Handle::of_known_curve(Pkey::from_spki(der)?.ec()?)?)
    }

    fn checked(key: Handle) -> Result<Self, Rejected> {
        // SAFETY: the handle is valid.
        succeeded(unsafe { EC_KEY_check_key(key.key.as_ptr()) })?;
        Ok(Self(key))
    }

    /// The key as SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_spki(&self) -> Result<Vec<u8>, Rejected> {
        // SAFETY: the handle is valid.
        unsafe { Pkey::of_ec(self.0.key.as_ptr()) }?.to_spki()
    }

    /// 04 ‖ X ‖ Y.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_point(&self) -> Result<Vec<u8>, Rejected> {
        self.0.point()
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// Whether r ‖ s is an ECDSA signature of the hash value.
    pub fn verify(&self, hash: &[u8], signature: &[u8]) -> bool {
        let size = self.curve().size();
        signature.len() == 2 * size && self.verify_halves(hash, &signature[..size], &signature[size..]).is_ok()
    }

    fn verify_halves(&self, hash: &[u8], r: &[u8], s: &[u8]) -> Result<(), Rejected> {
        let (r, s) = (Bn::from_bytes(r)?, Bn::from_bytes(s)?);
        // SAFETY: takes nothing, returns a new object or null.
        let signature = Signature(owned(unsafe { ECDSA_SIG_new() })?);
        // SAFETY: `signature` is valid; with both integers non-null the call succeeds and takes them over.
        unsafe { ECDSA_SIG_set0(signature.0.as_ptr(), r.into_raw(), s.into_raw()) };
        // SAFETY: all pointers are valid; verifying takes the key as const.
        succeeded(unsafe { ECDSA_do_verify(hash.as_ptr(), hash.len(), signature.0.as_ptr(), self.0.key.as_ptr()) })
    }
}

/// An owned EC_KEY, with its curve.
struct Handle {
    key: NonNull<EC_KEY>,
    curve: Curve,
}

// SAFETY: an EC_KEY is bound to no thread.
unsafe impl Send for Handle {}
// SAFETY: after construction only functions are called that take it as const, which aws-lc documents as non-mutating, and
// those that take references, whose count is atomic.
unsafe impl Sync for Handle {}

impl Handle {
    /// A key without scalar and point.
    fn empty(curve: Curve) -> Result<Self, Rejected> {
        // SAFETY: returns a new object or null.
        let key = owned(unsafe { EC_KEY_new_by_curve_name(curve.nid()) })?;
        Ok(Self { key, curve })
    }

    /// Takes over a key that was parsed.
    fn of_known_curve(key: NonNull<EC_KEY>) -> Result<Self, Rejected> {
        let mut handle = Self { key, curve: Curve::P256 };
        // SAFETY: the handle is valid, and a parsed key has a group.
        let nid = unsafe { EC_GROUP_get_curve_name(handle.group()) };
        handle.curve = Curve::ALL.into_iter().find(|curve| curve.nid() == nid).ok_or_else(rejected)?;
        Ok(handle)
    }

    fn group(&self) -> *const EC_GROUP {
        // SAFETY: the handle is valid; the group lives as long as it.
        unsafe { EC_KEY_get0_group(self.key.as_ptr()) }
    }

    fn point(&self) -> Result<Vec<u8>, Rejected> {
        let mut out = vec![0; 1 + 2 * self.curve.size()];
        let form = point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
        // SAFETY: the handle is valid and has a public point; at most `out.len()` bytes are written.
        let length = unsafe {
            let point = EC_KEY_get0_public_key(self.key.as_ptr());
            EC_POINT_point2oct(self.group(), point, form, out.as_mut_ptr(), out.len(), std::ptr::null_mut())
        };
        if length == out.len() { Ok(out) } else { Err(rejected()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this handle owns one reference; the last one wipes the key.
        unsafe { EC_KEY_free(self.key.as_ptr()) }
    }
}

/// An owned point.
struct Point(NonNull<EC_POINT>);

impl Point {
    /// A point of `group`, which outlives it in every caller.
    fn new(group: *const EC_GROUP) -> Result<Self, Rejected> {
        // SAFETY: `group` comes from a live handle.
        owned(unsafe { EC_POINT_new(group) }).map(Self)
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // SAFETY: this handle owns the point.
        unsafe { EC_POINT_free(self.0.as_ptr()) }
    }
}

/// An owned signature.
struct Signature(NonNull<ECDSA_SIG>);

impl Drop for Signature {
    fn drop(&mut self) {
        // SAFETY: this handle owns the signature and its two integers.
        unsafe { ECDSA_SIG_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ec::PrivateKey({:?})", self.curve())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ec::PublicKey({:?})", self.curve())
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;
    use crate::digest::Digest;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
    }

    /// RFC 6979, A.2.5, A.2.6 and A.2.7: private key, Ux, Uy, and r, s for SHA-256 and the message "sample".
    #[test]
    fn signatures_of_rfc_6979_verify() {
        let cases = [
            (
                Curve::P256,
                "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
                "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
                "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
                "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
                "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
            ),
            (
                Curve::P384,
                "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
                "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
                "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720",
                "21B13D1E013C7FA1392D03C5F99AF8B30C570C6F98D4EA8E354B63A21D3DAA33BDE1E888E63355D92FA2B3C36D8FB2CD",
                "F3AA443FB107745BF4BD77CB3891674632068A10CA67E3D45DB2266FA7D1FEEBEFDC63ECCD1AC42EC0CB8668A4FA0AB0",
            ),
            (
                Curve::P521,
                "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC\
                 67DB89EC0C08B0E996B83538",
                "01894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD371123D46E45DB6B5D5370A7F20FB633155D38FFA16D\
                 2BD761DCAC474B9A2F5023A4",
                "00493101C962CD4D2FDDF782285E64584139C2F91B47F87FF82354D6630F746A28A0DB25741B5B34A828008B22ACC23F924FAAFBD4D3\
                 3F81EA66956DFEAA2BFDFCF5",
                "01511BB4D675114FE266FC4372B87682BAECC01D3CC62CF2303C92B3526012659D16876E25C7C1E57648F23B73564D67F61C6F14D527\
                 D54972810421E7D87589E1A7",
                "004A171143A83163D6DF460AAF61522695F207A58B95C0644D87E52AA1A347916E4F7A72930B1BC06DBE22CE3F58264AFD23704CBB63\
                 B29B931F7DE6C9D949A7ECFC",
            ),
        ];
        for (curve, scalar, x, y, r, s) in cases {
            let private = PrivateKey::from_scalar(curve, &hex(scalar)).unwrap();
            let point = [&[4][..], &hex(x), &hex(y)].concat();
            assert_eq!(private.public().unwrap().to_point().unwrap(), point);
            let public = PublicKey::from_point(curve, &point).unwrap();
            let hash = Digest::Sha256.hash(b"sample");
            let mut signature = [hex(r), hex(s)].concat();
            assert!(public.verify(hash.as_ref(), &signature));
            assert!(!public.verify(Digest::Sha256.hash(b"test").as_ref(), &signature));
            *signature.last_mut().unwrap() ^= 1;
            assert!(!public.verify(hash.as_ref(), &signature));
        }
    }

    #[test]
    fn own_signatures_verify_on_every_curve_with_every_hash() {
        for curve in Curve::ALL {
            let private = PrivateKey::generate(curve).unwrap();
            let public = private.public().unwrap();
            for digest in [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
                let hash = digest.hash(b"message");
                let signature = private.sign(hash.as_ref()).unwrap();
                assert_eq!(signature.len(), 2 * curve.size());
                assert!(public.verify(hash.as_ref(), &signature));
                assert!(!public.verify(digest.hash(b"massage").as_ref(), &signature));
                assert!(!public.verify(hash.as_ref(), &signature[1..]));
            }
        }
    }

    #[test]
    fn encodings_are_read_back_and_foreign_ones_rejected() {
        for curve in Curve::ALL {
            let private = PrivateKey::generate(curve).unwrap();
            let public = private.public().unwrap();
            let back = PrivateKey::from_pkcs8(&private.to_pkcs8().unwrap()).unwrap();
            assert_eq!(back.curve(), curve);
            assert_eq!(back.public().unwrap().to_point().unwrap(), public.to_point().unwrap());
            let back = PublicKey::from_spki(&public.to_spki().unwrap()).unwrap();
            assert_eq!(back.to_point().unwrap(), public.to_point().unwrap());
            assert_eq!(Curve::from_oid(curve.oid()), Some(curve));
            assert!(PrivateKey::from_scalar(curve, &[0]).is_err());
            assert!(PrivateKey::from_scalar(curve, &vec![0xff; curve.size()]).is_err());
            let mut off_curve = public.to_point().unwrap();
            *off_curve.last_mut().unwrap() ^= 1;
            assert!(PublicKey::from_point(curve, &off_curve).is_err());
            assert!(PublicKey::from_point(curve, &[0]).is_err(), "the point at infinity");
        }
    }
}
