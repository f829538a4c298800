//! Owns C_DestroyObject: the owner deletes a key, for good. The other half of a pair stays.

use strongroom_link::hsm::{Answer, Failure};
use strongroom_link::pkcs11::*;

use crate::cluster::{Change, Edit, Login, RequestName};
use crate::object::Object;
use crate::refusal::refusal;
use crate::session::{Session, no_such_object};

pub(crate) fn destroy(session: &mut Session, name: &RequestName, handle: Ulong) -> Result<Answer, Failure> {
    let login = session.crypto_user()?;
    if let Some(object) = session.objects.get(&handle) {
        require_destroyable(object, login)?;
        session.objects.remove(&handle);
        return Ok(Answer::Done);
    }
    session.cluster.write(name, Some(login), &mut |cache| {
        let object = cache.object(handle).filter(|object| login.sees(object)).ok_or_else(|| no_such_object(handle))?;
        require_destroyable(object, login)?;
        Ok(Change::of(vec![Edit::DropObject(handle)], Answer::Done))
    })
}

fn require_destroyable(object: &Object, login: &Login) -> Result<(), Failure> {
    let handle = object.handle();
    if !login.owns(object) {
        return Err(refusal(CKR_ACTION_PROHIBITED, format!("Only the owner of key 0x{handle:016x} may delete it")));
    }
    if !object.flags().get(CKA_DESTROYABLE) {
        let message = format!("Key 0x{handle:016x} has attribute destroyable set to false");
        return Err(refusal(CKR_ACTION_PROHIBITED, message));
    }
    Ok(())
}
