//! Owns where new keys go: into the cluster if CKA_TOKEN is true, else into the session. Handles are given here, derived
//! from the request, so that a repeat on another HSM makes the same.

use std::sync::Arc;

use strongroom_link::hsm::{Answer, Failure};
use strongroom_link::pkcs11::*;

use crate::cluster::{Change, Edit, RequestName};
use crate::object::{Object, derive_handle, is_handle};
use crate::refusal::refusal;
use crate::session::Session;

/// The most keys that one connection may hold besides the cluster's.
const SESSION_OBJECTS_MAX: usize = 4096;

/// Keeps one new key.
pub(super) fn one(session: &mut Session, name: &RequestName, object: Object) -> Result<Answer, Failure> {
    keep(session, name, &|handle| {
        let handle = handle(0)?;
        Ok((vec![object.clone().with_handle(handle)], Answer::Object(handle)))
    })
}

/// Keeps both halves of a new pair.
pub(super) fn pair(
    session: &mut Session,
    name: &RequestName,
    public: Object,
    private: Object,
) -> Result<Answer, Failure> {
    if public.flags().get(CKA_TOKEN) != private.flags().get(CKA_TOKEN) {
        let message = "Attribute token must be the same for both halves of a pair";
        return Err(refusal(CKR_TEMPLATE_INCONSISTENT, message));
    }
    keep(session, name, &|handle| {
        let (public_handle, private_handle) = (handle(0)?, handle(1)?);
        let public = public.clone().with_handle(public_handle);
        let private = private.clone().with_handle(private_handle).with_public(public_handle);
        Ok((vec![public, private], Answer::Pair { public: public_handle, private: private_handle }))
    })
}

/// Gives the objects of a request their handles: asks for the handle of the object with an index.
type Place<'a> = &'a dyn Fn(&dyn Fn(u8) -> Result<Ulong, Failure>) -> Result<(Vec<Object>, Answer), Failure>;

fn keep(session: &mut Session, name: &RequestName, place: Place<'_>) -> Result<Answer, Failure> {
    let login = session.crypto_user()?;
    let cluster = &session.cluster;
    let free_handle = |index: u8, is_taken: &dyn Fn(Ulong) -> bool| {
        (0..=u8::MAX)
            .map(|attempt| derive_handle(cluster.id(), &login.user, &name.id, index, attempt))
            .find(|handle| is_handle(*handle) && !is_taken(*handle))
            .ok_or_else(|| refusal(CKR_DEVICE_MEMORY, "No handle is free for the key. Use a new request id."))
    };
    let is_in_session = |handle| session.objects.contains_key(&handle);
    let (objects, answer) = cluster.look(|cache| {
        place(&|index| free_handle(index, &|handle| cache.object(handle).is_some() || is_in_session(handle)))
    })?;
    if objects.iter().any(|object| object.flags().get(CKA_TOKEN)) {
        return cluster.write(name, Some(login), &mut |cache| {
            let is_taken = |handle| cache.object(handle).is_some() || is_in_session(handle);
            let (objects, answer) = place(&|index| free_handle(index, &is_taken))?;
            let edits = objects.into_iter().map(|object| Edit::PutObject(Arc::new(object))).collect();
            Ok(Change::of(edits, answer))
        });
    }
    if session.objects.len() + objects.len() > SESSION_OBJECTS_MAX {
        let message = format!("The connection holds {SESSION_OBJECTS_MAX} session keys, the most it may. Delete some.");
        return Err(refusal(CKR_DEVICE_MEMORY, message));
    }
    session.objects.extend(objects.into_iter().map(|object| (object.handle(), Arc::new(object))));
    Ok(answer)
}
