//! The commands that talk to a running `dev`: the first hour, sections 2 to 4.

mod kit;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kit::*;
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs words of a shell with what quickstart wrote.
fn shell(folder: &Path, script: &str) -> String {
    let script = format!(". quickstart/env\nset -e\n{script}");
    let path = Path::new(env!("CARGO_BIN_EXE_strongroom")).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    succeeds(&Command::new("sh").args(["-c", &script]).current_dir(folder).env("PATH", path).output().unwrap())
}

#[test]
fn quickstart_makes_a_cluster_whose_key_signs() {
    let dev = Dev::start();
    let first = succeeds(&dev.command(SOURCE, &["quickstart"]));
    let names: Vec<&str> = first.lines().skip(1).take(8).map(|line| line[2..13].trim_end()).collect();
    let steps = ["cluster", "HSM", "customer CA", "initialized", "activated", "key pair", "HSM", "backup"];
    assert_eq!(names, steps, "{first}");
    assert!(
        first.starts_with("A cluster in us-east-1, through the public API; files in ./quickstart (0700)\n"),
        "{first}"
    );
    assert!(first.contains("READY, opened and checked: 3 users, 2 keys, "), "{first}");

    let again = succeeds(&dev.command(SOURCE, &["quickstart"]));
    assert!(again.starts_with("./quickstart is complete: cluster-"), "{again}");
    assert!(again.contains(" ACTIVE, 2 HSMs, user app, key demo. Next:\n  . quickstart/env\n"), "{again}");

    let verified = shell(
        dev.folder.path(),
        "printf hello > msg
         strongroom cloudhsm-cli crypto sign rsa-pkcs --key-filter attr.label=demo --hash-function sha256 \
             --data-path msg | sed -n 's/.*\"signature\": \"\\(.*\\)\".*/\\1/p' | base64 -d > msg.sig
         strongroom cloudhsm-cli key generate-file --encoding pem --path demo.pem --filter attr.label=demo-pub
         openssl dgst -sha256 -verify demo.pem -signature msg.sig msg",
    );
    assert!(verified.ends_with("Verified OK\n"), "{verified}");
    let cluster = again.split_whitespace().find(|word| word.starts_with("cluster-")).unwrap();
    let configured = succeeds(&dev.command(
        SOURCE,
        &["configure", "--cluster-id", cluster, "--hsm-ca-cert", "quickstart/customerCA.crt", "--to", "./client"],
    ));
    assert!(configured.contains(", reached, certificate signed by customerCA.crt. Use: export"), "{configured}");
}

#[test]
fn a_quickstart_that_was_cut_goes_on() {
    let dev = Dev::start();
    succeeds(&dev.command(SOURCE, &["quickstart"]));
    let env = dev.folder.path().join("quickstart/env");
    let whole = fs::read_to_string(&env).unwrap();
    let cluster = whole.lines().find_map(|line| line.strip_prefix("QUICKSTART_CLUSTER=")).unwrap().to_owned();
    // As if it had been cut after CreateCluster, before it wrote the cluster down.
    fs::write(&env, whole.replace(&cluster, "")).unwrap();
    let again = succeeds(&dev.command(SOURCE, &["quickstart"]));
    assert!(again.contains(&cluster), "{again}");
    assert_eq!(dev.api(SOURCE).backups(None).len(), 2, "nothing was made twice");
    assert_eq!(fs::read_to_string(&env).unwrap(), whole);

    let elsewhere = dev.command(DESTINATION, &["quickstart"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    let error = text(&elsewhere.stderr);
    assert!(error.starts_with(&format!("error[cluster-gone]: {cluster} is not in {DESTINATION} any more")), "{error}");
}

#[test]
fn copies_are_shown_on_both_sides() {
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let backup_id = dev.api(SOURCE).fresh_backup(&cluster.id);
    dev.api(SOURCE).call(Api::copy_call(&backup_id, DESTINATION));
    let copied = wait("copy READY", || ready_copies(&mut dev.api(DESTINATION), &backup_id).pop()).backup_id;

    let line = wait("ready at the source", || {
        let line = succeeds(&dev.command(SOURCE, &["copies"]));
        line.contains("\tready\t").then_some(line)
    });
    let cells: Vec<&str> = line.trim_end().split('\t').collect();
    assert_eq!(cells[1..5], [backup_id.as_str(), SOURCE, DESTINATION, "ready"], "{line}");
    assert!(cells[7].starts_with(&format!("{copied}, in ")), "{line}");
    assert!(succeeds(&dev.command(DESTINATION, &["copies"])).starts_with(cells[0]));
    assert_eq!(succeeds(&dev.command(SOURCE, &["copies", "--state", "failed,overdue"])), "");

    let json: Value = serde_json::from_str(&succeeds(&dev.command(SOURCE, &["copies", "--json"]))).unwrap();
    assert_eq!(json["format"], "strongroom.copies/1");
    assert_eq!(json["copies"][0]["destination"]["backup_id"], copied.as_str());
    let shown = succeeds(&dev.command(SOURCE, &["copies", "show", cells[0]]));
    for part in [
        &format!("{}  ready  {backup_id} ({SOURCE}) -> {copied} ({DESTINATION})\n", cells[0])[..],
        ", equal in both regions\n",
        "  +0 ms  accepted ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(dev.command(SOURCE, &["copies", "--watch"]).status.code(), Some(0));
    let backups = succeeds(&dev.command(DESTINATION, &["backups"]));
    assert!(backups.starts_with(&format!("{copied}\tREADY\tcopy from {SOURCE}\t")), "{backups}");
}

#[test]
fn awss_names_are_names_of_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, words: &[&str]| {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strongroom"), &link).unwrap();
        Command::new(link).args(words).env("STRONGROOM_CLIENT", folder.path()).output().unwrap()
    };
    assert!(succeeds(&run("cloudhsm-cli", &["--help"])).contains("Usage: cloudhsm-cli "));
    let unknown = run("configure-cli", &["--disable-key-availability-check"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).starts_with("error[no-hsm]: "), "{}", text(&unknown.stderr));
}

#[test]
fn what_goes_wrong_has_its_exit_code() {
    let mut dev = Dev::start();
    let code = |dev: &Dev, words: &[&str]| {
        let output = dev.command(SOURCE, words);
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let (refused, error) = code(&dev, &["copies", "show", "copy-aaaaaaaaaaa"]);
    assert_eq!(refused, 4, "{error}");
    assert!(error.starts_with("error[refused]: CloudHsmResourceNotFoundException: "), "{error}");
    assert_eq!(code(&dev, &["copies", "--state", "gone"]).0, 2);
    assert_eq!(code(&dev, &["nonsense"]).0, 2);
    let (refused, error) = code(&dev, &["subnet", "add", "--vpc", "vpc-1", "--az", "us-east-1a", "subnet-x"]);
    assert_eq!(refused, 4, "{error}");
    dev.interrupt();
    let (unreachable, error) = code(&dev, &["backups"]);
    assert_eq!(unreachable, 3, "{error}");
    assert!(error.contains("help:  is it running?  strongroom dev"), "{error}");
}
