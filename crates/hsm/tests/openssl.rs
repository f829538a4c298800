//! Runs the commands of AWS's guide, as they stand there but for the pass phrase, over a CSR of ours, and gives what they
//! make to the check of InitializeCluster. Tells that it did nothing where there is no `openssl`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_hsm::certificate;
use strongroom_hsm::identity::{self, ClusterKeyPair};
use strongroom_hsm::root::Root;
use strongroom_hsm::seam::SystemRng;

const CLUSTER: &str = "cluster-laci57k43pe";

#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not run")]
fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        eprintln!("skipped: there is no openssl on the PATH");
    }
    found
}

fn openssl(folder: &Path, arguments: &str) -> bool {
    let command = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    command.unwrap().success()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A folder with the CSR and certificates of a new cluster.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::generate(&SystemRng);
    let made = identity::make(&root, &ClusterKeyPair::generate(), "hsm-nx7kj5ucqzy", "FIPS", now_ms());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(&format!("{CLUSTER}_ClusterCsr.csr"), &made.csr);
    write("hsm.crt", &made.hsm_certificate);
    write("hardware.crt", &made.hardware_certificate);
    write("manufacturer.crt", &made.manufacturer_certificate);
    folder
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn check(folder: &Path) -> Result<(), String> {
    let csr = read(folder, &format!("{CLUSTER}_ClusterCsr.csr"));
    let signed_cert = read(folder, &format!("{CLUSTER}_CustomerHsmCertificate.crt"));
    certificate::check(CLUSTER, &csr, &signed_cert, &read(folder, "customerCA.crt"), now_ms())
}

fn sign(folder: &Path) {
    assert!(openssl(
        folder,
        &format!(
            "x509 -req -days 3652 -in {CLUSTER}_ClusterCsr.csr -CA customerCA.crt -CAkey customerCA.key \
             -passin pass:secret -CAcreateserial -out {CLUSTER}_CustomerHsmCertificate.crt"
        )
    ));
}

#[test]
fn the_commands_of_the_guide_are_accepted() {
    if !has_openssl() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    assert!(openssl(folder, "genrsa -aes256 -passout pass:secret -out customerCA.key 2048"));
    let subject = "-subj /CN=Example";
    assert!(openssl(
        folder,
        &format!("req -new -x509 -days 3652 -key customerCA.key -passin pass:secret -out customerCA.crt {subject}")
    ));
    sign(folder);
    check(folder).unwrap();

    // Another CA with the same name.
    assert!(openssl(folder, "genrsa -aes256 -passout pass:secret -out customerCA.key 2048"));
    assert!(openssl(
        folder,
        &format!("req -new -x509 -days 3652 -key customerCA.key -passin pass:secret -out customerCA.crt {subject}")
    ));
    assert_eq!(
        check(folder).unwrap_err(),
        "SignedCert is not signed by the key of TrustAnchor \"CN=Example\". Sign the CSR with the key of that \
         certificate and send both."
    );
}

#[test]
fn other_ca_keys_are_accepted_and_sha1_is_not() {
    if !has_openssl() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let new_ca = |key: &str, digest: &str| {
        assert!(openssl(folder, &format!("genpkey -algorithm {key} -out customerCA.key")));
        let request =
            format!("req -new -x509 -days 3652 {digest} -key customerCA.key -out customerCA.crt -subj /CN=Ex");
        assert!(openssl(folder, &request));
        sign(folder);
    };
    for key in [
        "RSA -pkeyopt rsa_keygen_bits:3072",
        "EC -pkeyopt ec_paramgen_curve:P-256",
        "EC -pkeyopt ec_paramgen_curve:P-384",
        "EC -pkeyopt ec_paramgen_curve:P-521",
    ] {
        new_ca(key, "-sha256");
        check(folder).unwrap_or_else(|refused| panic!("{key}: {refused}"));
    }
    new_ca("RSA -pkeyopt rsa_keygen_bits:2048", "-sha1");
    assert!(check(folder).unwrap_err().contains("SHA-1"));
    new_ca("EC -pkeyopt ec_paramgen_curve:secp256k1", "-sha256");
    assert!(check(folder).unwrap_err().contains("neither RSA nor on P-256"));
    new_ca("RSA -pkeyopt rsa_keygen_bits:1024", "-sha256");
    assert!(check(folder).unwrap_err().contains("1024 bits"));
}

#[test]
fn openssl_verifies_what_vouches_for_the_cluster() {
    if !has_openssl() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    assert!(openssl(folder, "verify -CAfile manufacturer.crt -untrusted hardware.crt hsm.crt"));
    assert!(!openssl(folder, "verify -CAfile manufacturer.crt hsm.crt"));
    assert!(openssl(folder, &format!("req -in {CLUSTER}_ClusterCsr.csr -verify -noout")));
}
