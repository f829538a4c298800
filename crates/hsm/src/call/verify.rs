//! Owns C_Verify, of one part.

use strongroom_link::hsm::{Answer, Failure, Mechanism};
use strongroom_link::pkcs11::{CKA_VERIFY, Ulong};

use crate::mechanism::SignatureMechanism;
use crate::session::Session;

pub(crate) fn verify(
    session: &Session,
    handle: Ulong,
    mechanism: &Mechanism,
    data: &[u8],
    signature: &[u8],
) -> Result<Answer, Failure> {
    let object = session.usable(handle, CKA_VERIFY)?;
    SignatureMechanism::read(mechanism)?.verify(object.key(), data, signature).map(|()| Answer::Done)
}
