//! Owns users: their names, roles and records. A record's version is its row's: the head version that wrote it, so that a
//! new password, or a new user of an old name, has a higher one.

use minicbor::{Decode, Encode};
use strongroom_link::hsm::{Failure, Role};
use strongroom_link::pkcs11::CKR_ARGUMENTS_BAD;
use zeroize::Zeroizing;

use crate::password::PasswordHash;
use crate::refusal::refusal;

/// The first admin's name; the only one before activation.
pub const ADMIN: &str = "admin";

/// The appliance user's name.
pub const APPLIANCE_USER: &str = "app_user";

/// The longest name.
const NAME_MAX: usize = 31;

/// The version of the record's form.
const FORMAT: u32 = 1;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct User {
    #[n(0)]
    format: u32,
    /// Lower case.
    #[n(1)]
    pub name: String,
    /// The role.
    #[n(2)]
    pub role: Role,
    /// The hashed password; those who cannot log in have none.
    #[n(3)]
    pub password: Option<PasswordHash>,
    /// The head version that made the user: users are listed in its order.
    #[n(4)]
    pub made: u64,
}

/// The admin of a cluster that is not activated.
pub fn unactivated_admin() -> User {
    User { format: FORMAT, name: ADMIN.into(), role: Role::UnactivatedAdmin, password: None, made: 1 }
}

/// The appliance user, listed as on AWS; cannot log in.
pub fn appliance_user() -> User {
    User { format: FORMAT, name: APPLIANCE_USER.into(), role: Role::ApplianceUser, password: None, made: 1 }
}

impl User {
    /// A user who can log in.
    pub fn new(name: String, role: Role, password: PasswordHash, made: u64) -> Self {
        Self { format: FORMAT, name, role, password: Some(password), made }
    }

    /// The record, for sealing.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Growing would leave unwiped copies behind; a record is far shorter than this.
        let mut record = Zeroizing::new(Vec::with_capacity(256));
        minicbor::encode(self, &mut *record).expect("a vector takes any number of bytes");
        record
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(record: &[u8]) -> Result<Self, String> {
        let mut decoder = minicbor::Decoder::new(record);
        let user: Self = decoder.decode().map_err(|e| format!("the record of a user cannot be read: {e}"))?;
        if decoder.position() != record.len() {
            return Err("the record of a user has bytes after its end".into());
        }
        user.check()?;
        Ok(user)
    }

    /// Checks that the record is one that could have been made here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("the record of a user has the unknown form {}", self.format));
        }
        if normalized_name(&self.name).ok().as_deref() != Some(&self.name) {
            return Err("the record of a user has a name that is not permitted".into());
        }
        let can_log_in = matches!(self.role, Role::Admin | Role::CryptoUser);
        match &self.password {
            Some(hash) if can_log_in => hash.check(),
            None if !can_log_in => Ok(()),
            _ => Err(format!("user {} has a password or none against the role", self.name)),
        }
    }
}

/// The stored form of a name: lower case.
///
/// # Errors
/// A name that is empty, too long, or has a character outside a–z, A–Z, 0–9 and _, which the message names.
pub fn normalized_name(name: &str) -> Result<String, Failure> {
    let refuse = |message: String| Err(refusal(CKR_ARGUMENTS_BAD, message));
    if let Some(character) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        return refuse(format!(
            "The username contains {character:?}; only a-z, A-Z, 0-9 and _ are permitted. Choose another one."
        ));
    }
    match name.len() {
        0 => refuse("The username is empty.".into()),
        1..=NAME_MAX => Ok(name.to_ascii_lowercase()),
        length => refuse(format!("The username has {length} characters; at most {NAME_MAX} are permitted.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::{PasswordHasher, PasswordPolicy};
    use crate::seam::SystemRng;

    fn alice() -> User {
        let hasher = PasswordHasher::new(PasswordPolicy { memory_kib: 8, passes: 1, lanes: 1, at_once: 2 });
        let hash = hasher.hash(b"password1", &SystemRng).unwrap();
        User::new("alice".into(), Role::CryptoUser, hash, 7)
    }

    #[test]
    fn records_are_read_back() {
        for user in [alice(), unactivated_admin(), appliance_user()] {
            let record = user.encode();
            assert!(record.len() < 256);
            assert_eq!(User::decode(&record), Ok(user));
            for cut in 0..record.len() {
                assert!(User::decode(&record[..cut]).is_err());
            }
            let longer = [record.as_slice(), &[0]].concat();
            assert!(User::decode(&longer).is_err());
        }
    }

    #[test]
    fn records_that_nobody_makes_are_refused() {
        let refused = |change: fn(&mut User)| {
            let mut user = alice();
            change(&mut user);
            assert!(User::decode(&user.encode()).is_err(), "{user:?}");
        };
        refused(|user| user.name = "Alice".into());
        refused(|user| user.name = String::new());
        refused(|user| user.role = Role::ApplianceUser);
        refused(|user| user.password = None);
        refused(|user| user.format = 2);
    }

    #[test]
    fn names_are_lower_case_and_a_bad_character_is_named() {
        assert_eq!(normalized_name("Alice_01"), Ok("alice_01".into()));
        assert_eq!(normalized_name(&"x".repeat(31)), Ok("x".repeat(31)));
        assert!(normalized_name(&"x".repeat(32)).unwrap_err().message.contains("32 characters"));
        assert!(normalized_name("").is_err());
        assert!(normalized_name("al ice").unwrap_err().message.contains("' '"));
        assert!(normalized_name("al-ice").unwrap_err().message.contains("'-'"));
        assert!(normalized_name("älice").unwrap_err().message.contains("'ä'"));
    }
}
