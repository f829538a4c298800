//! Owns the calls of an HSM as functions: [`Hsm`] has one method to implement, `call`, and one typed method for each
//! call and its answer. [`crate::Session`] implements it over the network; a test may implement it in memory.

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Attribute, Call, Info, Mechanism, Role, User};
use strongroom_link::pkcs11::Ulong;

use crate::error::Error;

/// A key's attributes as an HSM tells them.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// In the order asked; those that may not be read or are absent are left out.
    pub attributes: Vec<Attribute>,
    /// The users who own the key.
    pub owners: Vec<String>,
    /// Those asked for that are sensitive.
    pub sensitive: Vec<Ulong>,
}

/// One page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The handles of this page, ascending.
    pub handles: Vec<Ulong>,
    /// How many match in all.
    pub total: u32,
}

/// Something that answers the calls of an HSM. Every method fails as [`Hsm::call`] does.
#[allow(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Hsm {
    /// Makes one call.
    ///
    /// # Errors
    /// Any of [`Error`].
    fn call(&mut self, call: Call) -> Result<Answer, Error>;

    /// Which HSM this is.
    fn info(&mut self) -> Result<Info, Error> {
        match self.call(Call::Info)? {
            Answer::Info(info) => Ok(info),
            _ => Err(Error::Unexpected("Info")),
        }
    }

    /// Sets the admin's first password.
    fn activate(&mut self, password: Secret) -> Result<(), Error> {
        done(self.call(Call::Activate(password))?, "Activate")
    }

    /// Binds the session to a user, and gives his name as the HSM writes it.
    fn login(&mut self, user: &str, role: Role, password: Secret) -> Result<String, Error> {
        match self.call(Call::Login { user: user.into(), role, password })? {
            Answer::LoggedIn { user, .. } => Ok(user),
            _ => Err(Error::Unexpected("Login")),
        }
    }

    /// Unbinds the session.
    fn logout(&mut self) -> Result<(), Error> {
        done(self.call(Call::Logout)?, "Logout")
    }

    /// All users.
    fn list_users(&mut self) -> Result<Vec<User>, Error> {
        match self.call(Call::ListUsers)? {
            Answer::Users(users) => Ok(users),
            _ => Err(Error::Unexpected("ListUsers")),
        }
    }

    /// Makes a user.
    fn create_user(&mut self, user: &str, role: Role, password: Secret) -> Result<(), Error> {
        done(self.call(Call::CreateUser { user: user.into(), role, password })?, "CreateUser")
    }

    /// Removes a user.
    fn delete_user(&mut self, user: &str, role: Role) -> Result<(), Error> {
        done(self.call(Call::DeleteUser { user: user.into(), role })?, "DeleteUser")
    }

    /// Sets a user's password, which also unlocks him.
    fn change_password(&mut self, user: &str, role: Role, password: Secret) -> Result<(), Error> {
        done(self.call(Call::ChangePassword { user: user.into(), role, password })?, "ChangePassword")
    }

    /// Makes a secret key, and gives its handle.
    fn generate_key(&mut self, mechanism: Mechanism, template: Vec<Attribute>) -> Result<Ulong, Error> {
        object(self.call(Call::GenerateKey { mechanism, template })?, "GenerateKey")
    }

    /// Makes a key pair, and gives the handles of its public and private key.
    fn generate_key_pair(
        &mut self,
        mechanism: Mechanism,
        public: Vec<Attribute>,
        private: Vec<Attribute>,
    ) -> Result<(Ulong, Ulong), Error> {
        match self.call(Call::GenerateKeyPair { mechanism, public, private })? {
            Answer::Pair { public, private } => Ok((public, private)),
            _ => Err(Error::Unexpected("GenerateKeyPair")),
        }
    }

    /// Imports a key whose value is in the template, and gives its handle.
    fn create_object(&mut self, template: Vec<Attribute>) -> Result<Ulong, Error> {
        object(self.call(Call::CreateObject(template))?, "CreateObject")
    }

    /// One page of the keys that match all attributes.
    fn find_objects(&mut self, template: Vec<Attribute>, skip: u32, limit: u32) -> Result<Found, Error> {
        match self.call(Call::FindObjects { template, skip, limit })? {
            Answer::Found { handles, total } => Ok(Found { handles, total }),
            _ => Err(Error::Unexpected("FindObjects")),
        }
    }

    /// Attributes of a key; an empty list asks for all.
    fn get_attributes(&mut self, handle: Ulong, kinds: Vec<Ulong>) -> Result<Attributes, Error> {
        match self.call(Call::GetAttributes { handle, kinds })? {
            Answer::Attributes { attributes, owners, sensitive } => Ok(Attributes { attributes, owners, sensitive }),
            _ => Err(Error::Unexpected("GetAttributes")),
        }
    }

    /// Changes attributes of a key.
    fn set_attributes(&mut self, handle: Ulong, template: Vec<Attribute>) -> Result<(), Error> {
        done(self.call(Call::SetAttributes { handle, template })?, "SetAttributes")
    }

    /// Deletes a key.
    fn destroy_object(&mut self, handle: Ulong) -> Result<(), Error> {
        done(self.call(Call::DestroyObject(handle))?, "DestroyObject")
    }

    /// Signs.
    fn sign(&mut self, handle: Ulong, mechanism: Mechanism, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        bytes(self.call(Call::Sign { handle, mechanism, data })?, "Sign")
    }

    /// Verifies; a wrong signature is [`Error::Refused`] with CKR_SIGNATURE_INVALID.
    fn verify(&mut self, handle: Ulong, mechanism: Mechanism, data: Vec<u8>, signature: Vec<u8>) -> Result<(), Error> {
        done(self.call(Call::Verify { handle, mechanism, data, signature })?, "Verify")
    }

    /// Encrypts.
    fn encrypt(&mut self, handle: Ulong, mechanism: Mechanism, data: Secret) -> Result<Vec<u8>, Error> {
        bytes(self.call(Call::Encrypt { handle, mechanism, data })?, "Encrypt")
    }

    /// Decrypts.
    fn decrypt(&mut self, handle: Ulong, mechanism: Mechanism, data: Vec<u8>) -> Result<Secret, Error> {
        match self.call(Call::Decrypt { handle, mechanism, data })? {
            Answer::Plaintext(plaintext) => Ok(plaintext),
            _ => Err(Error::Unexpected("Decrypt")),
        }
    }

    /// Random bytes, at most 1 MiB.
    fn random(&mut self, length: u32) -> Result<Vec<u8>, Error> {
        bytes(self.call(Call::Random(length))?, "Random")
    }
}

fn done(answer: Answer, call: &'static str) -> Result<(), Error> {
    if matches!(answer, Answer::Done) { Ok(()) } else { Err(Error::Unexpected(call)) }
}

fn object(answer: Answer, call: &'static str) -> Result<Ulong, Error> {
    if let Answer::Object(handle) = answer { Ok(handle) } else { Err(Error::Unexpected(call)) }
}

fn bytes(answer: Answer, call: &'static str) -> Result<Vec<u8>, Error> {
    if let Answer::Bytes(bytes) = answer { Ok(bytes) } else { Err(Error::Unexpected(call)) }
}
