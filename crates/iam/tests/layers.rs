//! How the layers combine, as one table: what each says, whom the resource's policy names, and what is decided. Source: the IAM
//! user guide, "Policy evaluation logic", and its pages on boundaries, sessions and cross-account access.

use strongroom_iam::{Caller, CallerKind, Context, Decision, Document, Kind, Policies, Request};

const ROLE: &str = "arn:aws:iam::111122223333:role/Restore";
const USER: &str = "arn:aws:iam::111122223333:user/alice";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/Restore/alice";

/// `caller  identity boundary session resource  owner => decision`. A layer is absent (`-`), grants it (`A`), denies it (`D`)
/// or says nothing of it (`0`); the resource's names the caller's account (`A:account`), his user or session (`A:self`), his
/// role (`A:role`), everybody (`A:*`), or denies. The decision is a layer's grant, its explicit deny, or its silence.
const TABLE: &str = "
user     A - - -          same    => allow by identity
user     0 - - -          same    => identity is silent
user     D - - -          same    => identity denies
user     A A - -          same    => allow by identity
user     A 0 - -          same    => boundary is silent
user     A D - -          same    => boundary denies
user     0 A - -          same    => identity is silent
session  A - - -          same    => allow by identity
session  A - A -          same    => allow by identity
session  A - 0 -          same    => session is silent
session  A - D -          same    => session denies
session  0 - A -          same    => identity is silent
session  A 0 A -          same    => boundary is silent
session  A A A -          same    => allow by identity
root     - - - -          same    => allow
root     - - - D:*        same    => resource denies

user     0 - - A:self     same    => allow by resource
user     0 0 - A:self     same    => allow by resource
user     0 D - A:self     same    => boundary denies
user     0 - - A:*        same    => allow by resource
user     0 - - A:account  same    => identity is silent
user     A - - A:account  same    => allow by identity
user     A 0 - A:account  same    => boundary is silent
user     A - - 0          same    => allow by identity
user     A - - D:*        same    => resource denies
user     0 - - D:self     same    => resource denies
session  0 - - A:self     same    => allow by resource
session  0 0 0 A:self     same    => allow by resource
session  0 - D A:self     same    => session denies
session  0 - - A:role     same    => allow by resource
session  0 - 0 A:role     same    => session is silent
session  0 0 - A:role     same    => boundary is silent
session  0 - A A:role     same    => allow by resource
session  0 - - A:account  same    => identity is silent

user     A - - -          other   => resource is silent
user     A - - 0          other   => resource is silent
user     A - - A:self     other   => allow by identity
user     0 - - A:self     other   => identity is silent
user     A 0 - A:self     other   => boundary is silent
user     D - - A:self     other   => identity denies
user     A - - D:self     other   => resource denies
user     A - - A:account  other   => allow by identity
user     A - - A:*        other   => allow by identity
user     0 - - A:*        other   => identity is silent
session  A - - A:role     other   => allow by identity
session  0 - - A:role     other   => identity is silent
session  A - 0 A:self     other   => session is silent
session  A - A A:self     other   => allow by identity
root     - - - A:account  other   => allow
root     - - - -          other   => resource is silent
";

#[test]
fn layers_combine_as_the_table_says() {
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let (said, expected) = line.split_once(" => ").unwrap();
        assert_eq!(decided(said), expected, "{line}");
    }
}

fn decided(said: &str) -> String {
    let [caller, identity, boundary, session, resource, owner] = said.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{said}");
    };
    let (arn, kind) = match caller {
        "session" => (SESSION, CallerKind::RoleSession { role_arn: ROLE.into() }),
        "root" => ("arn:aws:iam::111122223333:root", CallerKind::Root),
        _ => (USER, CallerKind::User),
    };
    let caller = Caller { account: "111122223333".into(), arn: arn.into(), kind };
    let resource_account = if owner == "same" { "111122223333" } else { "444455556666" };
    let of_caller = |says| document(says, Kind::Identity, arn);
    let (identity, boundary, session) = (of_caller(identity), of_caller(boundary), of_caller(session));
    let resource = document(resource, Kind::Resource, arn);
    let policies = Policies {
        identity: identity.as_slice(),
        boundary: boundary.as_ref(),
        session: session.as_ref().map(std::slice::from_ref),
        resource: resource.as_ref(),
        trust: None,
    };
    let decision = policies.decide(&Request {
        caller: &caller,
        action: "cloudhsm:DescribeBackups",
        resource: &format!("arn:aws:cloudhsm:us-east-1:{resource_account}:backup/backup-aaaaaaaaaaa"),
        resource_account,
        context: &Context::default(),
    });
    match decision {
        Decision::Allow(None) => "allow".to_owned(),
        Decision::Allow(Some(by)) => format!("allow by {:?}", by.layer).to_lowercase(),
        Decision::Deny(denial) => {
            let how = if denial.statement.is_some() { "denies" } else { "is silent" };
            format!("{:?} {how}", denial.layer).to_lowercase()
        }
    }
}

fn document(says: &str, kind: Kind, arn: &str) -> Option<Document> {
    let (effect, whom) = says.split_once(':').unwrap_or((says, "*"));
    let (effect, action) = match effect {
        "-" => return None,
        "A" => ("Allow", "cloudhsm:DescribeBackups"),
        "D" => ("Deny", "cloudhsm:DescribeBackups"),
        _ => ("Allow", "cloudhsm:DeleteBackup"),
    };
    let whom = match whom {
        "self" => format!(r#"{{"AWS":"{arn}"}}"#),
        "role" => format!(r#"{{"AWS":"{ROLE}"}}"#),
        "account" => r#"{"AWS":"111122223333"}"#.to_owned(),
        everybody => format!(r#""{everybody}""#),
    };
    let principal = if kind == Kind::Resource { format!(r#","Principal":{whom}"#) } else { String::new() };
    let statement = format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"*"{principal}}}"#);
    let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    Some(Document::parse(&text, kind).unwrap())
}
