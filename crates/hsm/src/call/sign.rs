//! Owns C_Sign, of one part. The key is used outside every lock.

use strongroom_link::hsm::{Answer, Failure, Mechanism};
use strongroom_link::pkcs11::{CKA_SIGN, Ulong};

use crate::mechanism::SignatureMechanism;
use crate::session::Session;

pub(crate) fn sign(session: &Session, handle: Ulong, mechanism: &Mechanism, data: &[u8]) -> Result<Answer, Failure> {
    let object = session.usable(handle, CKA_SIGN)?;
    SignatureMechanism::read(mechanism)?.sign(object.key(), data).map(Answer::Bytes)
}
