//! Owns the selection of keys: `key-reference=0xabc`, or `attr.NAME=VALUE …` that must all match.

use strongroom_client::Error;
use strongroom_client::hsm::{Found, Hsm};
use strongroom_link::hsm::Attribute;
use strongroom_link::pkcs11::{CKA_LABEL, CKR_OBJECT_HANDLE_INVALID, Ulong};

use super::attributes;
use super::execute::CommandError;

/// Which keys are meant.
#[derive(Debug)]
pub enum Filter {
    /// The key with this handle.
    Reference(Ulong),
    /// The keys that have all these attributes.
    Attributes(Vec<Attribute>),
}

impl Filter {
    /// Reads the words of a `--filter`.
    ///
    /// # Errors
    /// A word of neither form, or a reference beside other words.
    pub fn parse(words: &[String]) -> Result<Self, CommandError> {
        if let [reference] = words
            && let Some(number) = reference.strip_prefix("key-reference=")
        {
            return parse_reference(number).map(Self::Reference);
        }
        words
            .iter()
            .map(|word| match word.strip_prefix("attr.") {
                Some(pair) => attributes::parse_pair(pair),
                None => Err(CommandError::text(format!(
                    "Filter {word:?} is neither key-reference=0x… alone nor attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE."
                ))),
            })
            .collect::<Result<_, _>>()
            .map(Self::Attributes)
    }

    /// One page of the keys that are meant.
    ///
    /// # Errors
    /// What the HSM says.
    pub fn find(self, hsm: &mut dyn Hsm, skip: u32, limit: u32) -> Result<Found, CommandError> {
        match self {
            Self::Attributes(template) => Ok(hsm.find_objects(template, skip, limit)?),
            Self::Reference(handle) => match hsm.get_attributes(handle, vec![CKA_LABEL]) {
                Ok(_) if skip == 0 && limit > 0 => Ok(Found { handles: vec![handle], total: 1 }),
                Ok(_) => Ok(Found { handles: vec![], total: 1 }),
                Err(Error::Refused { ckr: CKR_OBJECT_HANDLE_INVALID, .. }) => Ok(Found::default()),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The one key that is meant.
    ///
    /// # Errors
    /// None or several match, or what the HSM says.
    pub fn find_one(self, hsm: &mut dyn Hsm) -> Result<Ulong, CommandError> {
        let Found { handles, total } = self.find(hsm, 0, 1)?;
        match (total, handles.first()) {
            (1, Some(handle)) => Ok(*handle),
            _ => Err(CommandError::text(format!(
                "Key selection criteria matched {total} keys. Refine selection criteria to select a single key."
            ))),
        }
    }
}

/// A reference in hex or decimal.
fn parse_reference(text: &str) -> Result<Ulong, CommandError> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => Ulong::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| CommandError::text(format!("Key reference {text:?} is no hexadecimal or decimal number.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Filter, CommandError> {
        Filter::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_reference_is_hex_or_decimal() {
        for text in ["key-reference=0x00000000000003d5", "key-reference=981", "key-reference=0x3D5"] {
            assert!(matches!(parse(&[text]), Ok(Filter::Reference(0x3d5))), "{text}");
        }
        assert!(parse(&["key-reference=xyz"]).is_err());
    }

    #[test]
    fn attributes_must_all_match_and_stand_alone() {
        assert!(matches!(parse(&["attr.label=a", "attr.sign=true"]), Ok(Filter::Attributes(all)) if all.len() == 2));
        assert!(matches!(parse(&[]), Ok(Filter::Attributes(all)) if all.is_empty()));
        assert!(parse(&["attr.label=a", "key-reference=0x1"]).is_err());
        assert!(parse(&["label=a"]).is_err());
    }
}
