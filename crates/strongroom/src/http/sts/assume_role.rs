//! Owns `AssumeRole`. The order: the form of the parameters; whether the caller may and the role's trust policy lets him;
//! how long, under which policies and with which tags. A caller who may not learns nothing of the role, not even whether
//! it is there.

use std::fmt::Write as _;

use strongroom_iam::{CallerKind, Decision, Document, Kind, Policies, Request};
use strongroom_model::Tag;
use strongroom_model::tag::TAGS_MAX;
use strongroom_model::time::SECOND;

use super::error::StsError;
use super::parameters::{Form, Parameters, missing};
use super::{Asking, context, credentials, escaped, whole_second};
use crate::identity::{Grant, Role, Who, managed_document};

const SESSION_NAME: Form = Form::words(2, 64, "+=,.@-");
/// The longest session of one that a session has made.
const CHAINED_MAX: i64 = 3_600;
/// Characters of all session policies.
const POLICIES_MAX: usize = 2_048;
const MANAGED_MAX: usize = 10;
/// Bytes of session policies and tags that a token carries.
const PACKED_MAX: usize = 8_192;
/// What the ARN of a managed policy begins with.
const MANAGED: &str = "arn:aws:iam::aws:policy/";

/// What is asked for; its form is right.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub role_arn: &'a str,
    pub session_name: &'a str,
    pub external_id: Option<&'a str>,
    /// Of the request, or of the session that asks: it cannot change.
    pub source_identity: Option<String>,
    pub tags: Vec<Tag>,
    pub transitive: Vec<String>,
    seconds: Option<i64>,
    policies: Vec<String>,
}

/// Answers the call.
///
/// # Errors
/// [`StsError`]
pub(super) fn answer(asking: &Asking<'_>, region: &str, parameters: &Parameters) -> Result<String, StsError> {
    let asked = Asked::parse(asking, parameters)?;
    let role = asking.identities.role(asked.role_arn).ok_or_else(|| denied(asking, "sts:AssumeRole", &asked))?;
    authorize(asking, region, &asked, &role)?;
    let grant = grant(asking, &asked, &role)?;
    let packed = packed_percent(&grant)?;
    let issued = asking.identities.issue(&grant)?;
    let (name, session) = (&role.name, asked.session_name);
    let arn = escaped(&format!("arn:aws:sts::{}:assumed-role/{name}/{session}", role.account)).into_owned();
    let id = escaped(&format!("{}:{session}", role.id)).into_owned();
    let mut result = format!(
        "<AssumedRoleUser><AssumedRoleId>{id}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>{}",
        credentials(&issued)
    );
    if !asked.tags.is_empty() || !asked.policies.is_empty() {
        let _ = write!(result, "<PackedPolicySize>{packed}</PackedPolicySize>");
    }
    if let Some(identity) = &grant.source_identity {
        let _ = write!(result, "<SourceIdentity>{}</SourceIdentity>", escaped(identity));
    }
    Ok(result)
}

impl<'a> Asked<'a> {
    fn parse(asking: &Asking<'_>, parameters: &'a Parameters) -> Result<Self, StsError> {
        let inherited = asking.principal.session.as_ref().and_then(|session| session.source_identity.clone());
        let passed = parameters.optional("SourceIdentity", SESSION_NAME)?;
        if let (Some(inherited), Some(passed)) = (&inherited, passed)
            && inherited != passed
        {
            return Err(StsError::denied("The source identity of a session cannot change when it assumes a role."));
        }
        let tags = tags(parameters)?;
        Ok(Self {
            role_arn: parameters.required("RoleArn", Form::of(20, 2_048))?,
            session_name: parameters.required("RoleSessionName", SESSION_NAME)?,
            external_id: parameters.optional("ExternalId", Form::words(2, 1_224, "+=,.@:/-"))?,
            source_identity: inherited.or_else(|| passed.map(str::to_owned)),
            transitive: transitive(parameters, &tags)?,
            tags,
            seconds: parameters.number("DurationSeconds", 900, 43_200)?,
            policies: policies(parameters)?,
        })
    }
}

fn tags(parameters: &Parameters) -> Result<Vec<Tag>, StsError> {
    let (keys, values) = (parameters.list("Tags", ".Key"), parameters.list("Tags", ".Value"));
    if keys.len() > TAGS_MAX {
        return Err(StsError::invalid(format!("There are more than {TAGS_MAX} session tags.")));
    }
    let mut tags: Vec<Tag> = Vec::new();
    for (n, (key, value)) in keys.into_iter().zip(values).enumerate() {
        let place = |name: &str| format!("tags.{}.member.{name}", n + 1);
        let key = key.ok_or_else(|| missing(&place("key")))?;
        let value = value.ok_or_else(|| missing(&place("value")))?;
        Form::of(1, 128).check(&place("key"), key)?;
        Form::of(0, 256).check(&place("value"), value)?;
        if key.to_lowercase().starts_with("aws:") {
            return Err(StsError::invalid(format!("The tag key '{key}' begins with aws:, which is AWS's own.")));
        }
        if tags.iter().any(|tag| same(&tag.key, key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(StsError::invalid(text));
        }
        tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
    }
    Ok(tags)
}

fn transitive(parameters: &Parameters, tags: &[Tag]) -> Result<Vec<String>, StsError> {
    let mut transitive = Vec::new();
    for key in parameters.list("TransitiveTagKeys", "").into_iter().flatten() {
        if !tags.iter().any(|tag| same(&tag.key, key)) {
            let text = "The specified transitive tag key must be included in the requested tags.";
            return Err(StsError::invalid(text));
        }
        transitive.push(key.to_owned());
    }
    Ok(transitive)
}

fn policies(parameters: &Parameters) -> Result<Vec<String>, StsError> {
    let mut policies = Vec::new();
    if let Some(text) = parameters.optional("Policy", Form::of(1, usize::MAX))? {
        Document::parse(text, Kind::Identity).map_err(|fault| StsError::malformed(fault.to_string()))?;
        policies.push(text.to_owned());
    }
    let arns = parameters.list("PolicyArns", ".arn");
    if arns.len() > MANAGED_MAX {
        return Err(StsError::invalid(format!("There are more than {MANAGED_MAX} managed session policies.")));
    }
    for (n, arn) in arns.into_iter().enumerate() {
        let arn = arn.ok_or_else(|| missing(&format!("policyArns.{}.member.arn", n + 1)))?;
        let text = arn.strip_prefix(MANAGED).and_then(managed_document);
        policies.push(text.ok_or_else(|| StsError::invalid(format!("There is no policy {arn}.")))?.to_owned());
    }
    let length: usize = policies.iter().map(|policy| policy.chars().count()).sum();
    if length > POLICIES_MAX {
        let text = format!("The session policies have {length} characters, {POLICIES_MAX} at most.");
        return Err(StsError::too_large(text));
    }
    Ok(policies)
}

/// Whether the caller may assume the role, and pass what he passes.
fn authorize(asking: &Asking<'_>, region: &str, asked: &Asked<'_>, role: &Role) -> Result<(), StsError> {
    let context = context::of(asking, region, asked, role);
    let authority = &asking.principal.authority;
    let policies = Policies { trust: Some(&role.trust), ..authority.policies() };
    let actions = [
        ("sts:AssumeRole", true),
        ("sts:TagSession", !asked.tags.is_empty()),
        ("sts:SetSourceIdentity", asked.source_identity.is_some()),
    ];
    for (action, _) in actions.into_iter().filter(|(_, is_asked)| *is_asked) {
        let request = Request {
            caller: &authority.caller,
            action,
            resource: &role.arn,
            resource_account: role.account.as_str(),
            context: &context,
        };
        if let Decision::Deny(_) = policies.decide(&request) {
            return Err(denied(asking, action, asked));
        }
    }
    Ok(())
}

fn denied(asking: &Asking<'_>, action: &str, asked: &Asked<'_>) -> StsError {
    let (arn, role) = (&asking.principal.arn, asked.role_arn);
    StsError::denied(format!("User: {arn} is not authorized to perform: {action} on resource: {role}"))
}

/// The session, with what the one that asks for it passes on.
fn grant(asking: &Asking<'_>, asked: &Asked<'_>, role: &Role) -> Result<Grant, StsError> {
    let is_chained = matches!(asking.principal.authority.caller.kind, CallerKind::RoleSession { .. });
    let seconds = asked.seconds.unwrap_or(3_600);
    if is_chained && seconds > CHAINED_MAX {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        return Err(StsError::invalid(text));
    }
    if seconds > role.max_session_seconds {
        let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(StsError::invalid(text));
    }
    let inherited = asking.principal.session.as_ref().map_or(&[][..], |session| &session.transitive);
    if asked.tags.iter().any(|tag| inherited.iter().any(|there| same(&there.key, &tag.key))) {
        let text = "One of the specified tag keys conflicts with a transitive tag key from the calling session.";
        return Err(StsError::invalid(text));
    }
    let tags = inherited.iter().chain(&asked.tags).map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    let transitive = inherited.iter().map(|tag| tag.key.clone()).chain(asked.transitive.clone()).collect();
    let issued = whole_second(asking.now);
    Ok(Grant {
        who: Who::Role { arn: role.arn.clone(), id: role.id.clone(), session_name: asked.session_name.to_owned() },
        issued,
        expires: issued + seconds * SECOND,
        policies: (!asked.policies.is_empty()).then(|| asked.policies.clone()),
        tags,
        transitive,
        source_identity: asked.source_identity.clone(),
    })
}

/// How much of the room for policies and tags is taken, rounded up; those that were passed on count too.
fn packed_percent(grant: &Grant) -> Result<usize, StsError> {
    let tags: usize = grant.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let policies: usize = grant.policies.iter().flatten().map(String::len).sum();
    let percent = ((tags + policies) * 100).div_ceil(PACKED_MAX);
    match percent {
        0..=100 => Ok(percent),
        _ => Err(StsError::too_large(format!("Packed size of session tags consumes {percent}% of allotted space."))),
    }
}

/// Keys of tags ignore case.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
