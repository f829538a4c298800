//! Making, finding, using, changing and deleting keys.

use strongroom_link::hsm::Parameter;

use super::*;

fn destroy(handle: Ulong) -> Call {
    Call::DestroyObject(handle)
}

fn set(handle: Ulong, attribute: Attribute) -> Call {
    Call::SetAttributes { handle, template: vec![attribute] }
}

fn gcm(iv: Option<Vec<u8>>, tag_bits: u32) -> Mechanism {
    let parameter = Parameter::Gcm { iv, aad: b"aad".to_vec(), tag_bits };
    Mechanism { mechanism: CKM_AES_GCM, parameter }
}

#[test]
fn generated_pairs_sign_and_verify() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let cases = [
        (generate_ec(ec::Curve::P256, "p256"), CKM_ECDSA_SHA256, 64),
        (generate_ec(ec::Curve::P384, "p384"), CKM_ECDSA_SHA384, 96),
        (generate_ec(ec::Curve::P521, "p521"), CKM_ECDSA_SHA512, 132),
        (generate_rsa(2048, "rsa"), CKM_SHA256_RSA_PKCS, 256),
    ];
    for (call, mechanism, length) in cases {
        let (public, private) = alice.pair(call);
        let signature = alice.bytes(sign(private, mechanism, b"message"));
        assert_eq!(signature.len(), length);
        assert!(matches!(alice.ask(verify(public, mechanism, b"message", &signature)), Answer::Done));
        let refused = alice.try_ask(verify(public, mechanism, b"massage", &signature)).unwrap_err();
        assert_eq!(refused.ckr, CKR_SIGNATURE_INVALID);
        assert_eq!(refused.message, "Signature verification failed");
        for kind in [CKA_CHECK_VALUE, CKA_PUBLIC_KEY_INFO] {
            assert_eq!(alice.attribute_bytes(public, kind), alice.attribute_bytes(private, kind));
        }
    }
}

#[test]
fn what_a_template_lacks_or_has_wrong_is_told_by_its_number() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let mut key =
        |mechanism, template| alice.ckr(Call::GenerateKey { mechanism: Mechanism::plain(mechanism), template });
    let length = |bytes| vec![Attribute::ulong(CKA_VALUE_LEN, bytes)];
    assert_eq!(key(CKM_AES_KEY_GEN, vec![]), CKR_TEMPLATE_INCOMPLETE);
    assert_eq!(key(CKM_AES_KEY_GEN, length(20)), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(key(CKM_GENERIC_SECRET_KEY_GEN, length(801)), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(key(CKM_GENERIC_SECRET_KEY_GEN, length(u64::MAX)), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(key(CKM_RSA_PKCS, length(16)), CKR_MECHANISM_INVALID);
    let value = [length(16), vec![Attribute::bytes(CKA_VALUE, [0; 16])]].concat();
    assert_eq!(key(CKM_AES_KEY_GEN, value), CKR_TEMPLATE_INCONSISTENT);
    let class = [length(16), vec![Attribute::ulong(CKA_CLASS, CKO_PUBLIC_KEY)]].concat();
    assert_eq!(key(CKM_AES_KEY_GEN, class), CKR_TEMPLATE_INCONSISTENT);
    let unknown = [length(16), vec![Attribute::boolean(0x4000, true)]].concat();
    assert_eq!(key(CKM_AES_KEY_GEN, unknown), CKR_ATTRIBUTE_TYPE_INVALID);
    let local = [length(16), vec![Attribute::boolean(CKA_LOCAL, true)]].concat();
    assert_eq!(key(CKM_AES_KEY_GEN, local), CKR_ATTRIBUTE_READ_ONLY);

    let mut pair = |mechanism, public, private| {
        alice.ckr(Call::GenerateKeyPair { mechanism: Mechanism::plain(mechanism), public, private })
    };
    let bits = |bits| vec![Attribute::ulong(CKA_MODULUS_BITS, bits)];
    assert_eq!(pair(CKM_RSA_PKCS_KEY_PAIR_GEN, vec![], vec![]), CKR_TEMPLATE_INCOMPLETE);
    assert_eq!(pair(CKM_RSA_PKCS_KEY_PAIR_GEN, bits(1024), vec![]), CKR_ATTRIBUTE_VALUE_INVALID);
    let exponent = [bits(2048), vec![Attribute::bytes(CKA_PUBLIC_EXPONENT, [3])]].concat();
    assert_eq!(pair(CKM_RSA_PKCS_KEY_PAIR_GEN, exponent, vec![]), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(pair(CKM_RSA_PKCS_KEY_PAIR_GEN, bits(2048), bits(2048)), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(pair(CKM_EC_KEY_PAIR_GEN, vec![], vec![]), CKR_TEMPLATE_INCOMPLETE);
    let curve = |oid: &[u8]| vec![Attribute::bytes(CKA_EC_PARAMS, oid)];
    assert_eq!(pair(CKM_EC_KEY_PAIR_GEN, curve(&[6, 1, 1]), vec![]), CKR_ATTRIBUTE_VALUE_INVALID);
    let p256 = curve(ec::Curve::P256.oid());
    assert_eq!(pair(CKM_EC_KEY_PAIR_GEN, p256.clone(), vec![token()]), CKR_TEMPLATE_INCONSISTENT);
    let wraps = vec![Attribute::boolean(CKA_WRAP, true)];
    assert_eq!(pair(CKM_EC_KEY_PAIR_GEN, p256, wraps), CKR_TEMPLATE_INCONSISTENT);
}

#[test]
fn a_key_does_only_what_its_attributes_permit() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let (public, private) = alice.pair(Call::GenerateKeyPair {
        mechanism: Mechanism::plain(CKM_EC_KEY_PAIR_GEN),
        public: labelled("x", &[Attribute::bytes(CKA_EC_PARAMS, ec::Curve::P256.oid())]),
        private: labelled("x", &[]),
    });
    assert_eq!(alice.ckr(sign(private, CKM_ECDSA, &[1; 32])), CKR_KEY_FUNCTION_NOT_PERMITTED);
    alice.ask(set(private, Attribute::boolean(CKA_SIGN, true)));
    let signature = alice.bytes(sign(private, CKM_ECDSA, &[1; 32]));
    assert_eq!(alice.ckr(verify(public, CKM_ECDSA, &[1; 32], &signature)), CKR_KEY_FUNCTION_NOT_PERMITTED);
    let data = secret(b"text");
    let encrypt = Call::Encrypt { handle: public, mechanism: gcm(None, 128), data };
    assert_eq!(alice.ckr(encrypt), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(alice.ckr(sign(private, CKM_SHA256_RSA_PKCS, b"x")), CKR_KEY_TYPE_INCONSISTENT);
    assert_eq!(alice.ckr(sign(private, CKM_AES_GCM, b"x")), CKR_MECHANISM_INVALID);
    assert_eq!(alice.ckr(sign(private + 1, CKM_ECDSA, &[1; 32])), CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn aes_gcm_draws_its_iv_and_opens_what_it_sealed() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let uses = [Attribute::boolean(CKA_ENCRYPT, true), Attribute::boolean(CKA_DECRYPT, true)];
    let key = alice.handle(generate_aes(uses.to_vec()));
    for tag_bits in [128, 96, 64] {
        let data = secret(b"plaintext");
        let sealed = alice.bytes(Call::Encrypt { handle: key, mechanism: gcm(None, tag_bits), data });
        assert_eq!(sealed.len(), 12 + 9 + tag_bits as usize / 8);
        let (iv, ciphertext) = sealed.split_at(12);
        for (mechanism, data) in [(gcm(None, tag_bits), &sealed[..]), (gcm(Some(iv.into()), tag_bits), ciphertext)] {
            let decrypt = Call::Decrypt { handle: key, mechanism, data: data.to_vec() };
            let Answer::Plaintext(plaintext) = alice.ask(decrypt) else { panic!() };
            assert_eq!(plaintext.expose(), b"plaintext");
        }
        let mut changed = sealed.clone();
        changed[15] ^= 1;
        let decrypt = |data: &[u8]| Call::Decrypt { handle: key, mechanism: gcm(None, tag_bits), data: data.to_vec() };
        assert_eq!(alice.ckr(decrypt(&changed)), CKR_ENCRYPTED_DATA_INVALID);
        assert_eq!(alice.ckr(decrypt(&sealed[..14])), CKR_ENCRYPTED_DATA_LEN_RANGE);
    }
    let mut refused = |mechanism| alice.ckr(Call::Encrypt { handle: key, mechanism, data: secret(b"text") });
    assert_eq!(refused(gcm(Some(vec![0; 12]), 128)), CKR_MECHANISM_PARAM_INVALID, "the cluster is in FIPS mode");
    assert_eq!(refused(gcm(None, 32)), CKR_MECHANISM_PARAM_INVALID);
    assert_eq!(refused(Mechanism::plain(CKM_AES_GCM)), CKR_MECHANISM_PARAM_INVALID);
}

#[test]
fn a_caller_s_own_iv_is_taken_in_non_fips_clusters_only() {
    let served = Served::with_users();
    served.rig.change(&mut |tx| {
        let row = tx.cluster(CLUSTER)?.unwrap();
        tx.put_cluster(&crate::rows::ClusterRow { mode: "NON_FIPS".into(), ..row })
    });
    let mut alice = served.elsewhere().alice();
    let key = alice.handle(generate_aes(vec![Attribute::boolean(CKA_ENCRYPT, true)]));
    let mut encrypt = |iv| alice.bytes(Call::Encrypt { handle: key, mechanism: gcm(iv, 128), data: secret(b"text") });
    assert_eq!(encrypt(Some(vec![7; 12])).len(), 4 + 16);
    assert_eq!(encrypt(Some(vec![7; 12])), encrypt(Some(vec![7; 12])));
    assert_ne!(encrypt(None), encrypt(None));
}

#[test]
fn keys_are_seen_by_their_owner_and_public_ones_by_all_crypto_users() {
    let served = Served::with_users();
    let (mut alice, mut bob) = (served.alice(), served.log_in("bob", Role::CryptoUser));
    let mut admin = served.log_in("admin", Role::Admin);
    let (public, private) = alice.pair(generate_ec(ec::Curve::P256, "signer"));
    let aes = alice.handle(generate_aes(labelled("aes", &[])));
    let mut all = vec![public, private, aes];
    all.sort_unstable();
    assert_eq!(alice.found(vec![]), all);
    assert_eq!(bob.found(vec![]), [public]);
    assert_eq!(admin.found(vec![]), all);
    assert_eq!(alice.found(vec![Attribute::bytes(CKA_LABEL, "aes")]), [aes]);
    let class = Attribute::ulong(CKA_CLASS, CKO_PRIVATE_KEY);
    assert_eq!(alice.found(vec![Attribute::bytes(CKA_LABEL, "signer"), class]), [private]);
    assert_eq!(alice.found(vec![Attribute::bytes(CKA_LABEL, "sign")]), []);
    let page = alice.ask(Call::FindObjects { template: vec![], skip: 1, limit: 1 });
    let Answer::Found { handles, total } = page else { panic!() };
    assert_eq!((handles, total), (vec![all[1]], 3));
    for handle in [private, aes] {
        assert_eq!(bob.ckr(Call::GetAttributes { handle, kinds: vec![] }), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(bob.ckr(sign(handle, CKM_ECDSA, &[1; 32])), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(bob.ckr(destroy(handle)), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(bob.ckr(set(handle, Attribute::bytes(CKA_LABEL, "mine"))), CKR_OBJECT_HANDLE_INVALID);
    }
    assert_eq!(bob.ckr(destroy(public)), CKR_ACTION_PROHIBITED);
    assert_eq!(bob.ckr(set(public, Attribute::bytes(CKA_LABEL, "mine"))), CKR_ACTION_PROHIBITED);
    let Answer::Attributes { owners, .. } = bob.ask(Call::GetAttributes { handle: public, kinds: vec![] }) else {
        panic!()
    };
    assert_eq!(owners, ["alice"]);
}

#[test]
fn attributes_change_by_awss_table_all_or_none() {
    let served = Served::with_users();
    let (mut alice, mut admin) = (served.alice(), served.log_in("admin", Role::Admin));
    let key = alice.handle(generate_aes(labelled("old", &[])));
    let both = vec![Attribute::bytes(CKA_LABEL, "new"), Attribute::boolean(CKA_EXTRACTABLE, true)];
    let refused = alice.try_ask(Call::SetAttributes { handle: key, template: both }).unwrap_err();
    assert_eq!(refused.ckr, CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(refused.message, "Attribute extractable cannot be set to the value true by the user for this operation");
    assert_eq!(alice.attribute_bytes(key, CKA_LABEL), b"old");
    alice.ask(set(key, Attribute::bytes(CKA_LABEL, "new")));
    assert_eq!(alice.attribute_bytes(key, CKA_LABEL), b"new");
    assert_eq!(alice.found(vec![Attribute::bytes(CKA_LABEL, "new")]), [key]);
    assert_eq!(alice.ckr(set(key, Attribute::boolean(CKA_TRUSTED, true))), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(alice.ckr(set(key, Attribute::ulong(CKA_VALUE_LEN, 16))), CKR_ATTRIBUTE_READ_ONLY);
    admin.ask(set(key, Attribute::boolean(CKA_TRUSTED, true)));
    assert_eq!(admin.ckr(set(key, Attribute::bytes(CKA_LABEL, "admin's"))), CKR_ATTRIBUTE_READ_ONLY);
    assert!(matches!(alice.attribute(key, CKA_TRUSTED), Some(AttributeValue::Bool(true))));
    alice.ask(set(key, Attribute::boolean(CKA_DESTROYABLE, false)));
    assert_eq!(alice.ckr(destroy(key)), CKR_ACTION_PROHIBITED);
    alice.ask(set(key, Attribute::boolean(CKA_DESTROYABLE, true)));
    alice.ask(set(key, Attribute::boolean(CKA_MODIFIABLE, false)));
    assert_eq!(alice.ckr(set(key, Attribute::bytes(CKA_LABEL, "x"))), CKR_ACTION_PROHIBITED);
    alice.ask(destroy(key));
    assert_eq!(alice.ckr(destroy(key)), CKR_OBJECT_HANDLE_INVALID);
}

#[test]
fn a_value_is_read_by_its_owner_only_where_it_is_not_sensitive() {
    let served = Served::with_users();
    let (mut alice, mut admin) = (served.alice(), served.log_in("admin", Role::Admin));
    let open = alice.handle(generate_aes(vec![token(), Attribute::boolean(CKA_SENSITIVE, false)]));
    let closed = alice.handle(generate_aes(vec![token()]));
    let Some(AttributeValue::Secret(value)) = alice.attribute(open, CKA_VALUE) else { panic!() };
    assert_eq!(value.expose().len(), 32);
    for (session, handle) in [(&mut alice, closed), (&mut admin, open)] {
        let answer = session.ask(Call::GetAttributes { handle, kinds: vec![CKA_VALUE, CKA_LABEL, CKA_MODULUS] });
        let Answer::Attributes { attributes, sensitive, .. } = answer else { panic!() };
        assert_eq!(sensitive, [CKA_VALUE]);
        assert_eq!(attributes.iter().map(|attribute| attribute.kind).collect::<Vec<_>>(), [CKA_LABEL]);
    }
    let Answer::Attributes { attributes, .. } = alice.ask(Call::GetAttributes { handle: open, kinds: vec![] }) else {
        panic!()
    };
    assert!(attributes.iter().any(|attribute| attribute.kind == CKA_CHECK_VALUE));
    assert!(attributes.iter().all(|attribute| attribute.kind != CKA_VALUE));
}

#[test]
fn imported_keys_are_not_local_and_work() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let class = |class, key_type| vec![Attribute::ulong(CKA_CLASS, class), Attribute::ulong(CKA_KEY_TYPE, key_type)];
    let hmac = [
        class(CKO_SECRET_KEY, CKK_GENERIC_SECRET),
        vec![Attribute::secret(CKA_VALUE, b"Jefe".to_vec()), Attribute::boolean(CKA_SIGN, true)],
    ]
    .concat();
    let key = alice.handle(Call::CreateObject(hmac));
    let tag = alice.bytes(sign(key, 0x251, b"what do ya want for nothing?"));
    assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46], "RFC 4231, test case 2");
    for kind in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_VERIFY] {
        assert!(matches!(alice.attribute(key, kind), Some(AttributeValue::Bool(false))), "0x{kind:x}");
    }
    let (public, private) = alice.pair(generate_ec(ec::Curve::P384, "own"));
    let signature = alice.bytes(sign(private, CKM_ECDSA_SHA384, b"message"));
    let parts = [CKA_EC_PARAMS, CKA_EC_POINT].map(|kind| Attribute::bytes(kind, alice.attribute_bytes(public, kind)));
    let info = [Attribute::bytes(CKA_PUBLIC_KEY_INFO, alice.attribute_bytes(public, CKA_PUBLIC_KEY_INFO))];
    for parts in [&parts[..], &info] {
        let verifies = [Attribute::boolean(CKA_VERIFY, true)];
        let template = [&class(CKO_PUBLIC_KEY, CKK_EC), parts, &verifies].concat();
        let imported = alice.handle(Call::CreateObject(template));
        alice.ask(verify(imported, CKM_ECDSA_SHA384, b"message", &signature));
        assert_eq!(alice.attribute_bytes(imported, CKA_CHECK_VALUE), alice.attribute_bytes(private, CKA_CHECK_VALUE));
    }
    let mut refused = |template: Vec<Attribute>| alice.ckr(Call::CreateObject(template));
    assert_eq!(refused(vec![]), CKR_TEMPLATE_INCOMPLETE);
    assert_eq!(refused(class(CKO_SECRET_KEY, CKK_AES)), CKR_TEMPLATE_INCOMPLETE);
    let short = [class(CKO_SECRET_KEY, CKK_AES), vec![Attribute::bytes(CKA_VALUE, [0; 15])]].concat();
    assert_eq!(refused(short), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(refused(class(CKO_SECRET_KEY, CKK_RSA)), CKR_ATTRIBUTE_VALUE_INVALID);
}

#[test]
fn session_keys_stay_on_their_connection_until_they_are_kept() {
    let served = Served::with_users();
    let (mut first, mut second) = (served.alice(), served.alice());
    let key = first.handle(generate_aes(vec![Attribute::bytes(CKA_LABEL, "session")]));
    assert_eq!(first.found(vec![]), [key]);
    assert_eq!(second.found(vec![]), []);
    first.ask(set(key, Attribute::bytes(CKA_LABEL, "renamed")));
    first.ask(set(key, token()));
    assert_eq!(second.found(vec![Attribute::bytes(CKA_LABEL, "renamed")]), [key]);
    assert_eq!(first.found(vec![]), [key]);
    let other = first.handle(generate_aes(vec![]));
    first.ask(destroy(other));
    first.handle(generate_aes(vec![]));
    first.ask(Call::Logout);
    first.ask(login("alice", Role::CryptoUser, PASSWORD));
    assert_eq!(first.found(vec![]), [key]);
}

#[test]
fn random_bytes_are_bounded() {
    let served = Served::with_users();
    let mut alice = served.alice();
    assert_eq!(alice.bytes(Call::Random(1024 * 1024)).len(), 1024 * 1024);
    assert_eq!(alice.ckr(Call::Random(1024 * 1024 + 1)), CKR_ARGUMENTS_BAD);
    assert_ne!(alice.bytes(Call::Random(32)), alice.bytes(Call::Random(32)));
}
