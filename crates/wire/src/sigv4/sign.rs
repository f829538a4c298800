//! Owns signing: the headers that a client of ours adds to a request.

use strongroom_model::Timestamp;

use super::{ALGORITHM, Scope, SecretKey, SigningKey, TERMINATOR, canonical, sha256, string_to_sign};
use crate::front::Head;

/// Who signs, and for where.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The access key.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a SecretKey,
    /// The token of a session's credentials.
    pub session_token: Option<&'a str>,
    /// The region of the scope.
    pub region: &'a str,
    /// The signing name: `cloudhsm`.
    pub service: &'a str,
}

impl Signer<'_> {
    /// The headers to add to a request: `x-amz-date`, `x-amz-security-token` if there is a token, `authorization`. Every
    /// header that the head has is signed, so it holds `host` and none that is changed on the way.
    pub fn sign(&self, head: &Head<'_>, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
        let signed_at = now.basic();
        let mut added = vec![("x-amz-date", signed_at.clone())];
        added.extend(self.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
        let mut head = head.clone();
        head.headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));

        let mut names: Vec<String> = head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(";");
        let query = canonical::query(head.query, &[]);
        let request = canonical::request(&head, &query, &names, &sha256(body), true);

        let scope = Scope {
            date: signed_at[..8].to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
            terminator: TERMINATOR.to_owned(),
        };
        let key = SigningKey::derive(self.secret, &scope.date, &scope.region, &scope.service);
        let signature = data_encoding::HEXLOWER.encode(&key.sign(&string_to_sign(&signed_at, &scope, &request)));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        added.push(("authorization", authorization));
        added
    }
}
