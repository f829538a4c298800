//! Runs the SigV4 cases of aws-c-auth, each signed by header and by query: all verify, no mutation of one does, and our own
//! signer makes the same signatures.
#![allow(missing_docs, reason = "test code")]

mod common;

use serde_json::Value as Json;
use strongroom_model::{ErrorKind, Timestamp};
use strongroom_wire::sigv4::{self, Expected, SecretKey, Signer};
use strongroom_wire::{Head, Verified};

use common::{text, vectors};

/// A request as it stands in the vectors, mutable part by part.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn parse(raw: &str) -> Self {
        let (head, body) = raw.split_once("\n\n").unwrap_or((raw.trim_end_matches('\n'), ""));
        let mut lines = head.split('\n');
        let first = lines.next().unwrap();
        let (method, rest) = first.split_once(' ').unwrap();
        let (target, _) = rest.rsplit_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match line.split_once(':') {
                Some((name, value)) if !line.starts_with(' ') => headers.push((name.into(), value.into())),
                _ => {
                    let folded = headers.last_mut().unwrap();
                    folded.1 = format!("{}\n{line}", folded.1);
                }
            }
        }
        Self { method: method.into(), path: path.into(), query: query.into(), headers, body: body.into() }
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: self.headers.iter().map(|(n, v)| (&**n, &**v)).collect(),
        }
    }
}

struct Context {
    name: String,
    secret: SecretKey,
    access_key_id: String,
    region: String,
    service: String,
    token: Option<String>,
    omit_session_token: bool,
    normalize_path: bool,
}

impl Context {
    fn of(case: &Json) -> Self {
        let context = &case["context"];
        let credentials = &context["credentials"];
        assert_eq!(context["timestamp"], "2015-08-30T12:36:00Z");
        Self {
            name: text(&case["name"]),
            secret: SecretKey::new(text(&credentials["secret_access_key"])),
            access_key_id: text(&credentials["access_key_id"]),
            region: text(&context["region"]),
            service: text(&context["service"]),
            token: credentials["token"].as_str().map(str::to_owned),
            omit_session_token: context["omit_session_token"] == true,
            normalize_path: context["normalize"] == true,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_basic("20150830T123600Z").unwrap()
    }

    fn verify(&self, request: &Request) -> Result<Verified, strongroom_model::ApiError> {
        let head = request.head();
        let claim = sigv4::parse(&head)?;
        let expected = Expected { service: &self.service, now: Self::now(), normalize_path: self.normalize_path };
        claim.verify(&head, request.body.as_bytes(), &claim.signing_key(&self.secret), &expected)
    }
}

#[test]
fn every_case_verifies_by_header_and_by_query() {
    let Some(cases) = vectors("sigv4.json") else { return };
    let mut verified = 0;
    for case in cases.as_array().unwrap() {
        let context = Context::of(case);
        for form in ["header-signed-request", "query-signed-request"] {
            let proof = context.verify(&Request::parse(&text(&case[form]))).unwrap_or_else(|e| {
                panic!("{} {form}: {e}\n{}", context.name, text(&case[form]));
            });
            assert_eq!(proof.access_key_id(), context.access_key_id);
            assert_eq!(proof.region(), context.region);
            assert_eq!(proof.session_token(), context.token.as_deref(), "{} {form}", context.name);
            verified += 1;
        }
    }
    assert_eq!(verified, 76);
}

#[test]
fn no_mutation_verifies() {
    let Some(cases) = vectors("sigv4.json") else { return };
    let mut refused = 0;
    for case in cases.as_array().unwrap() {
        let context = Context::of(case);
        for form in ["header-signed-request", "query-signed-request"] {
            let request = Request::parse(&text(&case[form]));
            for (what, mutant) in mutants(&request, &context) {
                assert_ne!(mutant, request, "{} {form}: {what} changes nothing", context.name);
                let Err(error) = context.verify(&mutant) else {
                    panic!("{} {form}: {what} is not noticed", context.name);
                };
                assert_eq!(error.kind(), refusal_of(&what), "{} {form}: {what}: {error}", context.name);
                refused += 1;
            }
            let other = Context { secret: SecretKey::new("other"), ..Context::of(case) };
            assert_eq!(other.verify(&request).unwrap_err().kind(), ErrorKind::InvalidSignature);
        }
    }
    assert!(refused > 700, "{refused}");
}

/// What a mutation is refused with: what is gone is missing, what is there but other is wrong.
fn refusal_of(what: &str) -> ErrorKind {
    let (is_gone, what) = what.strip_prefix("no ").map_or((false, what), |what| (true, what));
    match (is_gone, what.split('=').next().unwrap()) {
        (true, "header Authorization" | "parameter X-Amz-Algorithm") => ErrorKind::MissingAuthenticationToken,
        (true, "header X-Amz-Date") | (false, "parameter X-Amz-Algorithm") => ErrorKind::IncompleteSignature,
        (true, "parameter X-Amz-Security-Token") => ErrorKind::InvalidSignature,
        (true, part) if part.starts_with("parameter X-Amz-") => ErrorKind::IncompleteSignature,
        _ => ErrorKind::InvalidSignature,
    }
}

fn mutants(request: &Request, context: &Context) -> Vec<(String, Request)> {
    let mut mutants = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut Request)| {
        let mut mutant = request.clone();
        change(&mut mutant);
        mutants.push((what, mutant));
    };
    add("method".into(), &|r| r.method = "PUT".into());
    add("path".into(), &|r| r.path += "x");
    add("another parameter".into(), &|r| r.query += "&x=y");
    add("body".into(), &|r| r.body += "x");
    let signed_by_header = !request.query.contains("X-Amz-Signature");
    if signed_by_header {
        add("a parameter of the other form".into(), &|r| r.query += "&X-Amz-Signature=0");
    }
    add("another header X-Amz-Other".into(), &|r| r.headers.push(("X-Amz-Other".into(), "x".into())));
    for (i, (name, value)) in request.headers.iter().enumerate() {
        let unsigned = name == "X-Amz-Security-Token" && context.omit_session_token;
        if unsigned {
            continue;
        }
        add(format!("header {name}"), &|r| r.headers[i].1 += "x");
        add(format!("no header {name}"), &|r| drop(r.headers.remove(i)));
        if name == "Authorization" {
            for part in ["AKIDEXAMPLE/2015", "us-east-1", "service", "aws4_request", "SignedHeaders=host", "Signature="]
            {
                if value.contains(part) {
                    let changed = value.replacen(part, &format!("{part}0"), 1);
                    add(format!("authorization's {part}"), &|r| r.headers[i].1 = changed.clone());
                }
            }
        } else {
            add(format!("twice header {name}"), &|r| r.headers.push((name.clone(), "x".into())));
        }
    }
    if !signed_by_header {
        let parameters: Vec<&str> = request.query.split('&').collect();
        for (i, parameter) in parameters.iter().enumerate() {
            if parameter.starts_with("X-Amz-Security-Token") && context.omit_session_token {
                continue;
            }
            let changed = |new: String| {
                let mut all: Vec<String> = parameters.iter().map(|p| (*p).to_owned()).collect();
                all[i] = new;
                all.join("&")
            };
            add(format!("parameter {parameter}"), &|r| r.query = changed(format!("{parameter}0")));
            let rest = parameters.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, p)| *p).collect::<Vec<_>>();
            add(format!("no parameter {parameter}"), &|r| r.query = rest.join("&"));
        }
    }
    mutants
}

#[test]
fn our_signer_signs_alike() {
    let Some(cases) = vectors("sigv4.json") else { return };
    let mut signed = 0;
    for case in cases.as_array().unwrap() {
        let context = Context::of(case);
        if !context.normalize_path || context.omit_session_token {
            continue;
        }
        let mut request = Request::parse(&text(&case["header-signed-request"]));
        request.headers.retain(|(n, _)| !["Authorization", "X-Amz-Date", "X-Amz-Security-Token"].contains(&n.as_str()));
        let signer = Signer {
            access_key_id: &context.access_key_id,
            secret: &context.secret,
            session_token: context.token.as_deref(),
            region: &context.region,
            service: &context.service,
        };
        let added = signer.sign(&request.head(), request.body.as_bytes(), Context::now());
        let (_, authorization) = added.iter().find(|(name, _)| *name == "authorization").unwrap();
        assert!(authorization.ends_with(&text(&case["header-signature"])), "{}: {authorization}", context.name);
        request.headers.extend(added.into_iter().map(|(n, v)| (n.to_owned(), v)));
        assert!(context.verify(&request).is_ok(), "{}", context.name);
        signed += 1;
    }
    assert_eq!(signed, 30);
}
