//! Owns sessions: whoever presents a token presents all that is known of the session, sealed, so that nothing is stored and
//! nothing need be cleaned up. Its secret is in it, hence a token proves nothing without a signature.
//!
//! A token ends by its expiry, or with the user or the role that it is of: ids are compared, not only names.

use std::borrow::Cow;

use data_encoding::{BASE32_NOPAD, BASE64};
use serde::{Deserialize, Serialize};
use strongroom_model::Timestamp;
use strongroom_wire::sigv4::SecretKey;
use zeroize::Zeroizing;

use super::seal::{IdentityKey, SealError, Sealed};
use crate::seams::random;

/// What the access key id of every session begins with.
pub(super) const PREFIX: &str = "ASIA";

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// A user's.
    User {
        /// His ARN.
        arn: String,
        /// His unique id.
        id: String,
    },
    /// A role's.
    Role {
        /// The role's ARN.
        arn: String,
        /// The role's unique id.
        id: String,
        /// What whoever assumed it called it.
        session_name: String,
    },
}

/// What a session is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whose it is.
    pub who: Who,
    /// When it begins, in milliseconds since 1970.
    pub issued: i64,
    /// From when on it is refused, in milliseconds since 1970.
    pub expires: i64,
    /// The session policies, if it was given any.
    pub policies: Option<Vec<String>>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// The keys of those that pass on to a session that it makes.
    pub transitive: Vec<String>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

/// The credentials of a session.
#[derive(Debug)]
pub struct Issued {
    /// `ASIA…`
    pub access_key_id: String,
    /// Its secret.
    pub secret: SecretKey,
    /// What must come along with each request.
    pub token: String,
    /// From when on they are refused.
    pub expires: Timestamp,
}

/// What is in a token.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    access_key_id: &'a str,
    secret: &'a str,
    grant: Cow<'a, Grant>,
}

/// Makes the credentials of a session.
///
/// # Errors
/// [`SealError::Key`]
pub(super) fn issue(key: &IdentityKey, grant: &Grant) -> Result<Issued, SealError> {
    let access_key_id = format!("{PREFIX}{}", key_id());
    let secret = secret();
    let length = grant.policies.iter().flatten().map(String::len).sum::<usize>() * 2 + 64 * 1024;
    // Large enough that it never moves and leaves a secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    let content = Content { access_key_id: &access_key_id, secret: secret.expose(), grant: Cow::Borrowed(grant) };
    serde_json::to_writer(&mut *text, &content).expect("strings and numbers are JSON");
    let token = key.seal(Sealed::Session, &text)?;
    Ok(Issued { access_key_id, secret, token, expires: Timestamp::from_millis(grant.expires) })
}

/// Opens the token of these credentials; `None` if it is no token of ours, or another key's.
///
/// # Errors
/// [`SealError::Key`]
pub(super) fn open(
    key: &IdentityKey,
    access_key_id: &str,
    token: &str,
) -> Result<Option<(SecretKey, Grant)>, SealError> {
    let text = match key.open(Sealed::Session, token) {
        Ok(text) => text,
        Err(SealError::NotSealed | SealError::NoKey(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = serde_json::from_slice::<Content<'_>>(&text).ok();
    let content = content.filter(|content| content.access_key_id == access_key_id);
    Ok(content.map(|content| (SecretKey::new(content.secret), content.grant.into_owned())))
}

/// Sixteen letters and digits after the prefix of an access key id.
pub(super) fn key_id() -> String {
    BASE32_NOPAD.encode(&random::<10>())
}

/// A new secret: 40 characters.
pub(super) fn secret() -> SecretKey {
    let bytes = Zeroizing::new(random::<30>());
    SecretKey::new(BASE64.encode(&*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn grant() -> Grant {
        Grant {
            who: Who::Role {
                arn: "arn:aws:iam::111122223333:role/r".into(),
                id: "AROA".into(),
                session_name: "s".into(),
            },
            issued: 1_000,
            expires: 2_000,
            policies: Some(vec!["{\"quoted\"}".into()]),
            tags: vec![("k".into(), "v".into())],
            transitive: vec!["k".into()],
            source_identity: None,
        }
    }

    #[test]
    fn a_token_is_its_own_keys_and_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let key = IdentityKey::at(folder.path().join("identity"));
        assert!(open(&key, "ASIA", "AAAA").unwrap().is_none());
        let [one, two] = [issue(&key, &grant()).unwrap(), issue(&key, &grant()).unwrap()];
        assert_eq!((one.access_key_id.len(), one.secret.expose().len()), (20, 40));
        let (secret, read) = open(&key, &one.access_key_id, &one.token).unwrap().unwrap();
        assert_eq!((secret.expose(), read), (one.secret.expose(), grant()));
        assert!(open(&key, &two.access_key_id, &one.token).unwrap().is_none());
        let mut changed = one.token.clone().into_bytes();
        changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
        assert!(open(&key, &one.access_key_id, std::str::from_utf8(&changed).unwrap()).unwrap().is_none());
        let other = IdentityKey::at(folder.path().join("other"));
        issue(&other, &grant()).unwrap();
        assert!(open(&other, &one.access_key_id, &one.token).unwrap().is_none());
    }
}
