//! OpenSSL as the independent judge: it verifies what is signed here, and its keys and signatures are taken here. Where there
//! is no `openssl` in PATH these tests judge nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use strongroom_link::hsm::Parameter;
use tempfile::TempDir;

use super::*;

const MESSAGE: &[u8] = b"a message for both";

/// OpenSSL, in a folder of its own that holds the message.
struct OpenSsl(TempDir);

impl OpenSsl {
    fn find() -> Option<Self> {
        let version = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return None;
        }
        let openssl = Self(tempfile::tempdir().unwrap());
        openssl.write("message", MESSAGE);
        Some(openssl)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs a command in the folder; whether it succeeded.
    fn run(&self, arguments: &str) -> bool {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Whether OpenSSL takes the signature of the message by the key in `public.pem`.
    fn verifies(&self, options: &str, signature: &[u8]) -> bool {
        self.write("signature", signature);
        self.run(&format!("dgst {options} -verify public.pem -signature signature message"))
    }

    fn put_public_key(&self, spki: &[u8]) {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(spki));
        self.write("public.pem", pem.as_bytes());
    }
}

/// r ‖ s as the DER of Ecdsa-Sig-Value.
fn to_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    sequence(&[integer(r), integer(s)].concat())
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap();
    let sign = if bytes[start] & 0x80 != 0 { &[0][..] } else { &[] };
    let content = [sign, &bytes[start..]].concat();
    [&[2, content.len() as u8][..], &content].concat()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u8;
    let header = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    [&header, content].concat()
}

/// The values of the elements of a DER SEQUENCE, leading zero bytes of integers removed.
fn elements(der: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut found) = (element(der).0, Vec::new());
    while !rest.is_empty() {
        let (content, after) = element(rest);
        found.push(content.iter().copied().skip_while(|byte| *byte == 0).collect());
        rest = after;
    }
    found
}

/// The content of the first element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = match der[1] {
        length @ ..=0x7f => (usize::from(length), &der[2..]),
        0x81 => (usize::from(der[2]), &der[3..]),
        _ => (usize::from(der[2]) << 8 | usize::from(der[3]), &der[4..]),
    };
    rest.split_at(length)
}

/// Imports a key for signing, if private, or verifying.
fn key_of(class: Ulong, key_type: Ulong, parts: &[Attribute]) -> Call {
    let purpose = if class == CKO_PRIVATE_KEY { CKA_SIGN } else { CKA_VERIFY };
    let kind = [Attribute::ulong(CKA_CLASS, class), Attribute::ulong(CKA_KEY_TYPE, key_type)];
    Call::CreateObject([&kind, parts, &[Attribute::boolean(purpose, true)]].concat())
}

#[test]
fn openssl_verifies_what_is_signed_here() {
    let Some(openssl) = OpenSsl::find() else { return };
    let served = Served::with_users();
    let mut alice = served.alice();
    let (public, private) = alice.pair(generate_rsa(2048, "rsa"));
    openssl.put_public_key(&alice.attribute_bytes(public, CKA_PUBLIC_KEY_INFO));
    let hashes = [
        ("-sha1", CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_SHA_1),
        ("-sha224", CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS, CKM_SHA224),
        ("-sha256", CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256),
        ("-sha384", CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384),
        ("-sha512", CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512),
    ];
    for (option, pkcs1, pss, hash) in hashes {
        let signature = alice.bytes(sign(private, pkcs1, MESSAGE));
        assert!(openssl.verifies(option, &signature), "{option}");
        let parameter = Parameter::Pss { hash, mgf: CKG_MGF1_SHA1, salt: 17 };
        let mechanism = Mechanism { mechanism: pss, parameter };
        let signature = alice.bytes(Call::Sign { handle: private, mechanism, data: MESSAGE.to_vec() });
        let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha1 -sigopt rsa_pss_saltlen:17";
        assert!(openssl.verifies(&format!("{option} {pss}"), &signature), "{option} PSS");
    }
    for curve in [ec::Curve::P256, ec::Curve::P384, ec::Curve::P521] {
        let (public, private) = alice.pair(generate_ec(curve, "ec"));
        openssl.put_public_key(&alice.attribute_bytes(public, CKA_PUBLIC_KEY_INFO));
        for (option, mechanism) in
            [("-sha1", CKM_ECDSA_SHA1), ("-sha256", CKM_ECDSA_SHA256), ("-sha512", CKM_ECDSA_SHA512)]
        {
            let signature = alice.bytes(sign(private, mechanism, MESSAGE));
            assert!(openssl.verifies(option, &to_der(&signature)), "{curve:?} {option}");
        }
    }
}

#[test]
fn rsa_keys_of_openssl_sign_and_verify_here() {
    let Some(openssl) = OpenSsl::find() else { return };
    let served = Served::with_users();
    let mut alice = served.alice();
    assert!(openssl.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out key.pem"));
    assert!(openssl.run("pkey -in key.pem -pubout -out public.pem"));
    assert!(openssl.run("pkey -in key.pem -pubout -outform DER -out spki"));
    assert!(openssl.run("rsa -in key.pem -traditional -outform DER -out pkcs1"));
    assert!(openssl.run("dgst -sha384 -sign key.pem -out signature message"));
    let spki = [Attribute::bytes(CKA_PUBLIC_KEY_INFO, openssl.read("spki"))];
    let public = alice.handle(key_of(CKO_PUBLIC_KEY, CKK_RSA, &spki));
    alice.ask(verify(public, CKM_SHA384_RSA_PKCS, MESSAGE, &openssl.read("signature")));
    // RSAPrivateKey: version, then the eight parts in the order of their CKA_ numbers' names.
    let kinds = [
        CKA_MODULUS,
        CKA_PUBLIC_EXPONENT,
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_EXPONENT_2,
        CKA_COEFFICIENT,
    ];
    let values = elements(&openssl.read("pkcs1")).into_iter().skip(1);
    let mut parts: Vec<_> = kinds.into_iter().zip(values).map(|(kind, value)| Attribute::bytes(kind, value)).collect();
    let private = alice.handle(key_of(CKO_PRIVATE_KEY, CKK_RSA, &parts));
    let signature = alice.bytes(sign(private, CKM_SHA512_RSA_PKCS, MESSAGE));
    assert!(openssl.verifies("-sha512", &signature));
    parts.swap_remove(2);
    assert_eq!(alice.ckr(key_of(CKO_PRIVATE_KEY, CKK_RSA, &parts)), CKR_TEMPLATE_INCOMPLETE);
    parts.push(Attribute::bytes(CKA_PRIVATE_EXPONENT, [0x55; 384]));
    assert_eq!(alice.ckr(key_of(CKO_PRIVATE_KEY, CKK_RSA, &parts)), CKR_ATTRIBUTE_VALUE_INVALID);
}

#[test]
fn ec_keys_of_openssl_sign_and_verify_here() {
    let Some(openssl) = OpenSsl::find() else { return };
    let served = Served::with_users();
    let mut alice = served.alice();
    for (name, curve) in
        [("prime256v1", ec::Curve::P256), ("secp384r1", ec::Curve::P384), ("secp521r1", ec::Curve::P521)]
    {
        assert!(openssl.run(&format!("ecparam -name {name} -genkey -noout -out key.pem")));
        assert!(openssl.run("ec -in key.pem -outform DER -out sec1"));
        assert!(openssl.run("pkey -in key.pem -pubout -out public.pem"));
        assert!(openssl.run("pkey -in key.pem -pubout -outform DER -out spki"));
        assert!(openssl.run("dgst -sha256 -sign key.pem -out signature message"));
        let spki = [Attribute::bytes(CKA_PUBLIC_KEY_INFO, openssl.read("spki"))];
        let public = alice.handle(key_of(CKO_PUBLIC_KEY, CKK_EC, &spki));
        let mut signature = Vec::new();
        for half in elements(&openssl.read("signature")) {
            signature.extend(vec![0; curve.size() - half.len()]);
            signature.extend(half);
        }
        alice.ask(verify(public, CKM_ECDSA_SHA256, MESSAGE, &signature));
        // ECPrivateKey: version, scalar, parameters, point.
        let scalar = elements(&openssl.read("sec1")).remove(1);
        let parts = [Attribute::bytes(CKA_EC_PARAMS, curve.oid()), Attribute::secret(CKA_VALUE, scalar)];
        let private = alice.handle(key_of(CKO_PRIVATE_KEY, CKK_EC, &parts));
        assert_eq!(alice.attribute_bytes(private, CKA_EC_POINT), alice.attribute_bytes(public, CKA_EC_POINT));
        let signature = alice.bytes(sign(private, CKM_ECDSA_SHA256, MESSAGE));
        assert!(openssl.verifies("-sha256", &to_der(&signature)), "{name}");
    }
}
