//! Where keys are, and where they are not: known keys are imported, and their bytes are looked for in the memory of both
//! processes, in every file below the data folder, and in all that was printed. They are in the HSM host's memory (which
//! shows that the search finds what is there) and nowhere else; so is the password's absence everywhere.

mod kit;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use kit::*;
use strongroom_client::Hsm;
use strongroom_link::hsm::{Attribute, Mechanism};
use strongroom_link::pkcs11::*;

/// A P-256 scalar and an RSA prime of keys that OpenSSL made for this test.
struct Known {
    scalar: Vec<u8>,
    prime: Vec<u8>,
}

#[test]
fn keys_are_in_the_memory_of_the_hsm_host_and_nowhere_else() {
    if !is_root() {
        skipped("reading another process's memory needs root");
        return;
    }
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let mut session = cluster.login();
    let known = import_known(&mut session);
    let ec = find(&mut session, "known-ec");
    session.sign(ec, Mechanism::plain(CKM_ECDSA_SHA256), b"in use".to_vec()).unwrap();
    let mut api = dev.api(SOURCE);
    let backup_id = api.fresh_backup(&cluster.id);
    api.call(Api::copy_call(&backup_id, DESTINATION));
    let mut other = dev.api(DESTINATION);
    wait("copy READY", || ready_copies(&mut other, &backup_id).pop());

    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    let needles: Vec<Vec<u8>> = [&known.scalar, &known.prime]
        .into_iter()
        .flat_map(|key| [key[..16].to_vec(), reversed(&key[key.len() - 16..]), reversed(&key[..16])])
        .collect();
    let host = memory(dev.host_pid().unwrap());
    assert!(needles.iter().any(|needle| contains(&host, needle)), "the search finds keys where they are");

    let api_process = memory(dev.pid());
    for needle in &needles {
        assert!(!contains(&api_process, needle), "key bytes in the API process");
    }
    let root = root_key(&dev);
    assert!(!contains(&api_process, &root), "the root in the API process");
    assert!(!contains(&api_process, b"app-password-1"), "a password in the API process");
    for file in files(&dev.data()) {
        let bytes = std::fs::read(&file).unwrap();
        for needle in needles.iter().chain([&root, &b"app-password-1".to_vec()]) {
            assert!(!contains(&bytes, needle), "a secret in {}", file.display());
        }
    }
    let output = dev.output.lock().unwrap().clone();
    for needle in needles.iter().chain([&root, &b"app-password-1".to_vec()]) {
        for written in spellings(needle) {
            assert!(!output.contains(&written) && !output.to_lowercase().contains(&written), "a secret in the log");
        }
    }
}

/// How bytes may stand in a log: as they are, in hex, in base64, and as a list of numbers.
fn spellings(bytes: &[u8]) -> Vec<String> {
    use data_encoding::{BASE64, HEXLOWER};
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    // The last group of base64 depends on what follows.
    let base64 = BASE64.encode(&bytes[..bytes.len() / 3 * 3]);
    let mut spellings = vec![HEXLOWER.encode(bytes), base64, numbers.join(", ")];
    spellings.extend(String::from_utf8(bytes.to_vec()));
    spellings
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// Makes an EC and an RSA key outside, imports both, and tells what to look for.
fn import_known(session: &mut strongroom_client::Session) -> Known {
    let scalar = openssl_ec();
    let p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let template = vec![
        Attribute::ulong(CKA_CLASS, CKO_PRIVATE_KEY),
        Attribute::ulong(CKA_KEY_TYPE, CKK_EC),
        Attribute::bytes(CKA_EC_PARAMS, p256),
        Attribute::secret(CKA_VALUE, scalar.clone()),
        Attribute::boolean(CKA_SIGN, true),
    ];
    session.create_object(labelled("known-ec", template)).unwrap();
    let parts = openssl_rsa();
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
    let mut template = vec![
        Attribute::ulong(CKA_CLASS, CKO_PRIVATE_KEY),
        Attribute::ulong(CKA_KEY_TYPE, CKK_RSA),
        Attribute::boolean(CKA_SIGN, true),
    ];
    for (kind, value) in kinds.into_iter().zip(&parts) {
        template.push(match kind {
            CKA_MODULUS | CKA_PUBLIC_EXPONENT => Attribute::bytes(kind, value.clone()),
            _ => Attribute::secret(kind, value.clone()),
        });
    }
    session.create_object(labelled("known-rsa", template)).unwrap();
    Known { scalar, prime: parts[3].clone() }
}

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "openssl {args:?}");
    out.stdout
}

/// The scalar, from SEC1's ECPrivateKey.
fn openssl_ec() -> Vec<u8> {
    let pem = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"], b"");
    let der = openssl(&["ec", "-outform", "DER"], &pem);
    // SEQUENCE { INTEGER 1, OCTET STRING scalar, [0] OID, [1] BIT STRING point }
    assert_eq!(der[5..7], [0x04, 0x20]);
    der[7..39].to_vec()
}

/// n, e, d, p, q, dp, dq, qInv, from PKCS#1's RSAPrivateKey.
fn openssl_rsa() -> Vec<Vec<u8>> {
    let pem = openssl(&["genrsa", "-traditional", "2048"], b"");
    let der = openssl(&["rsa", "-traditional", "-outform", "DER"], &pem);
    let (mut at, mut integers) = (4, Vec::new());
    while at < der.len() {
        assert_eq!(der[at], 0x02);
        let (length, head) = match der[at + 1] {
            0x82 => (usize::from(der[at + 2]) << 8 | usize::from(der[at + 3]), 4),
            0x81 => (usize::from(der[at + 2]), 3),
            short => (usize::from(short), 2),
        };
        let value = &der[at + head..at + head + length];
        integers.push(value.iter().copied().skip_while(|b| *b == 0).collect());
        at += head + length;
    }
    integers.remove(0);
    integers
}

/// The region's root as its key file holds it.
fn root_key(dev: &Dev) -> Vec<u8> {
    let folder = dev.folder.path().join("data.keys");
    let file = files(&folder).into_iter().find(|f| f.ends_with(format!("{SOURCE}/root"))).expect("the root's file");
    let text = std::fs::read_to_string(file).unwrap();
    let longest =
        text.split(|c: char| c.is_whitespace() || c == ':' || c == '=').max_by_key(|word| word.len()).unwrap();
    longest.as_bytes().to_vec()
}

/// All memory of a process that it can write and has touched; what an allocator has only reserved is left out.
fn memory(pid: u32) -> Vec<u8> {
    let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let (mem, pagemap, page) = (open("mem"), open("pagemap"), rustix::param::page_size() as u64);
    let mut all = Vec::new();
    for line in maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap() / page);
        let mut entries = vec![0; 8 * (to - from) as usize];
        // Special mappings, such as [vvar], have none and hold nothing of ours.
        if pagemap.read_exact_at(&mut entries, 8 * from).is_err() {
            continue;
        }
        for (n, entry) in (from..).zip(entries.chunks_exact(8)) {
            let is_there = u64::from_le_bytes(entry.try_into().unwrap()) >> 62 != 0;
            let mut bytes = vec![0; page as usize];
            if is_there && mem.read_exact_at(&mut bytes, n * page).is_ok() {
                all.append(&mut bytes);
            }
        }
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[allow(clippy::print_stdout, reason = "whoever reads the test's output must learn that it was skipped")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}
