//! Owns objects, which are keys: the live key, its attributes, who owns it, and the record that is sealed into a row. A
//! changed object is a new one that shares the live key. The handle is derived, so that a repeated request names the same
//! object on every HSM.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use strongroom_link::hsm::{Attribute, AttributeValue, Failure};
use strongroom_link::pkcs11::*;
use zeroize::Zeroizing;

use crate::attribute::{Flags, Origin, TEXT_MAX, Template};
use crate::kdf::push_part;
use crate::key::{Class, Key, modulus_bits};
use crate::lc::ec;
use crate::refusal::unexpected;
use crate::user;

/// The version of the record's form.
const FORMAT: u32 = 1;

/// A key object.
#[derive(Clone)]
pub struct Object {
    handle: Ulong,
    owner: String,
    flags: Flags,
    label: Vec<u8>,
    id: Vec<u8>,
    /// The public key of a private one that was made in a pair; the object need not exist any more.
    public: Option<Ulong>,
    check_value: Option<[u8; 3]>,
    key: Arc<Key>,
}

/// What can be said about an attribute of an object.
pub enum Reading {
    /// Its value.
    Value(AttributeValue),
    /// The key has it, and nobody may read it.
    Sensitive,
    /// The key has no such attribute.
    Absent,
}

impl Object {
    /// A new object with what the template says and defaults for the rest.
    ///
    /// # Errors
    /// As [`Flags::at_creation`].
    pub fn new(handle: Ulong, owner: &str, key: Key, origin: Origin, template: &Template<'_>) -> Result<Self, Failure> {
        Ok(Self {
            handle,
            owner: owner.to_owned(),
            flags: Flags::at_creation(key.class(), origin, template)?,
            label: template.bytes(CKA_LABEL).unwrap_or_default().to_vec(),
            id: template.bytes(CKA_ID).unwrap_or_default().to_vec(),
            public: None,
            check_value: key.check_value().map_err(unexpected)?,
            key: Arc::new(key),
        })
    }

    /// This private key, as the other half of `public`.
    pub fn with_public(self, public: Ulong) -> Self {
        Self { public: Some(public), ..self }
    }

    /// This object under another handle.
    pub fn with_handle(self, handle: Ulong) -> Self {
        Self { handle, ..self }
    }

    /// This object with other flags, label or id.
    pub fn with_attributes(&self, flags: Flags, label: Option<&[u8]>, id: Option<&[u8]>) -> Self {
        let mut changed = Self { flags, ..self.clone() };
        if let Some(label) = label {
            changed.label = label.to_vec();
        }
        if let Some(id) = id {
            changed.id = id.to_vec();
        }
        changed
    }

    /// The handle, which is the object id: not 0, top bit clear.
    pub fn handle(&self) -> Ulong {
        self.handle
    }

    /// The user who owns the key.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The flags.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The live key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The handle of the public half of a private key that was made in a pair.
    pub fn public(&self) -> Option<Ulong> {
        self.public
    }

    /// The SubjectPublicKeyInfo of either half of a pair; equal for both.
    pub fn public_key_info(&self) -> Option<Vec<u8>> {
        self.key.public_key_info().ok().flatten()
    }

    /// The id of the object's row.
    pub fn row_id(&self) -> [u8; 8] {
        self.handle.to_be_bytes()
    }

    /// Whether the object has every attribute of the template with its value. What may not be read matches nothing.
    pub fn matches(&self, template: &Template<'_>) -> bool {
        template.attributes().iter().all(|wanted| match self.read(wanted.kind) {
            Reading::Value(value) => equal(&value, &wanted.value),
            Reading::Sensitive | Reading::Absent => false,
        })
    }

    /// All attributes that may be read, but for the value of an extractable key, which is only told when asked for.
    pub fn readable(&self) -> Vec<Attribute> {
        let others = READABLE.into_iter().chain(Flags::kinds());
        others
            .filter_map(|kind| match self.read(kind) {
                Reading::Value(value) => Some(Attribute { kind, value }),
                Reading::Sensitive | Reading::Absent => None,
            })
            .collect()
    }

    /// One attribute.
    pub fn read(&self, kind: Ulong) -> Reading {
        let bytes = |bytes: Vec<u8>| Reading::Value(AttributeValue::Bytes(bytes));
        let boolean = |value| Reading::Value(AttributeValue::Bool(value));
        match kind {
            CKA_CLASS => Reading::Value(AttributeValue::Ulong(self.key.class().number())),
            CKA_KEY_TYPE => Reading::Value(AttributeValue::Ulong(self.key.key_type())),
            CKA_LABEL => bytes(self.label.clone()),
            CKA_ID => bytes(self.id.clone()),
            CKA_CHECK_VALUE => self.check_value.map_or(Reading::Absent, |value| bytes(value.to_vec())),
            CKA_ALWAYS_SENSITIVE => boolean(self.is_closed() && self.flags.get(CKA_SENSITIVE)),
            CKA_NEVER_EXTRACTABLE => boolean(self.is_closed() && !self.flags.get(CKA_EXTRACTABLE)),
            CKA_VALUE => self.read_value(),
            CKA_PUBLIC_KEY_INFO => self.public_key_info().map_or(Reading::Absent, bytes),
            CKA_VALUE_LEN => self.length().map_or(Reading::Absent, |n| Reading::Value(AttributeValue::Ulong(n as u64))),
            kind if Flags::kinds().any(|flag| flag == kind) => boolean(self.flags.get(kind)),
            kind => read_part(&self.key, kind),
        }
    }

    /// Made here and not public: what CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE need besides their flag, which
    /// nobody can change.
    fn is_closed(&self) -> bool {
        self.flags.get(CKA_LOCAL) && self.key.class() != Class::Public
    }

    fn read_value(&self) -> Reading {
        match self.key.secret_value() {
            Some(value) if self.flags.get(CKA_EXTRACTABLE) && !self.flags.get(CKA_SENSITIVE) => {
                let Attribute { value, .. } = Attribute::secret(CKA_VALUE, value.to_vec());
                Reading::Value(value)
            }
            Some(_) => Reading::Sensitive,
            None if matches!(*self.key, Key::EcPrivate(_)) => Reading::Sensitive,
            None => Reading::Absent,
        }
    }

    /// What AWS shows as key-length-bytes: of a secret key its length; of a private key that of its PKCS#8 form; of an RSA
    /// public key modulus and exponent at the length of the modulus; of an EC public key that of its point.
    fn length(&self) -> Option<usize> {
        match &*self.key {
            Key::Aes(_) | Key::GenericSecret(_) => self.key.secret_value().map(<[u8]>::len),
            Key::RsaPrivate(_) | Key::EcPrivate(_) => self.key.material().ok().map(|der| der.len()),
            Key::RsaPublic(key) => Some(2 * key.size()),
            Key::EcPublic(key) => Some(1 + 2 * key.curve().size()),
        }
    }
}

/// What [`Object::readable`] tells besides the flags.
const READABLE: [Ulong; 14] = [
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_LABEL,
    CKA_ID,
    CKA_CHECK_VALUE,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_VALUE_LEN,
    CKA_MODULUS,
    CKA_MODULUS_BITS,
    CKA_PUBLIC_EXPONENT,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_PUBLIC_KEY_INFO,
];

/// An attribute of an RSA or EC key; the public ones are told by both halves.
fn read_part(key: &Key, kind: Ulong) -> Reading {
    match key {
        Key::RsaPrivate(private) => match kind {
            CKA_PRIVATE_EXPONENT | CKA_PRIME_1 | CKA_PRIME_2 | CKA_EXPONENT_1 | CKA_EXPONENT_2 | CKA_COEFFICIENT => {
                Reading::Sensitive
            }
            kind => read_rsa(kind, || private.modulus(), || private.public_exponent()),
        },
        Key::RsaPublic(public) => read_rsa(kind, || public.modulus(), || public.public_exponent()),
        Key::EcPrivate(private) => {
            read_ec(kind, private.curve(), || private.public().and_then(|public| public.to_point()).ok())
        }
        Key::EcPublic(public) => read_ec(kind, public.curve(), || public.to_point().ok()),
        Key::Aes(_) | Key::GenericSecret(_) => Reading::Absent,
    }
}

fn read_rsa(kind: Ulong, modulus: impl Fn() -> Vec<u8>, exponent: impl Fn() -> Vec<u8>) -> Reading {
    match kind {
        CKA_MODULUS => Reading::Value(AttributeValue::Bytes(modulus())),
        CKA_MODULUS_BITS => Reading::Value(AttributeValue::Ulong(modulus_bits(&modulus()).into())),
        CKA_PUBLIC_EXPONENT => Reading::Value(AttributeValue::Bytes(exponent())),
        _ => Reading::Absent,
    }
}

fn read_ec(kind: Ulong, curve: ec::Curve, point: impl Fn() -> Option<Vec<u8>>) -> Reading {
    match kind {
        CKA_EC_PARAMS => Reading::Value(AttributeValue::Bytes(curve.oid().to_vec())),
        CKA_EC_POINT => point().map_or(Reading::Absent, |point| Reading::Value(AttributeValue::Bytes(octets(&point)))),
        _ => Reading::Absent,
    }
}

/// A DER OCTET STRING, the form of CKA_EC_POINT. Points have at most 133 bytes.
fn octets(point: &[u8]) -> Vec<u8> {
    let length = u8::try_from(point.len()).expect("a point has at most 133 bytes");
    let header = if length < 0x80 { vec![0x04, length] } else { vec![0x04, 0x81, length] };
    [&header, point].concat()
}

fn equal(a: &AttributeValue, b: &AttributeValue) -> bool {
    match (a, b) {
        (AttributeValue::Bool(a), AttributeValue::Bool(b)) => a == b,
        (AttributeValue::Ulong(a), AttributeValue::Ulong(b)) => a == b,
        (AttributeValue::Bytes(a), AttributeValue::Bytes(b)) => a == b,
        _ => false,
    }
}

/// Derives the handle of the `index`th object that a request makes: the first 8 bytes of a SHA-256, without the top bit.
/// `attempt` counts up while another object has the handle.
pub fn derive_handle(cluster: &str, user: &str, request_id: &[u8; 16], index: u8, attempt: u8) -> Ulong {
    let mut input = b"strongroom object\x00".to_vec();
    for part in [cluster.as_bytes(), user.as_bytes(), request_id, &[index, attempt]] {
        push_part(&mut input, part);
    }
    let hash = digest(&SHA256, &input);
    let first: [u8; 8] = hash.as_ref().first_chunk().copied().expect("a SHA-256 has 32 bytes");
    Ulong::from_be_bytes(first) & (Ulong::MAX >> 1)
}

/// The form of an object in its row.
#[derive(Encode, Decode)]
struct Record<'a> {
    #[n(0)]
    format: u32,
    #[n(1)]
    handle: Ulong,
    #[b(2)]
    owner: &'a str,
    #[n(3)]
    class: Ulong,
    #[n(4)]
    key_type: Ulong,
    #[n(5)]
    flags: Vec<Ulong>,
    #[cbor(b(6), with = "minicbor::bytes")]
    label: &'a [u8],
    #[cbor(b(7), with = "minicbor::bytes")]
    id: &'a [u8],
    #[n(8)]
    public: Option<Ulong>,
    #[cbor(b(9), with = "minicbor::bytes")]
    material: &'a [u8],
}

impl Object {
    /// The record, for sealing.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let material = self.key.material().expect("a key that was read is written, or memory is out");
        let record = Record {
            format: FORMAT,
            handle: self.handle,
            owner: &self.owner,
            class: self.key.class().number(),
            key_type: self.key.key_type(),
            flags: self.flags.numbers(),
            label: &self.label,
            id: &self.id,
            public: self.public,
            material: &material,
        };
        // Growing would leave unwiped copies behind; label and id have at most 127 bytes, the rest is shorter still.
        let mut bytes = Zeroizing::new(Vec::with_capacity(material.len() + 512));
        minicbor::encode(record, &mut *bytes).expect("a vector takes any number of bytes");
        bytes
    }

    /// Reads a record and makes its key live.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(record: &[u8]) -> Result<Self, String> {
        let mut decoder = minicbor::Decoder::new(record);
        let read: Record<'_> = decoder.decode().map_err(|e| format!("the record of an object cannot be read: {e}"))?;
        if decoder.position() != record.len() {
            return Err("the record of an object has bytes after its end".into());
        }
        if read.format != FORMAT {
            return Err(format!("the record of an object has the unknown form {}", read.format));
        }
        let class = Class::from_number(read.class).ok_or_else(|| format!("class {} is not known", read.class))?;
        let key = Key::from_material(class, read.key_type, read.material)
            .map_err(|_| format!("object 0x{:016x} has no usable key", read.handle))?;
        let object = Self {
            handle: read.handle,
            owner: read.owner.to_owned(),
            flags: Flags::from_numbers(class, &read.flags)?,
            label: read.label.to_vec(),
            id: read.id.to_vec(),
            public: read.public,
            check_value: key.check_value().map_err(|e| e.to_string())?,
            key: Arc::new(key),
        };
        object.check()?;
        Ok(object)
    }

    /// Checks that the object is one that could have been made here; that its key is consistent was checked when it was
    /// read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let refuse = |what: &str| Err(format!("object 0x{:016x} {what}", self.handle));
        if !is_handle(self.handle) || self.public.is_some_and(|public| !is_handle(public)) {
            return refuse("has a handle that is not permitted");
        }
        if user::normalized_name(&self.owner).ok().as_deref() != Some(&self.owner) {
            return refuse("has an owner whose name is not permitted");
        }
        if self.label.len() > TEXT_MAX || self.id.len() > TEXT_MAX {
            return refuse("has too long a label or id");
        }
        if self.public.is_some() && self.key.class() != Class::Private {
            return refuse("names a public key and is no private one");
        }
        Ok(())
    }
}

/// Whether a number can be a handle.
pub fn is_handle(number: Ulong) -> bool {
    number != 0 && number <= Ulong::MAX >> 1
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("handle", &format_args!("0x{:016x}", self.handle))
            .field("owner", &self.owner)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AesKey;
    use crate::lc::rsa;

    fn object(key: Key, attributes: &[Attribute]) -> Object {
        let template = Template::read(attributes).unwrap();
        Object::new(0x1234, "alice", key, Origin::Generated, &template).unwrap()
    }

    fn aes() -> Key {
        Key::Aes(AesKey::new(Zeroizing::new(vec![0; 32])).unwrap())
    }

    fn pair() -> (Object, Object) {
        let private = rsa::PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let public = object(Key::rsa_public(private.public().unwrap()).unwrap(), &[]);
        let private = object(Key::rsa_private(private).unwrap(), &[Attribute::bytes(CKA_LABEL, *b"signer")]);
        (public, private.with_handle(0x1235).with_public(0x1234))
    }

    fn ulong(object: &Object, kind: Ulong) -> Option<Ulong> {
        match object.read(kind) {
            Reading::Value(AttributeValue::Ulong(value)) => Some(value),
            _ => None,
        }
    }

    fn bytes(object: &Object, kind: Ulong) -> Option<Vec<u8>> {
        match object.read(kind) {
            Reading::Value(AttributeValue::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn records_are_read_back() {
        let (public, private) = pair();
        for object in [public, private, object(aes(), &[Attribute::bytes(CKA_ID, [1])])] {
            let record = object.encode();
            let back = Object::decode(&record).unwrap();
            assert_eq!(back.encode(), record);
            assert_eq!(format!("{back:?}"), format!("{object:?}"));
            let longer = [record.as_slice(), &[0]].concat();
            assert!(Object::decode(&longer).is_err());
            for cut in [0, 1, record.len() / 2, record.len() - 1] {
                assert!(Object::decode(&record[..cut]).is_err());
            }
        }
    }

    #[test]
    fn records_that_nobody_makes_are_refused() {
        let (public, private) = pair();
        let aes = object(aes(), &[]);
        for refused in [
            aes.clone().with_handle(0),
            aes.clone().with_handle(1 << 63),
            aes.clone().with_public(5),
            public.with_public(5),
            private.with_public(0),
            Object { owner: "Alice".into(), ..aes.clone() },
            Object { label: vec![0; 128], ..aes },
        ] {
            assert!(Object::decode(&refused.encode()).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn both_halves_of_a_pair_tell_the_same_public_key() {
        let (public, private) = pair();
        for kind in [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_CHECK_VALUE, CKA_PUBLIC_KEY_INFO] {
            assert!(bytes(&public, kind).is_some());
            assert_eq!(bytes(&public, kind), bytes(&private, kind));
        }
        assert_eq!(ulong(&public, CKA_VALUE_LEN), Some(512));
        assert!((1200..1230).contains(&ulong(&private, CKA_VALUE_LEN).unwrap()));
        assert_eq!(ulong(&private, CKA_MODULUS_BITS), Some(2048));
        assert!(matches!(private.read(CKA_PRIME_1), Reading::Sensitive));
        assert!(matches!(public.read(CKA_PRIME_1), Reading::Absent));
    }

    #[test]
    fn a_point_is_told_as_an_octet_string() {
        for (curve, header) in [(ec::Curve::P256, &[4, 65, 4][..]), (ec::Curve::P521, &[4, 0x81, 133, 4])] {
            let private = ec::PrivateKey::generate(curve).unwrap();
            let public = object(Key::EcPublic(private.public().unwrap()), &[]);
            let private = object(Key::EcPrivate(private), &[]);
            let point = bytes(&public, CKA_EC_POINT).unwrap();
            assert!(point.starts_with(header));
            assert_eq!(bytes(&private, CKA_EC_POINT), Some(point));
            assert_eq!(bytes(&private, CKA_EC_PARAMS), Some(curve.oid().to_vec()));
            assert!(matches!(private.read(CKA_VALUE), Reading::Sensitive));
        }
    }

    #[test]
    fn a_value_is_told_only_where_it_is_extractable_and_not_sensitive() {
        for (sensitive, extractable, told) in
            [(true, true, false), (true, false, false), (false, false, false), (false, true, true)]
        {
            let flags =
                [Attribute::boolean(CKA_SENSITIVE, sensitive), Attribute::boolean(CKA_EXTRACTABLE, extractable)];
            let object = object(aes(), &flags);
            assert_eq!(matches!(object.read(CKA_VALUE), Reading::Value(AttributeValue::Secret(_))), told);
            assert_eq!(matches!(object.read(CKA_VALUE), Reading::Sensitive), !told);
            assert!(object.readable().iter().all(|attribute| attribute.kind != CKA_VALUE));
            let template = [Attribute::bytes(CKA_VALUE, [0; 32])];
            assert!(!object.matches(&Template::read(&template).unwrap()), "no value can be guessed by searching");
        }
    }

    #[test]
    fn handles_are_derived_and_never_clash_by_encoding() {
        let handle = derive_handle("cluster-a", "alice", &[1; 16], 0, 0);
        assert_eq!(handle, derive_handle("cluster-a", "alice", &[1; 16], 0, 0));
        let others = [
            derive_handle("cluster-b", "alice", &[1; 16], 0, 0),
            derive_handle("cluster-aa", "lice", &[1; 16], 0, 0),
            derive_handle("cluster-a", "bob", &[1; 16], 0, 0),
            derive_handle("cluster-a", "alice", &[2; 16], 0, 0),
            derive_handle("cluster-a", "alice", &[1; 16], 1, 0),
            derive_handle("cluster-a", "alice", &[1; 16], 0, 1),
        ];
        assert!(others.iter().all(|other| *other != handle && is_handle(*other)));
    }
}
