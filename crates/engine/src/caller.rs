//! Owns who asks: what the front door has proved about a caller, what he may, and what travels with the call into rows and
//! logs.

use std::sync::Arc;

use strongroom_iam::{CallerKind, Document, Kind, Policies};
use strongroom_model::{AccountId, Tag, Timestamp};

/// An authenticated caller and his request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The principal's ARN.
    pub principal: String,
    /// The access key id.
    pub access_key: String,
    /// Where the request came from.
    pub source_ip: String,
    /// The id of this request, as the caller sees it in `x-amzn-RequestId`.
    pub request_id: String,
    /// `amz-sdk-invocation-id`: the same on each retry of one call of an SDK. Unsigned, and absent from other clients.
    pub invocation_id: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Whether the request came over TLS.
    pub is_secure: bool,
    /// What the principal may.
    pub authority: Arc<Authority>,
}

/// What a principal may, by the documents that apply to him, and what conditions may ask of him.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Who he is, as policies name him.
    pub caller: strongroom_iam::Caller,
    /// `AIDA…` of a user, `AROA…:session-name` of a session.
    pub user_id: String,
    /// The name of a user.
    pub user_name: Option<String>,
    /// His tags, or his role's and his session's.
    pub tags: Vec<Tag>,
    /// The policies of the user and his groups, or of the role.
    pub identity: Vec<Arc<Document>>,
    /// His permissions boundary.
    pub boundary: Option<Arc<Document>>,
    /// The session policies, if the session was given any.
    pub session: Option<Vec<Arc<Document>>>,
    /// When the session's credentials were given out; an access key of his own has no such time.
    pub token_issued_at: Option<Timestamp>,
}

impl Authority {
    /// A user who may do everything in his account.
    ///
    /// # Panics
    /// Never: the document is a constant.
    pub fn everything(account: &AccountId, arn: &str, user_id: &str) -> Arc<Self> {
        let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        let document = Document::parse(document, Kind::Identity).expect("it is a policy");
        Arc::new(Self {
            caller: strongroom_iam::Caller {
                account: account.as_str().to_owned(),
                arn: arn.to_owned(),
                kind: CallerKind::User,
            },
            user_id: user_id.to_owned(),
            user_name: arn.rsplit_once('/').map(|(_, name)| name.to_owned()),
            tags: Vec::new(),
            identity: vec![Arc::new(document)],
            boundary: None,
            session: None,
            token_issued_at: None,
        })
    }

    /// His own side of a decision; a resource's policy and a role's trust policy are for others to add.
    pub fn policies(&self) -> Policies<'_, Arc<Document>> {
        Policies {
            identity: &self.identity,
            boundary: self.boundary.as_deref(),
            session: self.session.as_deref(),
            resource: None,
            trust: None,
        }
    }
}
