//! Owns `cluster activate` and `cluster hsm-info`.

use serde_json::{Value, json};
use strongroom_client::hsm::Hsm;
use strongroom_link::hsm::Info;

use super::execute::CommandError;
use super::grammar::Activate;
use crate::terminal::Prompt;

/// Sets the first admin's password.
pub fn activate(activate: Activate, hsm: &mut dyn Hsm, prompt: &mut dyn Prompt) -> Result<Value, CommandError> {
    let password = match activate.password {
        Some(password) => password,
        None => prompt.new_password()?,
    };
    hsm.activate(password)?;
    Ok("Cluster activation successful".into())
}

/// AWS's object for each HSM of the cluster. The serial number is the HSM's id, which AWS's hardware does not tell.
pub fn hsm_info(hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let info = hsm.info()?;
    let hsms: Vec<_> = info.hsms.iter().map(|id| hardware(id, &info)).collect();
    Ok(json!({ "hsms": hsms }))
}

fn hardware(id: &str, info: &Info) -> Value {
    let fips_state = match info.mode.as_str() {
        "FIPS" => "2 [FIPS mode with single factor authentication]",
        _ => "0 [non-FIPS mode with single factor authentication]",
    };
    json!({
        "vendor": "strongroom",
        "model": "software",
        "serial-number": id,
        "hardware-version-major": "0",
        "hardware-version-minor": "0",
        "firmware-version-major": env!("CARGO_PKG_VERSION_MAJOR"),
        "firmware-version-minor": env!("CARGO_PKG_VERSION_MINOR"),
        "firmware-build-number": env!("CARGO_PKG_VERSION_PATCH"),
        "firmware-id": concat!("strongroom-", env!("CARGO_PKG_VERSION")),
        "fips-state": fips_state,
    })
}

#[cfg(test)]
mod tests {
    use strongroom_link::hsm::{Answer, Call};

    use super::super::fake::{info, run};

    #[test]
    fn activation_sets_the_password_that_was_typed() {
        let (printed, calls) = run("cluster activate", vec![Ok(Answer::Done)]);
        assert_eq!(printed, "{\n  \"error_code\": 0,\n  \"data\": \"Cluster activation successful\"\n}");
        assert!(matches!(&calls[..], [Call::Activate(password)] if password.expose() == b"swordfish"));
    }

    #[test]
    fn each_hsm_is_described_in_strings() {
        let (printed, _) = run("cluster hsm-info", vec![info(&["hsm-a", "hsm-b"], true)]);
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let hsms = printed["data"]["hsms"].as_array().unwrap();
        assert_eq!(hsms.len(), 2);
        assert_eq!(hsms[1]["serial-number"], "hsm-b");
        assert_eq!(hsms[0]["fips-state"], "2 [FIPS mode with single factor authentication]");
        assert!(hsms[0].as_object().unwrap().values().all(serde_json::Value::is_string));
    }
}
