//! The main job on the real binary: a key made in one region signs in another.

mod kit;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use kit::*;
use strongroom_client::Hsm;
use strongroom_link::Secret;
use strongroom_link::hsm::{Mechanism, Parameter};
use strongroom_link::pkcs11::*;
use strongroom_model::cluster::ClusterState;

#[test]
fn keys_made_in_one_region_sign_and_decrypt_in_another() {
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let mut session = cluster.login();
    let (rsa_public, _) = generate_rsa(&mut session, "rsa");
    let (ec_public, _) = generate_ec(&mut session, "ec");
    let aes = generate_aes(&mut session, "aes");
    let (rsa_public, ec_public) = (public_key(&mut session, rsa_public), public_key(&mut session, ec_public));
    let gcm = |iv| Mechanism {
        mechanism: CKM_AES_GCM,
        parameter: Parameter::Gcm { iv, aad: b"aad".to_vec(), tag_bits: 128 },
    };
    let sealed = session.encrypt(aes, gcm(None), Secret::new(b"over the sea".to_vec())).unwrap();

    let mut source = dev.api(SOURCE);
    let backup_id = source.fresh_backup(&cluster.id);
    source.call(Api::copy_call(&backup_id, DESTINATION));
    let mut destination = dev.api(DESTINATION);
    let copy = wait("copy READY", || ready_copies(&mut destination, &backup_id).pop());
    let restored = destination.create_cluster(Some(&copy.backup_id));
    destination.wait_cluster(&restored, ClusterState::Active);
    destination.create_hsm(&restored, "a");

    let restored = TestCluster::new(&dev, DESTINATION, restored, cluster.ca.clone());
    let mut session = restored.login();
    let (rsa, ec, aes) = (find(&mut session, "rsa"), find(&mut session, "ec"), find(&mut session, "aes"));
    let message = b"signed in eu-west-1".to_vec();
    let signature = session.sign(rsa, Mechanism::plain(CKM_SHA256_RSA_PKCS), message.clone()).unwrap();
    verify_spki(&RSA_PKCS1_2048_8192_SHA256, &rsa_public, &message, &signature);
    let signature = session.sign(ec, Mechanism::plain(CKM_ECDSA_SHA256), message.clone()).unwrap();
    verify_spki(&ECDSA_P256_SHA256_FIXED, &ec_public, &message, &signature);
    let (iv, sealed) = sealed.split_at(12);
    let opened = session.decrypt(aes, gcm(Some(iv.to_vec())), sealed.to_vec()).unwrap();
    assert_eq!(opened.expose(), b"over the sea");
}

/// Verifies with the key of a SubjectPublicKeyInfo.
fn verify_spki(
    algorithm: &'static dyn aws_lc_rs::signature::VerificationAlgorithm,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) {
    use x509_cert::der::Decode;
    let spki = x509_cert::spki::SubjectPublicKeyInfoRef::from_der(spki).unwrap();
    UnparsedPublicKey::new(algorithm, spki.subject_public_key.raw_bytes()).verify(message, signature).unwrap();
}

#[test]
fn a_second_start_goes_on_where_the_first_was() {
    let mut dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    assert_eq!(dev.interrupt(), 0);
    dev.run();
    let again = TestCluster::new(&dev, SOURCE, cluster.id.clone(), cluster.ca.clone());
    let mut session = again.login();
    let ec = find(&mut session, "ec");
    session.sign(ec, Mechanism::plain(CKM_ECDSA_SHA256), b"again".to_vec()).unwrap();
}
