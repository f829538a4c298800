//! Fuzz target of policy documents: whatever is parsed is evaluated too.

use strongroom_fuzz::{Target, word};
use strongroom_iam::{Caller, CallerKind, Context, Decision, Document, Kind, Policies, Request};

const SEEDS: [&str; 3] = [
    r#"{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"One","Effect":"Allow","Action":["cloudhsm:Copy*","sts:*"],"Resource":"arn:aws:cloudhsm:us-*:111122223333:backup/${aws:PrincipalTag/team, 'none'}*","Condition":{"ForAnyValue:StringNotLike":{"aws:TagKeys":["e?v*","${*}"]},"NumericLessThanEqualsIfExists":{"aws:MultiFactorAuthAge":300.5},"DateGreaterThan":{"aws:CurrentTime":["2026-11-24T09:30:00+01:00","1795512600"]}}}]}"#,
    r#"{"Statement":{"Effect":"Deny","NotAction":"*","NotResource":["*","arn:aws:cloudhsm:*"],"Condition":{"Null":{"aws:TokenIssueTime":true},"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"},"BinaryEquals":{"a:b":"YQ=="}}}}"#,
    r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*","111122223333","arn:aws:iam::111122223333:role/R"],"Service":"a.b"},"Action":"cloudhsm:DescribeBackups","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"TRUE"}}}]}"#,
];

#[test]
fn policies() {
    let caller = Caller {
        account: "111122223333".into(),
        arn: "arn:aws:sts::111122223333:assumed-role/R/session".into(),
        kind: CallerKind::RoleSession { role_arn: "arn:aws:iam::111122223333:role/R".into() },
    };
    let mut context = Context::default();
    for (key, value) in [
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:CurrentTime", "2026-11-24T09:30:00Z"),
        ("aws:PrincipalTag/team", "blue"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:role/R"),
        ("aws:MultiFactorAuthAge", "299"),
        ("a:b", "YQ=="),
    ] {
        context.set(key, value);
    }
    context.set_all("aws:TagKeys", vec!["env".into(), "team".into()]);
    let seeds = SEEDS.map(|text| text.as_bytes().to_vec()).to_vec();
    Target::new("policy", env!("CARGO_MANIFEST_DIR"), seeds).fuzz(|input| {
        let text = String::from_utf8_lossy(input);
        let of_kind = |kind| match Document::parse(&text, kind) {
            Err(fault) => word(&fault.text.chars().filter(|c| c.is_ascii_lowercase()).collect::<String>()),
            Ok(document) => {
                let policies = match kind {
                    Kind::Identity => Policies { identity: std::slice::from_ref(&document), ..Policies::default() },
                    Kind::Resource => Policies { resource: Some(&document), ..Policies::default() },
                    Kind::Trust => Policies { trust: Some(&document), ..Policies::default() },
                };
                let decision = policies.decide(&Request {
                    caller: &caller,
                    action: "cloudhsm:CopyBackupToRegion",
                    resource: "arn:aws:cloudhsm:us-east-1:111122223333:backup/blue-1",
                    resource_account: "111122223333",
                    context: &context,
                });
                let warnings = document.warnings().len().min(7) as u64;
                u64::from(matches!(decision, Decision::Allow(_))) | (warnings << 1)
            }
        };
        of_kind(Kind::Identity) ^ of_kind(Kind::Resource).rotate_left(21) ^ of_kind(Kind::Trust).rotate_left(42)
    });
}
