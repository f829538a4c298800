//! Owns who asks, and what a resource policy or a trust policy says of him.

use crate::arn::{is_account, is_arn};
use crate::fault::{Fault, Path};
use crate::json::Node;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// His account, 12 digits.
    pub account: String,
    /// The ARN of the user, of the session, or of the account's root.
    pub arn: String,
    /// What he is.
    pub kind: CallerKind,
}

/// What a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A user.
    User,
    /// A session of a role.
    RoleSession {
        /// The role's ARN.
        role_arn: String,
    },
    /// The root of the account.
    Root,
}

/// How a statement names a caller; what a grant is worth depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// By his account, which may then grant it to him.
    Account,
    /// By the role of his session.
    Role,
    /// Himself, or everyone.
    Directly,
}

/// `Principal` or `NotPrincipal`, compiled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Principals {
    pub negated: bool,
    list: Vec<Principal>,
}

#[derive(Clone, Debug, PartialEq)]
enum Principal {
    Everyone,
    Account(String),
    /// A user, a role or a session.
    Arn(String),
    /// A service, a federation or a canonical user: there are none here.
    Nobody,
}

impl Principals {
    pub(crate) fn compile(node: &Node, negated: bool, path: &Path<'_>) -> Result<Self, Fault> {
        let mut list = Vec::new();
        match node {
            Node::Text(text) if text == "*" => list.push(Principal::Everyone),
            Node::Object(members) => {
                for (kind, names) in members {
                    let path = path.member(kind);
                    let names = match names {
                        Node::List(names) => names.as_slice(),
                        name => std::slice::from_ref(name),
                    };
                    for (n, name) in names.iter().enumerate() {
                        list.push(Principal::compile(kind, name, &path.item(n))?);
                    }
                }
            }
            Node::Text(text) => {
                let what = format!("\"{text}\" is no principal. Say {{\"AWS\": \"{text}\"}}, or \"*\".");
                return Err(Fault::new(path, what));
            }
            other => {
                let what = format!("a principal is \"*\" or an object such as {{\"AWS\": …}}, not {}", other.kind());
                return Err(Fault::new(path, what));
            }
        }
        Ok(Self { negated, list })
    }

    /// How the statement names the caller, if it concerns him.
    pub(crate) fn names(&self, caller: &Caller) -> Option<Named> {
        let named = self.list.iter().filter_map(|principal| principal.names(caller)).max();
        if !self.negated {
            return named;
        }
        // Whoever is listed is spared, under whichever of his names.
        named.is_none().then_some(Named::Directly)
    }
}

impl Principal {
    fn compile(kind: &str, name: &Node, path: &Path<'_>) -> Result<Self, Fault> {
        let Node::Text(name) = name else {
            return Err(Fault::new(path, format!("a principal is named by a string, not by {}", name.kind())));
        };
        let fault = |what: &str| Err(Fault::new(path, format!("\"{name}\" {what}")));
        match kind {
            "AWS" if name == "*" => Ok(Self::Everyone),
            "Service" | "Federated" | "CanonicalUser" | "AWS" if name.contains(['*', '?']) => {
                fault("has a wildcard, which a principal cannot have")
            }
            "Service" | "Federated" | "CanonicalUser" => Ok(Self::Nobody),
            "AWS" if is_account(name) => Ok(Self::Account(name.clone())),
            "AWS" => {
                let parts: Vec<&str> = name.splitn(6, ':').collect();
                if !is_arn(name) || !is_account(parts[4]) || !parts[3].is_empty() {
                    return fault("is neither an account nor the ARN of a user, role or session");
                }
                match (parts[2], parts[5]) {
                    ("iam", "root") => Ok(Self::Account(parts[4].to_owned())),
                    ("iam", rest) if rest.starts_with("user/") || rest.starts_with("role/") => {
                        Ok(Self::Arn(name.clone()))
                    }
                    ("sts", rest) if rest.starts_with("assumed-role/") => Ok(Self::Arn(name.clone())),
                    ("sts", rest) if rest.starts_with("federated-user/") => Ok(Self::Nobody),
                    _ => fault("is neither an account nor the ARN of a user, role or session"),
                }
            }
            _ => fault(&format!("is under {kind}; there are AWS, Service, Federated and CanonicalUser")),
        }
    }

    fn names(&self, caller: &Caller) -> Option<Named> {
        match self {
            Self::Everyone => Some(Named::Directly),
            Self::Account(account) => (*account == caller.account).then_some(match caller.kind {
                // The account's root is the account itself.
                CallerKind::Root => Named::Directly,
                _ => Named::Account,
            }),
            Self::Arn(arn) if *arn == caller.arn => Some(Named::Directly),
            Self::Arn(arn) => match &caller.kind {
                CallerKind::RoleSession { role_arn } => (arn == role_arn).then_some(Named::Role),
                _ => None,
            },
            Self::Nobody => None,
        }
    }
}
