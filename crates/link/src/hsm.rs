//! Owns what a client says to an HSM, and what it hears. A connection is one session: [`Call::Login`] or
//! [`Call::Present`] binds it to a user until [`Call::Logout`]; answers come in the order of the requests.
//!
//! Every call that changes something carries a request id of the client's: the same id gives the same result on every
//! HSM of the cluster for 24 hours, so that it may be repeated elsewhere after a cut line. Keys, templates and
//! mechanisms are PKCS#11's, with its numbers.

use minicbor::{Decode, Encode};

use crate::pkcs11::Ulong;
use crate::secret::Secret;

/// The version of this vocabulary.
pub const VERSION: u32 = 1;

/// One call.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Request {
    /// The client's name for this call, 16 random bytes, the same on each repeat; absent on calls that change nothing.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request_id: Option<[u8; 16]>,
    /// What is asked.
    #[n(1)]
    pub call: Call,
}

/// One answer.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Response {
    /// It succeeded.
    #[n(0)]
    Ok(#[n(0)] Answer),
    /// It failed, and nothing was changed.
    #[n(1)]
    Failed(#[n(0)] Failure),
}

/// The roles of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Role {
    /// `unactivated-admin`: the admin before `cluster activate`.
    #[n(0)]
    UnactivatedAdmin,
    /// `admin`: manages users.
    #[n(1)]
    Admin,
    /// `crypto-user`: manages and uses keys.
    #[n(2)]
    CryptoUser,
    /// `internal(APPLIANCE_USER)`: listed as on AWS, can do nothing here.
    #[n(3)]
    ApplianceUser,
}

impl Role {
    /// AWS's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnactivatedAdmin => "unactivated-admin",
            Self::Admin => "admin",
            Self::CryptoUser => "crypto-user",
            Self::ApplianceUser => "internal(APPLIANCE_USER)",
        }
    }
}

/// A call of an HSM.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Call {
    /// Which HSM this is. No login needed.
    #[n(0)]
    Info,
    /// Set the admin's first password. No login needed; only once in a cluster's life.
    #[n(1)]
    Activate(#[n(0)] Secret),
    /// Bind the connection to a user by password.
    #[n(2)]
    Login {
        /// The user; case does not matter.
        #[n(0)]
        user: String,
        /// The role, which must be the user's.
        #[n(1)]
        role: Role,
        /// The password.
        #[n(2)]
        password: Secret,
    },
    /// Bind the connection to a user by a ticket of any HSM of this cluster.
    #[n(3)]
    Present(#[n(0)] Secret),
    /// Unbind the connection.
    #[n(4)]
    Logout,
    /// All users. No login needed.
    #[n(5)]
    ListUsers,
    /// Admin: make a user.
    #[n(6)]
    CreateUser {
        /// The user; stored in lower case.
        #[n(0)]
        user: String,
        /// `admin` or `crypto-user`.
        #[n(1)]
        role: Role,
        /// The password.
        #[n(2)]
        password: Secret,
    },
    /// Admin: remove a user who owns no key.
    #[n(7)]
    DeleteUser {
        /// The user.
        #[n(0)]
        user: String,
        /// The user's role.
        #[n(1)]
        role: Role,
    },
    /// Admin for anyone, a user for himself: set a new password, which also unlocks.
    #[n(8)]
    ChangePassword {
        /// The user.
        #[n(0)]
        user: String,
        /// The user's role.
        #[n(1)]
        role: Role,
        /// The new password.
        #[n(2)]
        password: Secret,
    },
    /// Make a secret key.
    #[n(10)]
    GenerateKey {
        /// CKM_AES_KEY_GEN or CKM_GENERIC_SECRET_KEY_GEN.
        #[n(0)]
        mechanism: Mechanism,
        /// Its attributes.
        #[n(1)]
        template: Vec<Attribute>,
    },
    /// Make a key pair.
    #[n(11)]
    GenerateKeyPair {
        /// CKM_RSA_PKCS_KEY_PAIR_GEN or CKM_EC_KEY_PAIR_GEN.
        #[n(0)]
        mechanism: Mechanism,
        /// Attributes of the public key.
        #[n(1)]
        public: Vec<Attribute>,
        /// Attributes of the private key.
        #[n(2)]
        private: Vec<Attribute>,
    },
    /// Import a key whose value is in the template (C_CreateObject).
    #[n(12)]
    CreateObject(#[n(0)] Vec<Attribute>),
    /// The keys that the user may see and that match all attributes, by ascending handle.
    #[n(13)]
    FindObjects {
        /// What must match.
        #[n(0)]
        template: Vec<Attribute>,
        /// How many to skip.
        #[n(1)]
        skip: u32,
        /// How many to return at most.
        #[n(2)]
        limit: u32,
    },
    /// Attributes of a key; without a list all that may be read.
    #[n(14)]
    GetAttributes {
        /// The key.
        #[n(0)]
        handle: Ulong,
        /// Which; empty for all.
        #[n(1)]
        kinds: Vec<Ulong>,
    },
    /// Change attributes of a key.
    #[n(15)]
    SetAttributes {
        /// The key.
        #[n(0)]
        handle: Ulong,
        /// The new values.
        #[n(1)]
        template: Vec<Attribute>,
    },
    /// Delete a key.
    #[n(16)]
    DestroyObject(#[n(0)] Ulong),
    /// Sign.
    #[n(20)]
    Sign {
        /// The private or secret key.
        #[n(0)]
        handle: Ulong,
        /// How.
        #[n(1)]
        mechanism: Mechanism,
        /// The message, or its digest where the mechanism takes one.
        #[cbor(n(2), with = "minicbor::bytes")]
        data: Vec<u8>,
    },
    /// Verify.
    #[n(21)]
    Verify {
        /// The public or secret key.
        #[n(0)]
        handle: Ulong,
        /// How.
        #[n(1)]
        mechanism: Mechanism,
        /// The message, or its digest where the mechanism takes one.
        #[cbor(n(2), with = "minicbor::bytes")]
        data: Vec<u8>,
        /// The signature.
        #[cbor(n(3), with = "minicbor::bytes")]
        signature: Vec<u8>,
    },
    /// Encrypt.
    #[n(22)]
    Encrypt {
        /// The key.
        #[n(0)]
        handle: Ulong,
        /// How.
        #[n(1)]
        mechanism: Mechanism,
        /// The plaintext.
        #[n(2)]
        data: Secret,
    },
    /// Decrypt.
    #[n(23)]
    Decrypt {
        /// The key.
        #[n(0)]
        handle: Ulong,
        /// How.
        #[n(1)]
        mechanism: Mechanism,
        /// The ciphertext, with its tag at the end where there is one.
        #[cbor(n(2), with = "minicbor::bytes")]
        data: Vec<u8>,
    },
    /// Random bytes, at most 1 MiB.
    #[n(24)]
    Random(#[n(0)] u32),
}

impl Call {
    /// Whether the call changes something and so must carry a request id.
    pub const fn is_mutating(&self) -> bool {
        matches!(
            self,
            Self::Activate(_)
                | Self::CreateUser { .. }
                | Self::DeleteUser { .. }
                | Self::ChangePassword { .. }
                | Self::GenerateKey { .. }
                | Self::GenerateKeyPair { .. }
                | Self::CreateObject(_)
                | Self::SetAttributes { .. }
                | Self::DestroyObject(_)
        )
    }
}

/// What an HSM answers.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Answer {
    /// Done; nothing to tell.
    #[n(0)]
    Done,
    /// To [`Call::Info`].
    #[n(1)]
    Info(#[n(0)] Info),
    /// To [`Call::Login`] and [`Call::Present`].
    #[n(2)]
    LoggedIn {
        /// The user, in lower case.
        #[n(0)]
        user: String,
        /// The role.
        #[n(1)]
        role: Role,
        /// A ticket that any HSM of the cluster takes for 12 hours, or until the password changes.
        #[n(2)]
        ticket: Secret,
    },
    /// To [`Call::ListUsers`], in the order of their making.
    #[n(3)]
    Users(#[n(0)] Vec<User>),
    /// To [`Call::GenerateKey`] and [`Call::CreateObject`].
    #[n(4)]
    Object(#[n(0)] Ulong),
    /// To [`Call::GenerateKeyPair`].
    #[n(5)]
    Pair {
        /// The public key.
        #[n(0)]
        public: Ulong,
        /// The private key.
        #[n(1)]
        private: Ulong,
    },
    /// To [`Call::FindObjects`].
    #[n(6)]
    Found {
        /// The handles of this page.
        #[n(0)]
        handles: Vec<Ulong>,
        /// How many match in all.
        #[n(1)]
        total: u32,
    },
    /// To [`Call::GetAttributes`].
    #[n(7)]
    Attributes {
        /// In the order asked; those that may not be read or are absent are left out.
        #[n(0)]
        attributes: Vec<Attribute>,
        /// The users who own the key.
        #[n(1)]
        owners: Vec<String>,
        /// Those asked for that are sensitive.
        #[n(2)]
        sensitive: Vec<Ulong>,
    },
    /// A signature, a ciphertext or random bytes.
    #[n(8)]
    Bytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A plaintext.
    #[n(9)]
    Plaintext(#[n(0)] Secret),
}

/// Which HSM answers, and in what state its cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Info {
    /// [`VERSION`].
    #[n(0)]
    pub version: u32,
    /// The cluster.
    #[n(1)]
    pub cluster: String,
    /// The HSM.
    #[n(2)]
    pub hsm: String,
    /// `FIPS` or `NON_FIPS`.
    #[n(3)]
    pub mode: String,
    /// Whether the admin has a password.
    #[n(4)]
    pub activated: bool,
    /// All HSMs of the cluster that this host knows to be served.
    #[n(5)]
    pub hsms: Vec<String>,
}

/// A user as everyone may see him.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct User {
    /// Lower case.
    #[n(0)]
    pub user: String,
    /// The role.
    #[n(1)]
    pub role: Role,
    /// Whether five wrong passwords have locked him out.
    #[n(2)]
    pub locked: bool,
}

/// A mechanism with its parameter.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mechanism {
    /// CKM_…
    #[n(0)]
    pub mechanism: Ulong,
    /// Its parameter.
    #[n(1)]
    pub parameter: Parameter,
}

impl Mechanism {
    /// A mechanism that takes no parameter.
    pub const fn plain(mechanism: Ulong) -> Self {
        Self { mechanism, parameter: Parameter::None }
    }
}

/// The parameter of a mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Parameter {
    /// None.
    #[n(0)]
    None,
    /// CK_RSA_PKCS_PSS_PARAMS.
    #[n(1)]
    Pss {
        /// CKM_… of the hash.
        #[n(0)]
        hash: Ulong,
        /// CKG_MGF1_…
        #[n(1)]
        mgf: Ulong,
        /// Salt length in bytes.
        #[n(2)]
        salt: u32,
    },
    /// CK_GCM_PARAMS.
    #[n(2)]
    Gcm {
        /// The IV; for encryption without one the HSM draws 12 bytes and puts them before the ciphertext.
        #[cbor(n(0), with = "minicbor::bytes")]
        iv: Option<Vec<u8>>,
        /// Additional authenticated data.
        #[cbor(n(1), with = "minicbor::bytes")]
        aad: Vec<u8>,
        /// Bits of the tag.
        #[n(2)]
        tag_bits: u32,
    },
}

/// An attribute of a key: CKA_… and its value.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Attribute {
    /// CKA_…
    #[n(0)]
    pub kind: Ulong,
    /// Its value.
    #[n(1)]
    pub value: AttributeValue,
}

impl Attribute {
    /// A CK_BBOOL.
    pub const fn boolean(kind: Ulong, value: bool) -> Self {
        Self { kind, value: AttributeValue::Bool(value) }
    }
    /// A CK_ULONG.
    pub const fn ulong(kind: Ulong, value: Ulong) -> Self {
        Self { kind, value: AttributeValue::Ulong(value) }
    }
    /// Bytes.
    pub fn bytes(kind: Ulong, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: AttributeValue::Bytes(value.into()) }
    }
    /// Bytes that are a key's value.
    pub fn secret(kind: Ulong, value: Vec<u8>) -> Self {
        Self { kind, value: AttributeValue::Secret(Secret::new(value)) }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, Encode, Decode)]
pub enum AttributeValue {
    /// CK_BBOOL.
    #[n(0)]
    Bool(#[n(0)] bool),
    /// CK_ULONG.
    #[n(1)]
    Ulong(#[n(0)] Ulong),
    /// Bytes: labels, ids, moduli, points.
    #[n(2)]
    Bytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Bytes that must not be shown: a key's value on its way in or, where it is extractable, out.
    #[n(3)]
    Secret(#[n(0)] Secret),
}

/// Why an HSM refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// CKR_…
    #[n(0)]
    pub ckr: Ulong,
    /// The sentence for people: AWS's where one is known.
    #[n(1)]
    pub message: String,
}
