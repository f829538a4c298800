//! Owns Activate: the admin's first password, once in a cluster's life. Nobody is logged in.

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Failure, Role};
use strongroom_link::pkcs11::CKR_ACTION_PROHIBITED;

use crate::cluster::{Cache, Change, Edit, RequestName};
use crate::refusal::refusal;
use crate::session::Session;
use crate::user::{ADMIN, User};

pub(crate) fn activate(session: &Session, name: &RequestName, password: &Secret) -> Result<Answer, Failure> {
    let cluster = &session.cluster;
    cluster.look(require_unactivated)?;
    let hash = cluster.passwords().hash(password.expose(), &*cluster.region().rng)?;
    cluster.write(name, None, &mut |cache| {
        require_unactivated(cache)?;
        let made = cache.user(ADMIN).map_or(cache.next_version(), |user| user.made);
        let admin = User::new(ADMIN.into(), Role::Admin, hash.clone(), made);
        Ok(Change {
            edits: vec![Edit::PutUser(admin)],
            unlocks: Some(ADMIN.into()),
            activates: true,
            answer: Answer::Done,
        })
    })
}

fn require_unactivated(cache: &Cache) -> Result<(), Failure> {
    match cache.is_activated() {
        false => Ok(()),
        true => Err(refusal(CKR_ACTION_PROHIBITED, "The cluster is activated already. Log in as admin.")),
    }
}
