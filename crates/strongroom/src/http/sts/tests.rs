use super::*;

#[test]
fn forms_and_queries_are_for_it() {
    let head = |content_type| Head {
        method: "POST",
        path: "/",
        query: "",
        headers: vec![("Content-Type", content_type), ("x", "y")],
    };
    assert!(is_asked(&head("application/x-www-form-urlencoded; charset=utf-8")));
    assert!(!is_asked(&head("application/x-amz-json-1.1")));
    assert!(!is_asked(&Head { method: "GET", ..head(FORM) }));
    assert!(is_asked(&Head { method: "GET", query: "Action=GetCallerIdentity&Version=2011-06-15", ..head("") }));
}

#[test]
fn errors_have_the_names_of_the_query_protocol() {
    let error = ApiError::new(ErrorKind::UnrecognizedClient, "a < b & \"c\"");
    let answer = message(None, Err(error.into()), "id");
    assert_eq!(answer.status, 403);
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("<Type>Sender</Type><Code>InvalidClientTokenId</Code>"), "{body}");
    assert!(body.contains("<Message>a &#60; b &#38; &#34;c&#34;</Message>"), "{body}");
}

const NOW: Timestamp = Timestamp::from_millis(1_795_511_647_112);
const ROLE: &str = "arn:aws:iam::000000000000:role/r";

/// Identities of which `test` may assume `r` if the trust policy's condition holds.
struct Desk {
    _folder: tempfile::TempDir,
    identities: Identities,
}

impl Desk {
    fn new(actions: &str, condition: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = crate::layout::Layout::new(folder.path().join("data"));
        std::fs::create_dir_all(layout.identity()).unwrap();
        let file = format!(
            r#"{{"format":"strongroom.account/1","account":"000000000000","roles":[{{"name":"r","id":"AROAAAAAAAAAAAAAAAAAA",
            "managed_policies":["AdministratorAccess"],"trust":{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",
            "Principal":{{"AWS":"000000000000"}},"Action":{actions},"Condition":{condition}}}}}}}]}}"#
        );
        std::fs::write(layout.identity().join("000000000000.json"), file).unwrap();
        Self { identities: Identities::read(&layout).unwrap(), _folder: folder }
    }

    fn test(&self) -> std::sync::Arc<Principal> {
        self.identities.find("test", None, NOW).unwrap().unwrap()
    }

    fn assume(&self, principal: &Principal, more: &str) -> Result<String, StsError> {
        let form = format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=s1{more}");
        let asking = Asking {
            principal,
            identities: &self.identities,
            now: NOW,
            source_ip: "10.0.0.1",
            is_secure: false,
            user_agent: None,
        };
        assume_role::answer(&asking, "us-east-1", &Parameters::parse(form.as_bytes()))
    }

    fn refusal(&self, principal: &Principal, more: &str) -> (&'static str, u16, String) {
        let error = self.assume(principal, more).unwrap_err();
        (error.code(), error.status(), error.message().to_owned())
    }

    fn session(&self, answer: &str) -> std::sync::Arc<Principal> {
        let (id, token) = (between(answer, "AccessKeyId"), between(answer, "SessionToken"));
        self.identities.find(id, Some(token), NOW).unwrap().unwrap()
    }
}

fn between<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!("<{name}>")).unwrap().1;
    rest.split_once(&format!("</{name}>")).unwrap().0
}

#[test]
fn an_assumed_role_has_awss_form() {
    let desk = Desk::new(r#""sts:*""#, "{}");
    let tags = "&Tags.member.1.Key=team&Tags.member.1.Value=red&SourceIdentity=Eve";
    let answer = desk.assume(&desk.test(), tags).unwrap();
    let credentials = format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>2026-11-24T10:14:07Z</Expiration></Credentials>",
        between(&answer, "AccessKeyId"),
        between(&answer, "SecretAccessKey"),
        between(&answer, "SessionToken"),
    );
    let user = "<AssumedRoleUser><AssumedRoleId>AROAAAAAAAAAAAAAAAAAA:s1</AssumedRoleId>\
                <Arn>arn:aws:sts::000000000000:assumed-role/r/s1</Arn></AssumedRoleUser>";
    let rest = "<PackedPolicySize>1</PackedPolicySize><SourceIdentity>Eve</SourceIdentity>";
    assert_eq!(answer, format!("{user}{credentials}{rest}"));
    let whole = message(Some(Action::AssumeRole), Ok("R".to_owned()), "id");
    assert_eq!(
        String::from_utf8(whole.body).unwrap(),
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>R</AssumeRoleResult>\
         <ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    assert!(!desk.assume(&desk.test(), "").unwrap().contains("PackedPolicySize"));
}

#[test]
fn the_trust_policy_decides() {
    let desk = Desk::new(r#""sts:AssumeRole""#, r#"{"StringEquals":{"sts:ExternalId":"e1"}}"#);
    let test = desk.test();
    let denied = |action: &str, role: &str| {
        let text = format!("User: arn:aws:iam::000000000000:user/test is not authorized to perform: {action}");
        ("AccessDenied", 403, format!("{text} on resource: {role}"))
    };
    assert!(desk.assume(&test, "&ExternalId=e1").is_ok());
    for more in ["", "&ExternalId=e2"] {
        assert_eq!(desk.refusal(&test, more), denied("sts:AssumeRole", ROLE), "{more}");
    }
    let tagged = "&ExternalId=e1&Tags.member.1.Key=k&Tags.member.1.Value=v";
    assert_eq!(desk.refusal(&test, tagged), denied("sts:TagSession", ROLE));
    assert_eq!(desk.refusal(&test, "&ExternalId=e1&SourceIdentity=Eve"), denied("sts:SetSourceIdentity", ROLE));
    let form = b"RoleArn=arn:aws:iam::000000000000:role/none&RoleSessionName=s1";
    let asking = Asking {
        principal: &test,
        identities: &desk.identities,
        now: NOW,
        source_ip: "::1",
        is_secure: true,
        user_agent: None,
    };
    let missing = assume_role::answer(&asking, "us-east-1", &Parameters::parse(form)).unwrap_err();
    assert_eq!(missing.message(), denied("sts:AssumeRole", "arn:aws:iam::000000000000:role/none").2);
}

#[test]
fn a_session_policy_leaves_no_more_than_it_says() {
    let desk = Desk::new(r#""sts:*""#, "{}");
    let only = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudhsm:ListTags","Resource":"*"}}"#;
    let only: String = form_urlencoded::byte_serialize(only.as_bytes()).collect();
    let session = desk.session(&desk.assume(&desk.test(), &format!("&Policy={only}")).unwrap());
    // The role may do everything, the session may not even assume the role again.
    assert_eq!(desk.refusal(&session, "").0, "AccessDenied");
    let unbound = desk.session(&desk.assume(&desk.test(), "").unwrap());
    assert!(desk.assume(&unbound, "").is_ok());
    let (code, status, text) = desk.refusal(&desk.test(), "&Policy=%7B%7D");
    assert_eq!(
        (code, status, text.as_str()),
        ("MalformedPolicyDocument", 400, "Statement: a policy has at least one statement")
    );
    let managed = "&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/AWSCloudHSMReadOnlyAccess";
    assert_eq!(desk.refusal(&desk.session(&desk.assume(&desk.test(), managed).unwrap()), "").0, "AccessDenied");
}

#[test]
fn limits_and_what_passes_along_a_chain() {
    let desk = Desk::new(r#""sts:*""#, "{}");
    let test = desk.test();
    let refused = |principal: &Principal, more: &str, text: &str| {
        let (code, _, message) = desk.refusal(principal, more);
        assert_eq!(code, "ValidationError", "{more}");
        assert!(message.contains(text), "{message}");
    };
    refused(&test, "&DurationSeconds=3601", "exceeds the MaxSessionDuration set for this role.");
    refused(&test, "&DurationSeconds=899", "greater than or equal to 900");
    refused(&test, "&ExternalId=a", "'externalId' failed to satisfy constraint");
    refused(&test, "&Tags.member.1.Key=k", "Value null at 'tags.1.member.value'");
    refused(&test, "&TransitiveTagKeys.member.1=k", "must be included in the requested tags");
    let tag = "&Tags.member.1.Key=k&Tags.member.1.Value=v";
    let tags = format!("{tag}&Tags.member.2.Key=l&Tags.member.2.Value=w");
    let first = format!("{tags}&TransitiveTagKeys.member.1=k&SourceIdentity=Eve");
    let session = desk.session(&desk.assume(&test, &first).unwrap());
    refused(&session, "&DurationSeconds=3601", "exceeds the 1 hour session limit for roles assumed by role chaining.");
    refused(&session, tag, "conflicts with a transitive tag key");
    assert_eq!(desk.refusal(&session, "&SourceIdentity=Mallory").0, "AccessDenied");
    let answer = desk.assume(&session, "").unwrap();
    assert_eq!(between(&answer, "SourceIdentity"), "Eve");
    let chained = desk.session(&answer);
    let tags: Vec<_> = chained.authority.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect();
    assert_eq!(tags, [("k", "v")], "the other tag is dropped");
    let large: String =
        (1..=40).map(|n| format!("&Tags.member.{n}.Key=k{n}&Tags.member.{n}.Value={}", "v".repeat(250))).collect();
    let (code, _, text) = desk.refusal(&test, &large);
    assert_eq!(
        (code, text.as_str()),
        ("PackedPolicyTooLarge", "Packed size of session tags consumes 124% of allotted space.")
    );
}
