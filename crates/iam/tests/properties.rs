//! What holds of every decision, whatever the documents: no Allow widens a Deny, no Deny opens anything, order means nothing.

use proptest::prelude::*;
use strongroom_iam::{Caller, CallerKind, Context, Decision, Document, Kind, Policies, Request};

const ACTIONS: [&str; 6] =
    ["*", "cloudhsm:*", "cloudhsm:Copy*", "cloudhsm:CopyBackupToRegion", "cloudhsm:TagResource", "kms:*"];
const RESOURCES: [&str; 5] = [
    "*",
    "arn:aws:cloudhsm:*:*:backup/*",
    "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-${aws:PrincipalTag/team}",
    "arn:aws:cloudhsm:us-east-1:111122223333:cluster/*",
    "arn:aws:cloudhsm:*",
];
const CONDITIONS: [&str; 6] = [
    "{}",
    r#"{"StringEquals":{"aws:RequestTag/env":"prod"}}"#,
    r#"{"StringNotEquals":{"aws:ResourceTag/env":"${aws:PrincipalTag/team}"}}"#,
    r#"{"ForAllValues:StringLike":{"aws:TagKeys":["e*"]}}"#,
    r#"{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"},"Bool":{"aws:SecureTransport":"true"}}"#,
    r#"{"Null":{"aws:TokenIssueTime":"true"}}"#,
];
const PRINCIPALS: [&str; 4] = [
    r#""*""#,
    r#"{"AWS":"111122223333"}"#,
    r#"{"AWS":"arn:aws:iam::111122223333:user/alice"}"#,
    r#"{"AWS":"arn:aws:iam::444455556666:role/Restore"}"#,
];

/// A statement by numbers into the tables.
#[derive(Clone, Debug)]
struct Drawn {
    is_deny: bool,
    action: usize,
    resource: usize,
    condition: usize,
    principal: usize,
    negated: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let numbers = (0..ACTIONS.len(), 0..RESOURCES.len(), 0..CONDITIONS.len(), 0..PRINCIPALS.len());
    (any::<bool>(), numbers, prop::bool::weighted(0.2)).prop_map(
        |(is_deny, (action, resource, condition, principal), negated)| Drawn {
            is_deny,
            action,
            resource,
            condition,
            principal,
            negated,
        },
    )
}

fn document(statements: &[Drawn], kind: Kind) -> Option<Document> {
    let text = |drawn: &Drawn| {
        let effect = if drawn.is_deny { "Deny" } else { "Allow" };
        let not = if drawn.negated { "Not" } else { "" };
        let (action, resource) = (ACTIONS[drawn.action], RESOURCES[drawn.resource]);
        let condition = CONDITIONS[drawn.condition];
        let principal = match kind {
            Kind::Identity => String::new(),
            _ => format!(r#""Principal":{},"#, PRINCIPALS[drawn.principal]),
        };
        format!(
            r#"{{"Effect":"{effect}",{principal}"{not}Action":"{action}","Resource":"{resource}","Condition":{condition}}}"#
        )
    };
    let texts: Vec<String> = statements.iter().map(text).collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, texts.join(","));
    (!statements.is_empty()).then(|| Document::parse(&text, kind).unwrap())
}

/// What each layer holds.
#[derive(Clone, Debug)]
struct Layers {
    identity: Vec<Drawn>,
    boundary: Vec<Drawn>,
    session: Vec<Drawn>,
    resource: Vec<Drawn>,
    is_foreign: bool,
    tags: u8,
}

fn layers() -> impl Strategy<Value = Layers> {
    let some = |most| prop::collection::vec(drawn(), 0..most);
    (some(4), some(3), some(3), some(4), any::<bool>(), any::<u8>()).prop_map(
        |(identity, boundary, session, resource, is_foreign, tags)| Layers {
            identity,
            boundary,
            session,
            resource,
            is_foreign,
            tags,
        },
    )
}

fn decide(layers: &Layers) -> Decision {
    let account = if layers.is_foreign { "444455556666" } else { "111122223333" };
    let caller =
        Caller { account: account.into(), arn: format!("arn:aws:iam::{account}:user/alice"), kind: CallerKind::User };
    let mut context = Context::default();
    context.set("aws:SourceIp", "203.0.113.10");
    context.set("aws:SecureTransport", if layers.tags & 1 == 0 { "true" } else { "false" });
    for (bit, key, value) in [
        (2, "aws:RequestTag/env", "prod"),
        (4, "aws:ResourceTag/env", "red"),
        (8, "aws:PrincipalTag/team", "red"),
        (16, "aws:TagKeys", "env"),
    ] {
        if layers.tags & bit != 0 {
            context.set(key, value);
        }
    }
    let identity = document(&layers.identity, Kind::Identity);
    let boundary = document(&layers.boundary, Kind::Identity);
    let session = document(&layers.session, Kind::Identity);
    let resource = document(&layers.resource, Kind::Resource);
    let policies = Policies {
        identity: identity.as_slice(),
        boundary: boundary.as_ref(),
        session: session.as_ref().map(std::slice::from_ref),
        resource: resource.as_ref(),
        trust: None,
    };
    policies.decide(&Request {
        caller: &caller,
        action: "cloudhsm:CopyBackupToRegion",
        resource: "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-red",
        resource_account: "111122223333",
        context: &context,
    })
}

fn is_allowed(layers: &Layers) -> bool {
    matches!(decide(layers), Decision::Allow(_))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_allow_widens_a_deny(layers in layers(), mut added in drawn(), at in 0_usize..4) {
        added.is_deny = false;
        let mut wider = layers.clone();
        [&mut wider.identity, &mut wider.boundary, &mut wider.session, &mut wider.resource][at].push(added);
        if let Decision::Deny(denial) = decide(&layers)
            && denial.statement.is_some()
        {
            prop_assert!(matches!(decide(&wider), Decision::Deny(denial) if denial.statement.is_some()));
        }
    }

    #[test]
    fn no_deny_opens_anything(layers in layers(), mut added in drawn(), at in 0_usize..4) {
        added.is_deny = true;
        let mut narrower = layers.clone();
        [&mut narrower.identity, &mut narrower.boundary, &mut narrower.session, &mut narrower.resource][at].push(added);
        prop_assert!(is_allowed(&layers) || !is_allowed(&narrower));
    }

    #[test]
    fn order_means_nothing(layers in layers()) {
        let mut reversed = layers.clone();
        for list in [&mut reversed.identity, &mut reversed.boundary, &mut reversed.session, &mut reversed.resource] {
            list.reverse();
        }
        prop_assert_eq!(is_allowed(&layers), is_allowed(&reversed));
    }
}
