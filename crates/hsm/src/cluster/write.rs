//! Owns the one way in which a cluster changes. In this order: the request id is looked up, so that a repeat gets the first
//! result; the change is decided on the cache; rows are sealed under the next head version; one transaction looks the
//! request up again, moves the head from the version that the cache has to the next, writes the rows, the outbox and the
//! request's result; the cache follows; the caller is answered.
//!
//! If another host moved the head meanwhile, all rows are read again and the change is decided anew. If the vault failed,
//! the cache is not trusted any more.

use std::sync::{Arc, PoisonError};

use strongroom_link::hsm::{Answer, Failure};
use strongroom_link::pkcs11::*;

use super::{Cache, Cluster, Kept, Login, State, lock, vault_failed};
use crate::head::Head;
use crate::object::Object;
use crate::refusal::refusal;
use crate::region::{ACTIVATED, CHANGED};
use crate::rows::{ClusterState, HeadRow, ObjectRow, RequestRow, RowsError, UserRow, VaultTx};
use crate::seal::RowKind;
use crate::user::User;

/// How often a change is tried when other hosts move the head.
const ATTEMPTS: u32 = 8;

/// How long the result of a request is kept, in milliseconds.
const RESULT_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// How many results that are past their time go with one write.
const SWEEP: u32 = 16;

/// A request that changes something.
pub(crate) struct RequestName {
    /// Whose request it is.
    pub(crate) user: String,
    /// The client's name for it.
    pub(crate) id: [u8; 16],
    /// A keyed digest of what is asked.
    pub(crate) digest: Vec<u8>,
}

/// A change that was decided.
pub(crate) struct Change {
    /// Rows to write or delete.
    pub(crate) edits: Vec<Edit>,
    /// A user whose tries are forgiven.
    pub(crate) unlocks: Option<String>,
    /// Whether it activates the cluster.
    pub(crate) activates: bool,
    /// What the caller is told, now and at each repeat; nothing secret.
    pub(crate) answer: Answer,
}

impl Change {
    /// A change of rows alone.
    pub(crate) fn of(edits: Vec<Edit>, answer: Answer) -> Self {
        Self { edits, unlocks: None, activates: false, answer }
    }
}

/// One row to write or delete.
pub(crate) enum Edit {
    /// Insert or replace a user.
    PutUser(User),
    /// Delete a user.
    DropUser(String),
    /// Insert or replace an object.
    PutObject(Arc<Object>),
    /// Delete an object.
    DropObject(Ulong),
}

/// An edit, ready for the transaction and the cache.
enum SealedEdit {
    PutUser(UserRow, Kept<User>),
    DropUser(String),
    PutObject(ObjectRow, Kept<Arc<Object>>),
    DropObject(Ulong),
}

/// A change, ready for the transaction and the cache.
struct SealedChange {
    edits: Vec<SealedEdit>,
    head: Head,
    head_row: HeadRow,
    epoch: u64,
    unlocks: Option<String>,
    activates: bool,
    answer: Answer,
    request_row: RequestRow,
    now: i64,
}

/// How a transaction ended.
enum Outcome {
    Committed,
    Repeated(RequestRow),
    HeadMoved,
    /// It would activate a cluster whose certificate is not installed yet.
    Uncertified,
    Gone,
}

impl Cluster {
    /// The answer that a request had earlier, if it had one.
    ///
    /// # Errors
    /// The request id was used for something else, or the vault failed.
    pub(crate) fn replay(&self, request: &RequestName) -> Result<Option<Answer>, Failure> {
        let mut row = None;
        self.region
            .rows
            .read(&mut |tx| {
                row = tx.request(&self.id, &request.user, &request.id)?;
                Ok(())
            })
            .map_err(|error| vault_failed(&error))?;
        row.map(|row| repeated(&row, request)).transpose()
    }

    /// Decides a change for a user who is still logged in as `login`, and makes it durable and visible. `decide` may be
    /// asked several times.
    ///
    /// # Errors
    /// What `decide` returns, or why nothing was changed.
    pub(crate) fn write(
        &self,
        request: &RequestName,
        login: Option<&Login>,
        decide: &mut dyn FnMut(&Cache) -> Result<Change, Failure>,
    ) -> Result<Answer, Failure> {
        let _writing = lock(&self.writing);
        for _ in 0..ATTEMPTS {
            let sealed = self.look_while_writing(|cache| {
                if login.is_some_and(|login| !cache.is_current(login)) {
                    return Err(no_longer_logged_in());
                }
                let change = decide(cache)?;
                Ok(self.seal(cache, change, request))
            })?;
            match self.commit(request, &sealed) {
                Ok(Outcome::Committed) => return Ok(self.apply(sealed)),
                Ok(Outcome::Repeated(row)) => return repeated(&row, request),
                Ok(Outcome::HeadMoved) => self.load().map_err(|error| vault_failed(&error))?,
                Ok(Outcome::Uncertified) => return Err(uncertified(&self.id)),
                Ok(Outcome::Gone) => self.put(State::Gone),
                Err(RowsError::Full) => return Err(vault_failed(&RowsError::Full)),
                Err(RowsError::Failed(cause)) => return self.after_failure(&cause, request),
            }
        }
        Err(refusal(CKR_FUNCTION_FAILED, "Nothing was changed: other HSMs change the cluster all the time. Try again."))
    }

    /// [`Cluster::look`] for who holds `writing` already.
    fn look_while_writing<T>(&self, look: impl FnOnce(&Cache) -> Result<T, Failure>) -> Result<T, Failure> {
        if matches!(*self.state(), State::Unknown) {
            self.load().map_err(|error| vault_failed(&error))?;
        }
        self.look(look)
    }

    fn seal(&self, cache: &Cache, change: Change, request: &RequestName) -> SealedChange {
        let mut head = cache.head.next();
        let edits = change.edits.into_iter().map(|edit| self.seal_edit(cache, &mut head, edit)).collect();
        let head_row = head.seal(&self.sealer, &*self.region.rng);
        let result = minicbor::to_vec(&change.answer).expect("a vector takes any number of bytes");
        SealedChange {
            edits,
            head,
            head_row,
            epoch: cache.epoch,
            unlocks: change.unlocks,
            activates: change.activates,
            answer: change.answer,
            request_row: RequestRow { input_digest: request.digest.clone(), result },
            now: self.region.clock.now_ms(),
        }
    }

    /// Seals one edit and moves the head's sum: the row that was there out, the new one in.
    fn seal_edit(&self, cache: &Cache, head: &mut Head, edit: Edit) -> SealedEdit {
        let (sealer, rng, version) = (&self.sealer, &*self.region.rng, head.version);
        let old_term = match &edit {
            Edit::PutUser(User { name, .. }) | Edit::DropUser(name) => cache.users.get(name).map(|kept| kept.term),
            Edit::PutObject(object) => cache.objects.get(&object.handle()).map(|kept| kept.term),
            Edit::DropObject(handle) => cache.objects.get(handle).map(|kept| kept.term),
        };
        if let Some(term) = old_term {
            head.remove(term);
        }
        match edit {
            Edit::PutUser(user) => {
                let id = user.name.as_bytes();
                let sealed = sealer.seal(RowKind::User, id, version, &user.encode(), rng);
                let term = sealer.term(RowKind::User, id, version, &sealed);
                head.add(term);
                let row = UserRow { user: user.name.clone(), version, sealed };
                SealedEdit::PutUser(row, Kept { value: user, version, term })
            }
            Edit::PutObject(object) => {
                let id = object.row_id();
                let sealed = sealer.seal(RowKind::Object, &id, version, &object.encode(), rng);
                let term = sealer.term(RowKind::Object, &id, version, &sealed);
                head.add(term);
                let row = ObjectRow { object: object.handle(), version, sealed };
                SealedEdit::PutObject(row, Kept { value: object, version, term })
            }
            Edit::DropUser(name) => SealedEdit::DropUser(name),
            Edit::DropObject(handle) => SealedEdit::DropObject(handle),
        }
    }

    fn commit(&self, request: &RequestName, sealed: &SealedChange) -> Result<Outcome, RowsError> {
        let mut outcome = Outcome::HeadMoved;
        self.region.rows.write(&mut |tx| {
            outcome = self.commit_in(tx, request, sealed)?;
            Ok(())
        })?;
        Ok(outcome)
    }

    fn commit_in(
        &self,
        tx: &mut dyn VaultTx,
        request: &RequestName,
        sealed: &SealedChange,
    ) -> Result<Outcome, RowsError> {
        if let Some(row) = tx.request(&self.id, &request.user, &request.id)? {
            return Ok(Outcome::Repeated(row));
        }
        let Some(mut cluster) = tx.cluster(&self.id)?.filter(|row| row.state != ClusterState::Destroyed) else {
            return Ok(Outcome::Gone);
        };
        if sealed.activates && cluster.state == ClusterState::Made {
            return Ok(Outcome::Uncertified);
        }
        if cluster.epoch != sealed.epoch || !tx.compare_and_set_head(&self.id, &sealed.head_row)? {
            return Ok(Outcome::HeadMoved);
        }
        for edit in &sealed.edits {
            match edit {
                SealedEdit::PutUser(row, _) => tx.put_user(&self.id, sealed.epoch, row)?,
                SealedEdit::PutObject(row, _) => tx.put_object(&self.id, sealed.epoch, row)?,
                SealedEdit::DropUser(name) => {
                    tx.delete_user(&self.id, sealed.epoch, name)?;
                }
                SealedEdit::DropObject(handle) => {
                    tx.delete_object(&self.id, sealed.epoch, *handle)?;
                }
            }
        }
        if let Some(user) = &sealed.unlocks {
            tx.clear_login(&self.id, user)?;
        }
        let version = sealed.head.version.to_string();
        if sealed.activates {
            cluster.state = ClusterState::Active;
            tx.put_cluster(&cluster)?;
            tx.put_outbox(&self.id, ACTIVATED, &version)?;
        }
        tx.put_outbox(&self.id, CHANGED, &version)?;
        tx.sweep_requests(sealed.now, SWEEP)?;
        let expires_at = sealed.now + RESULT_LIFETIME_MS;
        tx.put_request(&self.id, &request.user, &request.id, &sealed.request_row, expires_at)?;
        Ok(Outcome::Committed)
    }

    /// Makes a committed change visible.
    fn apply(&self, sealed: SealedChange) -> Answer {
        self.region.accept_head(&self.id, None, &sealed.head).expect("it is held against no other head");
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Serving(cache) = &mut *state {
            cache.head = sealed.head;
            cache.is_activated |= sealed.activates;
            for edit in sealed.edits {
                match edit {
                    SealedEdit::PutUser(row, kept) => {
                        cache.users.insert(row.user, kept);
                    }
                    SealedEdit::PutObject(row, kept) => {
                        cache.objects.insert(row.object, kept);
                    }
                    SealedEdit::DropUser(name) => {
                        cache.users.remove(&name);
                    }
                    SealedEdit::DropObject(handle) => {
                        cache.objects.remove(&handle);
                    }
                }
            }
        }
        drop(state);
        self.region.bell.ring();
        sealed.answer
    }

    /// Whether a commit that failed took effect is looked up; if that fails too, the caller must ask again.
    fn after_failure(&self, cause: &str, request: &RequestName) -> Result<Answer, Failure> {
        tracing::error!(cluster = self.id, cause, "the vault failed to commit");
        self.put(State::Unknown);
        match self.replay(request) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(vault_failed(&RowsError::Failed(cause.to_owned()))),
            Err(_) => Err(refusal(
                CKR_DEVICE_ERROR,
                "The HSM's vault failed, and whether the change was made is not known. Repeat the same request.",
            )),
        }
    }
}

/// The stored answer, if the request is the same.
fn repeated(row: &RequestRow, request: &RequestName) -> Result<Answer, Failure> {
    if row.input_digest != request.digest {
        return Err(refusal(CKR_ARGUMENTS_BAD, "The request id was used for another request. Use a new one."));
    }
    minicbor::decode(&row.result).map_err(|error| {
        tracing::error!(%error, "a stored result cannot be read");
        refusal(CKR_GENERAL_ERROR, "The stored result of this request cannot be read.")
    })
}

fn uncertified(cluster: &str) -> Failure {
    let message = format!("{cluster} has no certificate yet. Sign its CSR and call InitializeCluster.");
    refusal(CKR_ACTION_PROHIBITED, message)
}

/// What a user hears whose password changed, or who was deleted, since he logged in.
pub(crate) fn no_longer_logged_in() -> Failure {
    refusal(CKR_USER_NOT_LOGGED_IN, "The user's password was changed or the user deleted. Log in again.")
}
