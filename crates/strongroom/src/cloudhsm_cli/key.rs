//! Owns `key …`: what a command asks for becomes a PKCS#11 template, and what an HSM tells of a key becomes AWS's object.
//! Attributes that a command does not set are the HSM's defaults.

use std::fs;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use strongroom_client::hsm::Hsm;
use strongroom_link::hsm::{Attribute, Mechanism};
use strongroom_link::pkcs11::*;

use super::execute::CommandError;
use super::filter::Filter;
use super::grammar::{
    Curve, Encoding, GenerateFile, ImportCommand, ImportPem, KeyCommand, ListKeys, OneKey, Pair, PairCommand,
    SetAttribute, Symmetric, SymmetricCommand,
};
use super::{attributes, ec, key_file, output};

/// Carries out `key …`.
pub fn execute(command: KeyCommand, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    match command {
        KeyCommand::Delete(key) => delete(&key, hsm),
        KeyCommand::GenerateAsymmetricPair(pair) => generate_pair(pair, hsm),
        KeyCommand::GenerateFile(command) => generate_file(&command, hsm),
        KeyCommand::GenerateSymmetric(SymmetricCommand::Aes(aes)) => generate(&aes, CKM_AES_KEY_GEN, hsm),
        KeyCommand::GenerateSymmetric(SymmetricCommand::GenericSecret(secret)) => {
            generate(&secret, CKM_GENERIC_SECRET_KEY_GEN, hsm)
        }
        KeyCommand::Import(ImportCommand::Pem(command)) => import_pem(&command, hsm),
        KeyCommand::List(command) => list(&command, hsm),
        KeyCommand::SetAttribute(command) => set_attribute(&command, hsm),
    }
}

fn delete(key: &OneKey, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let handle = Filter::parse(&key.filter)?.find_one(hsm)?;
    hsm.destroy_object(handle)?;
    Ok(json!({ "message": "Key deleted successfully" }))
}

fn generate(command: &Symmetric, mechanism: Ulong, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let mut template = template(&command.label, command.session, &command.attributes)?;
    template.push(Attribute::ulong(CKA_VALUE_LEN, command.key_length_bytes.into()));
    let handle = hsm.generate_key(Mechanism::plain(mechanism), template)?;
    Ok(json!({ "key": output::key(hsm, handle)? }))
}

fn generate_pair(command: PairCommand, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let (pair, mechanism, parameters) = match command {
        PairCommand::Rsa(rsa) => {
            let exponent: Vec<_> =
                rsa.public_exponent.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            let bits = Attribute::ulong(CKA_MODULUS_BITS, rsa.modulus_size_bits.into());
            (rsa.pair, CKM_RSA_PKCS_KEY_PAIR_GEN, vec![bits, Attribute::bytes(CKA_PUBLIC_EXPONENT, exponent)])
        }
        PairCommand::Ec(ec) => {
            (ec.pair, CKM_EC_KEY_PAIR_GEN, vec![Attribute::bytes(CKA_EC_PARAMS, curve_parameters(ec.curve))])
        }
    };
    let Pair { public_label, private_label, session, public_attributes, private_attributes } = pair;
    let mut public = template(&public_label, session, &public_attributes)?;
    public.extend(parameters);
    let private = template(&private_label, session, &private_attributes)?;
    let (public, private) = hsm.generate_key_pair(Mechanism::plain(mechanism), public, private)?;
    Ok(json!({ "public_key": output::key(hsm, public)?, "private_key": output::key(hsm, private)? }))
}

fn curve_parameters(curve: Curve) -> Vec<u8> {
    let name = curve.to_possible_value().expect("no curve is skipped");
    ec::parameters_of_name(name.get_name()).expect("the grammar takes the curves that are known")
}

fn generate_file(command: &GenerateFile, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let Encoding::Pem = command.encoding;
    let handle = Filter::parse(&command.key.filter)?.find_one(hsm)?;
    let told = hsm.get_attributes(handle, key_file::PUBLIC_KINDS.to_vec())?;
    let pem = key_file::pem_of_public_key(&told.attributes)?;
    fs::write(&command.path, pem).map_err(|error| CommandError::file(&command.path, &error))?;
    Ok(json!({ "message": "Successfully generated key file" }))
}

fn import_pem(command: &ImportPem, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let pem = fs::read_to_string(&command.path).map_err(|error| CommandError::file(&command.path, &error))?;
    let mut template = template(&command.label, false, &command.attributes)?;
    template.extend(key_file::public_key_of_pem(&pem, command.key_type_class)?);
    let handle = hsm.create_object(template)?;
    Ok(json!({ "key": output::key(hsm, handle)?, "message": "Successfully imported key" }))
}

fn list(command: &ListKeys, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let skip = match &command.starting_token {
        None => 0,
        Some(token) => token.parse().map_err(|_| CommandError::text(format!("{token:?} is no starting token.")))?,
    };
    let found = Filter::parse(&command.filter)?.find(hsm, skip, command.max_items)?;
    let show = if command.verbose { output::key } else { output::labelled_key };
    let keys = found.handles.iter().map(|handle| show(hsm, *handle)).collect::<Result<Vec<_>, _>>()?;
    let returned = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    let mut data = json!({
        "matched_keys": keys,
        "total_key_count": found.total,
        "returned_key_count": returned,
    });
    let next = skip.saturating_add(returned);
    if returned > 0 && next < found.total {
        data["next_token"] = next.to_string().into();
    }
    Ok(data)
}

fn set_attribute(command: &SetAttribute, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let attribute = attributes::parse(&command.name, &command.value.join(" "))?;
    let handle = Filter::parse(&command.key.filter)?.find_one(hsm)?;
    hsm.set_attributes(handle, vec![attribute])?;
    Ok(json!({ "message": "Attribute set successfully" }))
}

fn template(label: &str, session: bool, pairs: &[String]) -> Result<Vec<Attribute>, CommandError> {
    let mut template = vec![Attribute::bytes(CKA_LABEL, label), Attribute::boolean(CKA_TOKEN, !session)];
    template.extend(attributes::parse_template(pairs)?);
    Ok(template)
}

#[cfg(test)]
mod tests {
    use strongroom_link::hsm::{Answer, AttributeValue, Call};

    use super::super::fake::info;
    use super::super::fake::{found, refused, run, run_with, told};
    use super::*;

    fn aes() -> Vec<Attribute> {
        vec![
            Attribute::ulong(CKA_KEY_TYPE, CKK_AES),
            Attribute::bytes(CKA_LABEL, "example-aes"),
            Attribute::bytes(CKA_ID, []),
            Attribute::bytes(CKA_CHECK_VALUE, [0x9b, 0x94, 0xbd]),
            Attribute::ulong(CKA_CLASS, CKO_SECRET_KEY),
            Attribute::boolean(CKA_TOKEN, true),
            Attribute::boolean(CKA_SIGN, true),
            Attribute::ulong(CKA_VALUE_LEN, 24),
        ]
    }

    fn boolean(template: &[Attribute], kind: Ulong) -> Option<bool> {
        template.iter().find(|attribute| attribute.kind == kind).and_then(|attribute| match attribute.value {
            AttributeValue::Bool(value) => Some(value),
            _ => None,
        })
    }

    #[test]
    fn a_key_is_printed_in_the_layout_of_aws() {
        let line = "key generate-symmetric aes --label example-aes --key-length-bytes 24";
        let (printed, calls) = run(line, vec![Ok(Answer::Object(0x2e06bf)), told(aes())]);
        let beginning = r#"{
  "error_code": 0,
  "data": {
    "key": {
      "key-reference": "0x00000000002e06bf",
      "key-info": {
        "key-owners": [
          {
            "username": "cu1",
            "key-coverage": "full"
          }
        ],
        "shared-users": [],
        "key-quorum-values": {
          "manage-key-quorum-value": 0,
          "use-key-quorum-value": 0
        },
        "cluster-coverage": "full"
      },
      "attributes": {
        "key-type": "aes",
        "label": "example-aes",
        "id": "0x",
        "check-value": "0x9b94bd",
        "class": "secret-key",
        "encrypt": false,
"#;
        assert!(printed.starts_with(beginning), "{printed}");
        let end = "        \"wrap-with-trusted\": false,\n        \"key-length-bytes\": 24\n      }\n    }\n  }\n}";
        assert!(printed.ends_with(end), "{printed}");
        let Call::GenerateKey { mechanism, template } = &calls[0] else { panic!("{calls:?}") };
        assert_eq!(mechanism, &Mechanism::plain(CKM_AES_KEY_GEN));
        assert_eq!(attributes::ulong(template, CKA_VALUE_LEN), Some(24));
        assert_eq!(boolean(template, CKA_TOKEN), Some(true));
    }

    #[test]
    fn a_pair_takes_attributes_for_each_half() {
        let line = "key generate-asymmetric-pair rsa --public-label p --private-label q --modulus-size-bits 2048 \
                    --public-exponent 65537 --public-attributes verify=true --private-attributes sign=true \
                    extractable=false id=0x01 --session";
        let answers = vec![Ok(Answer::Pair { public: 7, private: 8 }), told(vec![]), told(vec![])];
        let (printed, calls) = run(line, answers);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed["data"]["public_key"]["key-reference"], "0x0000000000000007");
        assert_eq!(printed["data"]["private_key"]["key-reference"], "0x0000000000000008");
        let Call::GenerateKeyPair { mechanism, public, private } = &calls[0] else { panic!("{calls:?}") };
        assert_eq!(mechanism, &Mechanism::plain(CKM_RSA_PKCS_KEY_PAIR_GEN));
        assert_eq!(attributes::bytes(public, CKA_PUBLIC_EXPONENT), Some(&[1, 0, 1][..]));
        assert_eq!((boolean(public, CKA_VERIFY), boolean(public, CKA_TOKEN)), (Some(true), Some(false)));
        assert_eq!((boolean(private, CKA_SIGN), boolean(private, CKA_EXTRACTABLE)), (Some(true), Some(false)));
        assert_eq!(attributes::bytes(private, CKA_ID), Some(&[1][..]));
    }

    #[test]
    fn a_list_is_paged_by_offsets() {
        let label = || told(vec![Attribute::bytes(CKA_LABEL, "new-master-key")]);
        let (printed, calls) = run("key list --max-items 1", vec![found(&[0xca5], 2), label()]);
        let expected = r#"{
  "error_code": 0,
  "data": {
    "matched_keys": [
      {
        "key-reference": "0x0000000000000ca5",
        "attributes": {
          "label": "new-master-key"
        }
      }
    ],
    "total_key_count": 2,
    "returned_key_count": 1,
    "next_token": "1"
  }
}"#;
        assert_eq!(printed, expected);
        assert!(matches!(calls[0], Call::FindObjects { skip: 0, limit: 1, .. }), "{calls:?}");
        let (printed, calls) = run("key list --starting-token 1", vec![found(&[0xca6], 2), label()]);
        assert!(!printed.contains("next_token"), "{printed}");
        assert!(matches!(calls[0], Call::FindObjects { skip: 1, limit: 10, .. }), "{calls:?}");
        let (printed, _) = run("key list", vec![found(&[], 0)]);
        assert!(printed.contains("\"matched_keys\": [],\n    \"total_key_count\": 0"), "{printed}");
    }

    #[test]
    fn only_a_single_key_is_deleted() {
        let (printed, calls) = run("key delete --filter attr.key-type=rsa", vec![found(&[1], 48)]);
        let expected = r#"{
  "error_code": 1,
  "data": "Key selection criteria matched 48 keys. Refine selection criteria to select a single key."
}"#;
        assert_eq!(printed, expected);
        assert_eq!(calls.len(), 1);
        let answers = vec![told(vec![]), Ok(Answer::Done)];
        let (printed, calls) = run("key delete --filter key-reference=0x2a", answers);
        assert!(printed.contains("Key deleted successfully"));
        assert!(matches!(calls[1], Call::DestroyObject(42)), "{calls:?}");
        let gone = vec![refused(CKR_OBJECT_HANDLE_INVALID, "no such key")];
        assert!(run("key delete --filter key-reference=0x2a", gone).0.contains("matched 0 keys"));
    }

    #[test]
    fn an_attribute_is_set_by_its_name() {
        let line = "key set-attribute --filter attr.label=a --name label --value new name";
        let (printed, calls) = run(line, vec![found(&[3], 1), Ok(Answer::Done)]);
        assert!(printed.contains("Attribute set successfully"));
        let Call::SetAttributes { handle: 3, template } = &calls[1] else { panic!("{calls:?}") };
        assert_eq!(attributes::bytes(template, CKA_LABEL), Some(&b"new name"[..]));
    }

    #[test]
    fn a_public_key_goes_through_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
        fs::write(&path, &pem).unwrap();
        let file = path.display();
        let line =
            format!("key import pem --path {file} --label l --key-type-class ec-public --attributes verify=true");
        let (printed, calls) = run(&line, vec![Ok(Answer::Object(9)), told(vec![])]);
        assert!(printed.contains("Successfully imported key"), "{printed}");
        let Call::CreateObject(template) = calls.into_iter().next().unwrap() else { panic!() };
        let line = format!("key generate-file --encoding pem --path {file} --filter attr.label=l");
        let (printed, _) = run(&line, vec![found(&[9], 1), told(template)]);
        assert!(printed.contains("Successfully generated key file"), "{printed}");
        assert_eq!(fs::read_to_string(&path).unwrap(), pem.replace("\r\n", "\n"));
    }

    #[test]
    fn the_availability_check_wants_two_hsms() {
        let (printed, calls) = run_with("key list", vec![info(&["hsm-a"], true)], true);
        assert!(printed.contains("the key must be available on at least 2 HSMs"), "{printed}");
        assert!(matches!(calls[..], [Call::Info]));
        let (printed, _) = run_with("key list", vec![info(&["hsm-a", "hsm-b"], true), found(&[], 0)], true);
        assert!(printed.contains("\"error_code\": 0"), "{printed}");
    }
}
