//! Owns what a resource policy must be to be kept: a JSON object with statements. What it grants is not decided here.

use serde_json::Value as Json;
use strongroom_model::ApiError;

/// Checks that a document is a policy.
///
/// # Errors
/// `CloudHsmInvalidRequestException` that names the fault and its place.
pub fn check(document: &str) -> Result<(), ApiError> {
    let json: Json = serde_json::from_str(document).map_err(|e| refused(format!("is not JSON: {e}")))?;
    let object = json.as_object().ok_or_else(|| refused("is not a JSON object".into()))?;
    if let Some(version) = object.get("Version")
        && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
    {
        return Err(refused(format!("has the Version {version}, which is neither 2012-10-17 nor 2008-10-17")));
    }
    let statements = match object.get("Statement") {
        Some(Json::Array(statements)) => statements.iter().collect(),
        Some(statement @ Json::Object(_)) => vec![statement],
        Some(_) => return Err(refused("has a Statement that is neither an object nor a list of them".into())),
        None => return Err(refused("has no Statement".into())),
    };
    statements.iter().enumerate().try_for_each(|(n, statement)| check_statement(n, statement))
}

fn check_statement(n: usize, statement: &Json) -> Result<(), ApiError> {
    let place = format!("Statement[{n}]");
    let object = statement.as_object().ok_or_else(|| refused(format!("has a {place} that is not an object")))?;
    if !matches!(object.get("Effect").and_then(Json::as_str), Some("Allow" | "Deny")) {
        return Err(refused(format!("needs {place}.Effect to be Allow or Deny")));
    }
    for (one, other) in [("Principal", "NotPrincipal"), ("Action", "NotAction")] {
        if object.contains_key(one) == object.contains_key(other) {
            return Err(refused(format!("needs either {place}.{one} or {place}.{other}")));
        }
    }
    Ok(())
}

fn refused(fault: String) -> ApiError {
    ApiError::invalid(format!("Policy {fault}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_taken_and_faults_are_placed() {
        let good = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"cloudhsm:*"}}"#;
        assert!(check(good).is_ok());
        for (document, fault) in [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no Statement"),
            (r#"{"Version":"1","Statement":[]}"#, "Version"),
            (r#"{"Statement":[{"Effect":"allow","Principal":"*","Action":"a"}]}"#, "Statement[0].Effect"),
            (r#"{"Statement":[{"Effect":"Allow","Action":"a"}]}"#, "Statement[0].Principal"),
        ] {
            let error = check(document).unwrap_err();
            assert!(error.message().contains(fault), "{document}: {error}");
        }
    }
}
