//! Owns the managed policies that are built in, by AWS's names. There are no others: a policy of one's own is inline.

/// The text of a managed policy.
pub fn document(name: &str) -> Option<&'static str> {
    Some(match name {
        "AdministratorAccess" => {
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#
        }
        "AWSCloudHSMFullAccess" => {
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudhsm:*","Resource":"*"}}"#
        }
        "AWSCloudHSMReadOnlyAccess" => {
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["cloudhsm:Describe*","cloudhsm:List*","cloudhsm:Get*"],"Resource":"*"}}"#
        }
        _ => return None,
    })
}

/// Their names.
pub(super) const NAMES: [&str; 3] = ["AdministratorAccess", "AWSCloudHSMFullAccess", "AWSCloudHSMReadOnlyAccess"];

#[cfg(test)]
mod tests {
    use strongroom_iam::{Document, Kind};

    use super::*;

    #[test]
    fn each_is_a_policy_without_a_warning() {
        for name in NAMES {
            let document = Document::parse(document(name).unwrap(), Kind::Identity).unwrap();
            assert!(document.warnings().is_empty(), "{name}: {:?}", document.warnings());
        }
        assert_eq!(document("administratoraccess"), None);
    }
}
