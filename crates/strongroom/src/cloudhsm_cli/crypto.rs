//! Owns `crypto sign …` and `crypto verify …`: the flags become a PKCS#11 mechanism, the data goes to the HSM, which
//! hashes it unless it is a digest already.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use serde_json::{Value, json};
use strongroom_client::hsm::Hsm;
use strongroom_link::hsm::{Mechanism, Parameter};
use strongroom_link::pkcs11::*;

use super::execute::CommandError;
use super::filter::Filter;
use super::grammar::{
    CryptoCommand, Data, DataType, HashFunction, MaskGenerationFunction, Pss, Sign, SignCommand, Signature,
    SignatureFormat, Verify, VerifyCommand,
};
use super::{attributes, ec, output};

/// The longest data in one call; a frame has to hold it and what goes with it.
const DATA_MAX: usize = 1024 * 1024;

/// Carries out `crypto …`.
pub fn execute(command: CryptoCommand, hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    match command {
        CryptoCommand::Sign(SignCommand::RsaPkcs(command)) => sign(&command, rsa_pkcs(&command), None, hsm),
        CryptoCommand::Sign(SignCommand::RsaPkcsPss(command)) => {
            sign(&command.sign, rsa_pkcs_pss(&command.sign, &command.pss), None, hsm)
        }
        CryptoCommand::Sign(SignCommand::Ecdsa(command)) => {
            sign(&command.sign, ecdsa(&command.sign), Some(command.signature_format), hsm)
        }
        CryptoCommand::Verify(VerifyCommand::RsaPkcs(command)) => verify(&command, rsa_pkcs(&command.sign), None, hsm),
        CryptoCommand::Verify(VerifyCommand::RsaPkcsPss(command)) => {
            verify(&command.verify, rsa_pkcs_pss(&command.verify.sign, &command.pss), None, hsm)
        }
        CryptoCommand::Verify(VerifyCommand::Ecdsa(command)) => {
            verify(&command.verify, ecdsa(&command.verify.sign), Some(command.signature_format), hsm)
        }
    }
}

fn sign(
    command: &Sign,
    mechanism: Mechanism,
    format: Option<SignatureFormat>,
    hsm: &mut dyn Hsm,
) -> Result<Value, CommandError> {
    let data = read_data(&command.data)?;
    let handle = Filter::parse(&command.key.key_filter)?.find_one(hsm)?;
    let mut signature = hsm.sign(handle, mechanism, data)?;
    if format == Some(SignatureFormat::Der) {
        signature = ec::der_of_raw(&signature)?;
    }
    Ok(json!({ "key-reference": output::reference(handle), "signature": BASE64.encode(&signature) }))
}

fn verify(
    command: &Verify,
    mechanism: Mechanism,
    format: Option<SignatureFormat>,
    hsm: &mut dyn Hsm,
) -> Result<Value, CommandError> {
    let data = read_data(&command.sign.data)?;
    let mut signature = read_signature(&command.signature)?;
    let handle = Filter::parse(&command.sign.key.key_filter)?.find_one(hsm)?;
    if format == Some(SignatureFormat::Der) {
        let told = hsm.get_attributes(handle, vec![CKA_EC_PARAMS])?;
        signature = ec::raw_of_der(&signature, attributes::bytes(&told.attributes, CKA_EC_PARAMS))?;
    }
    hsm.verify(handle, mechanism, data, signature)?;
    Ok(json!({ "message": "Signature verified successfully" }))
}

fn read_data(data: &Data) -> Result<Vec<u8>, CommandError> {
    let bytes = read(data.source.data_path.as_deref(), data.source.data.as_deref(), "--data")?;
    if bytes.len() > DATA_MAX {
        return Err(CommandError::text(format!(
            "The data has {} bytes; an HSM takes {DATA_MAX} at once. Hash it first and pass --data-type digest.",
            bytes.len()
        )));
    }
    Ok(bytes)
}

fn read_signature(signature: &Signature) -> Result<Vec<u8>, CommandError> {
    read(signature.signature_path.as_deref(), signature.signature.as_deref(), "--signature")
}

/// The bytes of a file, or of base64 on the command line; the grammar sees to it that there is one of them.
fn read(path: Option<&Path>, base64: Option<&str>, flag: &str) -> Result<Vec<u8>, CommandError> {
    match (path, base64) {
        (Some(path), _) => fs::read(path).map_err(|error| CommandError::file(path, &error)),
        (None, text) => BASE64
            .decode(text.unwrap_or_default().as_bytes())
            .map_err(|error| CommandError::text(format!("{flag} is not base64: {error}"))),
    }
}

fn rsa_pkcs(sign: &Sign) -> Mechanism {
    Mechanism::plain(match (sign.data.data_type, sign.hash_function) {
        (DataType::Digest, _) => CKM_RSA_PKCS,
        (DataType::Raw, HashFunction::Sha1) => CKM_SHA1_RSA_PKCS,
        (DataType::Raw, HashFunction::Sha224) => CKM_SHA224_RSA_PKCS,
        (DataType::Raw, HashFunction::Sha256) => CKM_SHA256_RSA_PKCS,
        (DataType::Raw, HashFunction::Sha384) => CKM_SHA384_RSA_PKCS,
        (DataType::Raw, HashFunction::Sha512) => CKM_SHA512_RSA_PKCS,
    })
}

fn rsa_pkcs_pss(sign: &Sign, pss: &Pss) -> Mechanism {
    let mechanism = match (sign.data.data_type, sign.hash_function) {
        (DataType::Digest, _) => CKM_RSA_PKCS_PSS,
        (DataType::Raw, HashFunction::Sha1) => CKM_SHA1_RSA_PKCS_PSS,
        (DataType::Raw, HashFunction::Sha224) => CKM_SHA224_RSA_PKCS_PSS,
        (DataType::Raw, HashFunction::Sha256) => CKM_SHA256_RSA_PKCS_PSS,
        (DataType::Raw, HashFunction::Sha384) => CKM_SHA384_RSA_PKCS_PSS,
        (DataType::Raw, HashFunction::Sha512) => CKM_SHA512_RSA_PKCS_PSS,
    };
    let hash = match sign.hash_function {
        HashFunction::Sha1 => CKM_SHA_1,
        HashFunction::Sha224 => CKM_SHA224,
        HashFunction::Sha256 => CKM_SHA256,
        HashFunction::Sha384 => CKM_SHA384,
        HashFunction::Sha512 => CKM_SHA512,
    };
    let mgf = match pss.mgf {
        MaskGenerationFunction::Mgf1Sha1 => CKG_MGF1_SHA1,
        MaskGenerationFunction::Mgf1Sha224 => CKG_MGF1_SHA224,
        MaskGenerationFunction::Mgf1Sha256 => CKG_MGF1_SHA256,
        MaskGenerationFunction::Mgf1Sha384 => CKG_MGF1_SHA384,
        MaskGenerationFunction::Mgf1Sha512 => CKG_MGF1_SHA512,
    };
    Mechanism { mechanism, parameter: Parameter::Pss { hash, mgf, salt: pss.salt_length } }
}

fn ecdsa(sign: &Sign) -> Mechanism {
    Mechanism::plain(match (sign.data.data_type, sign.hash_function) {
        (DataType::Digest, _) => CKM_ECDSA,
        (DataType::Raw, HashFunction::Sha1) => CKM_ECDSA_SHA1,
        (DataType::Raw, HashFunction::Sha224) => CKM_ECDSA_SHA224,
        (DataType::Raw, HashFunction::Sha256) => CKM_ECDSA_SHA256,
        (DataType::Raw, HashFunction::Sha384) => CKM_ECDSA_SHA384,
        (DataType::Raw, HashFunction::Sha512) => CKM_ECDSA_SHA512,
    })
}

#[cfg(test)]
mod tests {
    use strongroom_link::hsm::{Answer, Attribute, Call};

    use super::super::fake::{found, refused, run, told};
    use super::*;

    fn key() -> Result<Answer, strongroom_client::Error> {
        found(&[0x7008db], 1)
    }

    #[test]
    fn a_signature_is_base64_beside_its_key() {
        let line = "crypto sign rsa-pkcs --key-filter attr.label=demo --hash-function sha256 --data aGVsbG8=";
        let (printed, calls) = run(line, vec![key(), Ok(Answer::Bytes(vec![0xff; 3]))]);
        let expected = r#"{
  "error_code": 0,
  "data": {
    "key-reference": "0x00000000007008db",
    "signature": "////"
  }
}"#;
        assert_eq!(printed, expected);
        let Call::Sign { mechanism, data, .. } = &calls[1] else { panic!("{calls:?}") };
        assert_eq!((mechanism, data.as_slice()), (&Mechanism::plain(CKM_SHA256_RSA_PKCS), &b"hello"[..]));
    }

    #[test]
    fn flags_become_the_mechanism() {
        let line = "crypto sign rsa-pkcs-pss --key-filter attr.label=demo --hash-function sha384 --mgf mgf1-sha1 \
                    --salt-length 20 --data-type digest --data aGVsbG8=";
        let (_, calls) = run(line, vec![key(), Ok(Answer::Bytes(vec![1]))]);
        let Call::Sign { mechanism, .. } = &calls[1] else { panic!("{calls:?}") };
        let parameter = Parameter::Pss { hash: CKM_SHA384, mgf: CKG_MGF1_SHA1, salt: 20 };
        assert_eq!(mechanism, &Mechanism { mechanism: CKM_RSA_PKCS_PSS, parameter });
    }

    #[test]
    fn ecdsa_speaks_der_when_asked() {
        let line = "crypto sign ecdsa --key-filter attr.label=demo --hash-function sha256 --data aGVsbG8= \
                    --signature-format der";
        let raw = [&[0; 31][..], &[1], &[0; 31], &[2]].concat();
        let (printed, _) = run(line, vec![key(), Ok(Answer::Bytes(raw.clone()))]);
        assert!(printed.contains(&BASE64.encode(&[0x30, 6, 2, 1, 1, 2, 1, 2])), "{printed}");
        let line = "crypto verify ecdsa --key-filter attr.label=demo-pub --hash-function sha256 --data aGVsbG8= \
                    --signature-format der --signature MAYCAQECAQI=";
        let parameters = ec::parameters_of_name("secp256r1").unwrap();
        let answers = vec![key(), told(vec![Attribute::bytes(CKA_EC_PARAMS, parameters)]), Ok(Answer::Done)];
        let (printed, calls) = run(line, answers);
        assert!(printed.contains("Signature verified successfully"), "{printed}");
        assert!(matches!(&calls[2], Call::Verify { signature, .. } if *signature == raw));
    }

    #[test]
    fn a_wrong_signature_has_the_sentence_of_aws() {
        let line = "crypto verify rsa-pkcs --key-filter attr.label=demo-pub --hash-function sha256 --data aGVsbG8= \
                    --signature ////";
        let (printed, _) = run(line, vec![key(), refused(CKR_SIGNATURE_INVALID, "invalid")]);
        assert_eq!(printed, "{\n  \"error_code\": 1,\n  \"data\": \"Signature verification failed\"\n}");
    }

    #[test]
    fn data_comes_from_a_file_and_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("msg");
        fs::write(&path, b"hello").unwrap();
        let line = format!(
            "crypto sign ecdsa --key-filter attr.label=demo --hash-function sha1 --data-path {}",
            path.display()
        );
        let (_, calls) = run(&line, vec![key(), Ok(Answer::Bytes(vec![]))]);
        assert!(matches!(&calls[1], Call::Sign { data, .. } if data == b"hello"));
        fs::write(&path, vec![0; DATA_MAX + 1]).unwrap();
        assert!(run(&line, vec![]).0.contains("--data-type digest"));
    }
}
