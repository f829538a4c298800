//! Owns the form of results: AWS's envelope, two-space JSON, and the objects in it that several commands give. Binary
//! values are `0x` and lower-case hex digits.

use serde_json::{Value, json};
use strongroom_client::hsm::Hsm;
use strongroom_link::pkcs11::{CKA_LABEL, Ulong};

use super::attributes;
use super::execute::CommandError;

/// A whole result, and whether it is a success.
pub fn envelope(result: Result<Value, CommandError>) -> (String, bool) {
    let (error_code, data) = match result {
        Ok(data) => (0, data),
        Err(error) => (1, Value::from(error.to_string())),
    };
    let envelope = json!({ "error_code": error_code, "data": data });
    (format!("{envelope:#}"), error_code == 0)
}

/// A key with all that may be told of it.
pub fn key(hsm: &mut dyn Hsm, handle: Ulong) -> Result<Value, CommandError> {
    let told = hsm.get_attributes(handle, attributes::shown_kinds())?;
    let owners: Vec<_> = told.owners.iter().map(|owner| json!({ "username": owner, "key-coverage": "full" })).collect();
    Ok(json!({
        "key-reference": reference(handle),
        "key-info": {
            "key-owners": owners,
            "shared-users": [],
            "key-quorum-values": { "manage-key-quorum-value": 0, "use-key-quorum-value": 0 },
            "cluster-coverage": "full",
        },
        "attributes": attributes::render(&told.attributes),
    }))
}

/// A key with its label alone.
pub fn labelled_key(hsm: &mut dyn Hsm, handle: Ulong) -> Result<Value, CommandError> {
    let told = hsm.get_attributes(handle, vec![CKA_LABEL])?;
    let label = attributes::bytes(&told.attributes, CKA_LABEL).unwrap_or_default();
    let label = String::from_utf8_lossy(label);
    Ok(json!({ "key-reference": reference(handle), "attributes": { "label": label } }))
}

/// A handle as AWS prints it.
pub fn reference(handle: Ulong) -> String {
    format!("0x{handle:016x}")
}
