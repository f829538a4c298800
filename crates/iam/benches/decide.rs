//! What a decision costs for a caller with ten policies of twenty statements each. Target: 5 µs with all that a call adds
//! (the context made anew each time, too).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom_iam::{Caller, CallerKind, Context, Decision, Document, Kind, Policies, Request};

const BACKUP: &str = "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-abcdefghij2";

/// Ten policies of twenty statements, of which the last one allows.
fn documents(statement: impl Fn(usize) -> String) -> Vec<Document> {
    let document = |policy: usize| {
        let texts: Vec<String> = (0..20).map(|n| statement(20 * policy + n)).collect();
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, texts.join(","));
        Document::parse(&text, Kind::Identity).unwrap()
    };
    (0..10).map(document).collect()
}

/// As the door makes it for a copy.
fn context() -> Context<'static> {
    let mut context = Context::default();
    for (key, value) in [
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:user/alice"),
        ("aws:PrincipalAccount", "111122223333"),
        ("aws:PrincipalType", "User"),
        ("aws:userid", "AIDACKCEVSQ6C2EXAMPLE"),
        ("aws:username", "alice"),
        ("aws:CurrentTime", "2026-11-24T09:30:00Z"),
        ("aws:EpochTime", "1795512600"),
        ("aws:SourceIp", "203.0.113.10"),
        ("aws:SecureTransport", "true"),
        ("aws:RequestedRegion", "us-east-1"),
        ("aws:UserAgent", "aws-cli/2.9.19"),
        ("aws:PrincipalTag/team", "blue"),
        ("aws:ResourceTag/team", "blue"),
        ("aws:ResourceAccount", "111122223333"),
    ] {
        context.set(key, value);
    }
    context
}

fn decide(criterion: &mut Criterion) {
    let caller = Caller {
        account: "111122223333".into(),
        arn: "arn:aws:iam::111122223333:user/alice".into(),
        kind: CallerKind::User,
    };
    let allow = |action: &str, resource: &str, condition: &str| {
        format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}","Condition":{condition}}}"#)
    };
    let tags = r#"{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"},"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#;
    let other_actions = documents(|n| match n {
        199 => allow("cloudhsm:CopyBackupToRegion", BACKUP, tags),
        n => allow(&format!("ec2:Action{n}*"), "*", "{}"),
    });
    let other_resources = documents(|n| match n {
        199 => allow("cloudhsm:*", BACKUP, tags),
        n => allow("cloudhsm:*", &format!("arn:aws:cloudhsm:*:111122223333:backup/backup-{n}*"), tags),
    });
    for (name, documents) in [("other actions", other_actions), ("other resources", other_resources)] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let context = context();
                let policies = Policies { identity: &documents, ..Policies::default() };
                let request = Request {
                    caller: &caller,
                    action: "cloudhsm:CopyBackupToRegion",
                    resource: black_box(BACKUP),
                    resource_account: "111122223333",
                    context: &context,
                };
                assert!(matches!(policies.decide(&request), Decision::Allow(Some(_))));
            });
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
