//! Owns one connection to an HSM: who is logged in on it, its session objects, and the way of each request. In this order:
//! the login is dropped if its user changed; a changing request without an id, or by nobody, is refused; a repeated one gets
//! its first answer; then the call itself, which is in `call`.
//!
//! A session is used by one thread at a time; any number of sessions work side by side.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use strongroom_link::hsm::{Answer, Call, Failure, Request, Response, Role};
use strongroom_link::pkcs11::*;

use crate::call;
use crate::cluster::{Cluster, Login, RequestName};
use crate::object::Object;
use crate::refusal::refusal;
use crate::user::ADMIN;

/// One connection to one HSM.
pub struct Session {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) hsm: String,
    /// The client's address, for the log.
    pub(crate) from: String,
    pub(crate) login: Option<Login>,
    /// Keys with CKA_TOKEN false; they go with the login.
    pub(crate) objects: BTreeMap<Ulong, Arc<Object>>,
}

impl Session {
    /// A new connection to the HSM named `hsm`, by a client at the address `from`.
    pub fn new(cluster: Arc<Cluster>, hsm: impl Into<String>, from: impl Into<String>) -> Self {
        Self { cluster, hsm: hsm.into(), from: from.into(), login: None, objects: BTreeMap::new() }
    }

    /// Answers one request.
    pub fn answer(&mut self, request: Request) -> Response {
        match self.try_answer(request) {
            Ok(answer) => Response::Ok(answer),
            Err(failure) => Response::Failed(failure),
        }
    }

    fn try_answer(&mut self, Request { request_id, call }: Request) -> Result<Answer, Failure> {
        self.drop_void_login()?;
        if !call.is_mutating() {
            return self.read(call);
        }
        let name = self.name_request(request_id, &call)?;
        match self.cluster.replay(&name)? {
            Some(answer) => Ok(answer),
            None => self.change(&name, call),
        }
    }

    fn read(&mut self, call: Call) -> Result<Answer, Failure> {
        match call {
            Call::Info => call::info::info(self),
            Call::ListUsers => call::users::list(self),
            Call::Login { user, role, password } => call::login::login(self, &user, role, &password),
            Call::Present(ticket) => call::login::present(self, &ticket),
            Call::Logout => call::login::logout(self),
            Call::FindObjects { template, skip, limit } => call::find::find(self, &template, skip, limit),
            Call::GetAttributes { handle, kinds } => call::attributes::get(self, handle, &kinds),
            Call::Sign { handle, mechanism, data } => call::sign::sign(self, handle, &mechanism, &data),
            Call::Verify { handle, mechanism, data, signature } => {
                call::verify::verify(self, handle, &mechanism, &data, &signature)
            }
            Call::Encrypt { handle, mechanism, data } => call::encrypt::encrypt(self, handle, &mechanism, &data),
            Call::Decrypt { handle, mechanism, data } => call::encrypt::decrypt(self, handle, &mechanism, &data),
            Call::Random(length) => call::generate::random(self, length),
            _ => Err(not_supported()),
        }
    }

    fn change(&mut self, name: &RequestName, call: Call) -> Result<Answer, Failure> {
        match call {
            Call::Activate(password) => call::activate::activate(self, name, &password),
            Call::CreateUser { user, role, password } => call::users::create(self, name, &user, role, &password),
            Call::DeleteUser { user, role } => call::users::delete(self, name, &user, role),
            Call::ChangePassword { user, role, password } => {
                call::users::change_password(self, name, &user, role, &password)
            }
            Call::GenerateKey { mechanism, template } => call::generate::key(self, name, &mechanism, &template),
            Call::GenerateKeyPair { mechanism, public, private } => {
                call::generate::key_pair(self, name, &mechanism, &public, &private)
            }
            Call::CreateObject(template) => call::import::create_object(self, name, &template),
            Call::SetAttributes { handle, template } => call::attributes::set(self, name, handle, &template),
            Call::DestroyObject(handle) => call::destroy::destroy(self, name, handle),
            _ => Err(not_supported()),
        }
    }

    /// A user whose password changed, or who was deleted, is not logged in any more.
    fn drop_void_login(&mut self) -> Result<(), Failure> {
        let Some(login) = &self.login else { return Ok(()) };
        if !self.cluster.look(|cache| Ok(cache.is_current(login)))? {
            self.forget_login();
        }
        Ok(())
    }

    /// Ends the login, and the session objects with it.
    pub(crate) fn forget_login(&mut self) {
        self.login = None;
        self.objects.clear();
    }

    fn name_request(&self, id: Option<[u8; 16]>, call: &Call) -> Result<RequestName, Failure> {
        let user = match call {
            Call::Activate(_) => ADMIN.to_owned(),
            _ => self.login()?.user.clone(),
        };
        let message = "A request that changes something needs a request id. Repeat it with 16 random bytes.";
        let id = id.ok_or_else(|| refusal(CKR_ARGUMENTS_BAD, message))?;
        let encoded = strongroom_link::frame::encode(call)
            .map_err(|error| refusal(CKR_ARGUMENTS_BAD, format!("The request cannot be kept: {error}")))?;
        Ok(RequestName { user, id, digest: self.cluster.tickets().request_digest(&encoded) })
    }

    /// Who is logged in.
    pub(crate) fn login(&self) -> Result<&Login, Failure> {
        self.login.as_ref().ok_or_else(|| refusal(CKR_USER_NOT_LOGGED_IN, "Nobody is logged in. Log in first."))
    }

    /// Who is logged in, if he may use keys.
    pub(crate) fn crypto_user(&self) -> Result<&Login, Failure> {
        let login = self.login()?;
        match login.role {
            Role::CryptoUser => Ok(login),
            _ => {
                Err(refusal(CKR_ACTION_PROHIBITED, "An admin manages users and uses no keys. Log in as a crypto-user."))
            }
        }
    }

    /// Who is logged in, if he may manage users.
    pub(crate) fn admin(&self) -> Result<&Login, Failure> {
        let login = self.login()?;
        match login.role {
            Role::Admin => Ok(login),
            _ => Err(refusal(CKR_ACTION_PROHIBITED, "A crypto-user does not manage users. Log in as an admin.")),
        }
    }

    /// An object that the user may see: a session object, or one of the cluster's.
    pub(crate) fn object(&self, handle: Ulong) -> Result<Arc<Object>, Failure> {
        let login = self.login()?;
        if let Some(object) = self.objects.get(&handle) {
            return Ok(Arc::clone(object));
        }
        self.cluster.look(|cache| {
            let object = cache.object(handle).filter(|object| login.sees(object));
            object.cloned().ok_or_else(|| no_such_object(handle))
        })
    }

    /// An object that a crypto user uses: it must permit what `flag` stands for.
    pub(crate) fn usable(&self, handle: Ulong, flag: Ulong) -> Result<Arc<Object>, Failure> {
        self.crypto_user()?;
        let object = self.object(handle)?;
        if !object.flags().get(flag) {
            let name = crate::attribute::name_of(flag).unwrap_or_default();
            let message = format!("Key 0x{handle:016x} has attribute {name} set to false");
            return Err(refusal(CKR_KEY_FUNCTION_NOT_PERMITTED, message));
        }
        Ok(object)
    }
}

/// What a caller hears about a handle that is none, or none of his.
pub(crate) fn no_such_object(handle: Ulong) -> Failure {
    refusal(CKR_OBJECT_HANDLE_INVALID, format!("There is no key 0x{handle:016x} that the user may see"))
}

fn not_supported() -> Failure {
    refusal(CKR_FUNCTION_FAILED, "This HSM does not know the call. Is the client newer?")
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("hsm", &self.hsm)
            .field("cluster", &self.cluster.id())
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
