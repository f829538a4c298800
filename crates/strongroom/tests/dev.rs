//! `strongroom dev` as people meet it: what it says, what it keeps, what it refuses, and what it leaves behind.

mod kit;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kit::*;
use strongroom_model::cluster::ClusterState;

fn strongroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    for name in ["STRONGROOM_CONFIG", "STRONGROOM_DATA", "STRONGROOM_LOG", "AWS_REGION", "AWS_CA_BUNDLE"] {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn what_was_made_is_there_at_the_next_start() {
    let mut dev = Dev::start();
    let cluster = dev.api(SOURCE).create_cluster(None);
    dev.api(SOURCE).wait_cluster(&cluster, ClusterState::Uninitialized);
    assert_eq!(dev.interrupt(), 0);
    let first = dev.output.lock().unwrap().clone();
    assert!(first.contains("     new; root keys beside it, in data.keys\n"), "{first}");
    assert!(first.contains("Stopping. Ctrl-C again ends at once.\n"), "{first}");
    assert!(first.contains(&format!(" s. Data stays in {}.\n", dev.data().display())), "{first}");
    dev.run();
    let both = dev.output.lock().unwrap().clone();
    assert!(both.contains("     1 cluster, 0 HSMs, 0 backups\n"), "{both}");
    let networks = lines_with(&both, "  HSM network");
    assert_eq!(networks.len(), 2);
    assert_eq!(networks[0], networks[1]);
    assert_eq!(dev.api(SOURCE).cluster(&cluster).cluster_id, Some(cluster));
}

#[test]
fn a_folder_and_a_port_belong_to_one_process() {
    let dev = Dev::start();
    let second = strongroom().args(["dev", "--data"]).arg(dev.data()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let data = dev.data();
    let (data, pid, address) = (data.display(), dev.pid(), &dev.address);
    let error = text(&second.stderr);
    assert!(error.starts_with(&format!("error[data-in-use]: {data} belongs to a running process\n")), "{error}");
    assert!(
        error.contains(&format!("cause: pid {pid} (strongroom dev, http://{address}) has held its lock")),
        "{error}"
    );

    let other = dev.folder.path().join("other");
    let third = strongroom().args(["dev", "--listen", &dev.address, "--data"]).arg(other).output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    let error = text(&third.stderr);
    assert!(error.starts_with(&format!("error[port-in-use]: cannot listen on {address}\n")), "{error}");
    assert!(error.contains(&format!("cause: pid {pid} (strongroom) listens there\n")), "{error}");
    assert!(error.contains("help:  strongroom dev --listen 127.0.0.1:"), "{error}");
}

#[test]
fn an_ephemeral_dev_ends_with_its_command_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let script = r#""$STRONGROOM" subnet list | head -1; echo "$AWS_REGION $AWS_ENDPOINT_URL_CLOUDHSM_V2"; exit 7"#;
    let output = strongroom()
        .args(["dev", "--ephemeral", "--regions", "ap-south-1", "--", "sh", "-c", script])
        .env("TMPDIR", temporary.path())
        .env("STRONGROOM", env!("CARGO_BIN_EXE_strongroom"))
        .env("AWS_SESSION_TOKEN", "somebody's")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let stdout = text(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("subnet-") && lines[0].ends_with("ap-south-1a\tdefault"), "{stdout}");
    assert!(lines[1].starts_with("ap-south-1 http://127.0.0.1:"), "{stdout}");
    assert!(text(&output.stderr).contains("ephemeral: keys and data end with this process."), "{}", said(&output));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);

    // The keys are in the host's memory alone: without it nothing can go on, and that is told.
    let script = r#"for p in $(cat /proc/$PPID/task/*/children); do [ $p = $$ ] || kill -9 $p; done; exec sleep 30"#;
    let begun = Instant::now();
    let output = strongroom().args(["dev", "--ephemeral", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("error[keys-lost]: the HSM host ended, and with it the keys of this ephemeral start\n"),
        "{errors}"
    );
    assert!(errors.contains("cause: signal: 9 (SIGKILL)\n"), "{errors}");
    assert!(begun.elapsed() < Duration::from_secs(20), "the command is ended too");

    let missing = strongroom().args(["dev", "--ephemeral", "--", "/nowhere/at-all"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2), "{}", said(&missing));
}

#[test]
fn dev_speaks_tls_under_a_certificate_of_its_users() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let dev = |key: &Path| {
        let mut command = strongroom();
        command.args(["dev", "--ephemeral", "--tls-certificate"]).arg(&certificate).arg("--tls-key").arg(key);
        command.args([
            "--",
            "sh",
            "-c",
            r#""$STRONGROOM" subnet list | head -1; echo "$AWS_ENDPOINT_URL_CLOUDHSM_V2""#,
        ]);
        command.env("STRONGROOM", env!("CARGO_BIN_EXE_strongroom")).output().unwrap()
    };
    let output = dev(&key);
    let lines = text(&output.stdout);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].starts_with("subnet-"), "{}", said(&output));
    assert!(lines[1].starts_with("https://127.0.0.1:"), "{}", said(&output));
    let refused = dev(&certificate);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).starts_with("error[tls]: "), "{}", said(&refused));
}

#[test]
fn a_region_can_be_added_and_none_taken_away() {
    let mut dev = Dev::start();
    assert_eq!(dev.interrupt(), 0);
    let other = strongroom().args(["dev", "--regions", "us-east-1", "--data"]).arg(dev.data()).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).starts_with("error[regions-decided]: "), "{}", said(&other));

    dev.extra = vec!["--regions".into(), "+ap-south-1".into()];
    dev.run();
    dev.api("ap-south-1").create_cluster(None);
    let show =
        strongroom().args(["region", "show", "--region", "ap-south-1", "--data"]).arg(dev.data()).output().unwrap();
    let shown = text(&show.stdout);
    assert_eq!(lines_with(&shown, "ap-south-1\t").len(), 1, "{}", said(&show));
    for peer in ["us-east-1", "eu-west-1"] {
        let line =
            lines_with(&shown, &format!("{peer}\t")).pop().unwrap_or_else(|| panic!("{}", said(&show))).to_owned();
        assert!(line.ends_with("\ttrusted"), "{line}");
        let peers = dev.folder.path().join("data.keys").join(peer).join("peers");
        assert!(peers.join("ap-south-1.toml").is_file(), "{peer} trusts it too");
    }
}

#[test]
fn without_its_root_key_a_region_does_not_start() {
    let mut dev = Dev::start();
    let cluster = dev.api(SOURCE).create_cluster(None);
    dev.api(SOURCE).wait_cluster(&cluster, ClusterState::Uninitialized);
    dev.interrupt();
    let key = dev.folder.path().join("data.keys").join(SOURCE).join("root");
    let root = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let listen = ["dev", "--listen", "127.0.0.1:0", "--data"];
    let output = strongroom().args(listen).arg(dev.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("its root key is not"), "{}", said(&output));
    assert!(!key.exists(), "no new root is minted for old data");
    fs::write(&key, root).unwrap();
    set_private(&key);
    dev.run();
    assert_eq!(dev.api(SOURCE).cluster(&cluster).cluster_id, Some(cluster));
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn regions_of_two_processes_are_paired_by_files() {
    let [one, two] = [SOURCE, DESTINATION].map(|region| Dev::start_with(&["--regions", region], &[]));
    let export = |dev: &Dev, region: &str| {
        let output = strongroom().args(["region", "export", "--data"]).arg(dev.data()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let path = dev.folder.path().join(format!("{region}.region"));
        fs::write(&path, &output.stdout).unwrap();
        let beside = text(&output.stderr);
        assert!(beside.starts_with(&format!("{region} at 127.")), "{beside}");
        (path, beside.trim_end().rsplit(' ').next().unwrap().to_owned())
    };
    let trust = |dev: &Dev, file: &Path, fingerprint: &str| {
        let mut command = strongroom();
        command.args(["region", "trust", "--data"]).arg(dev.data()).arg(file);
        command.args(["--fingerprint", fingerprint]).output().unwrap()
    };
    let (one_file, one_print) = export(&one, SOURCE);
    let (two_file, two_print) = export(&two, DESTINATION);
    let wrong = trust(&one, &two_file, &one_print);
    assert_eq!(wrong.status.code(), Some(4), "{}", said(&wrong));
    for trusted in [trust(&one, &two_file, &two_print), trust(&two, &one_file, &one_print)] {
        assert!(trusted.status.success(), "{}", said(&trusted));
        assert!(text(&trusted.stdout).starts_with("Trusted: "), "{}", said(&trusted));
    }

    let cluster = one.cluster(SOURCE);
    let backup_id = one.api(SOURCE).fresh_backup(&cluster.id);
    one.api(SOURCE).call(Api::copy_call(&backup_id, DESTINATION));
    let mut destination = two.api(DESTINATION);
    let copy = wait("copy READY", || ready_copies(&mut destination, &backup_id).pop());
    assert_eq!(copy.source_backup, Some(backup_id));
}

#[test]
fn a_dev_that_cannot_reach_its_host_says_so_and_recovers() {
    let dev = Dev::start();
    let cluster = dev.api(SOURCE).create_cluster(None);
    dev.api(SOURCE).wait_cluster(&cluster, ClusterState::Uninitialized);
    let host = dev.host_pid().unwrap();
    assert!(Command::new("kill").args(["-KILL", &host.to_string()]).status().unwrap().success());
    let again = wait("another HSM host", || dev.host_pid().filter(|pid| *pid != host));
    assert_ne!(again, host);
    dev.api(SOURCE).create_hsm(&cluster, "a");
}

#[test]
fn findings_of_the_configuration_are_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strongroom.toml");
    fs::write(&path, "[dev]\nlissten = \"127.0.0.1:1\"\npace = \"slow\"\n").unwrap();
    let check = strongroom().args(["check-config", "--config"]).arg(&path).output().unwrap();
    assert_eq!(check.status.code(), Some(5), "{}", said(&check));
    let errors = text(&check.stderr);
    assert!(errors.contains(&format!("error[unknown-key]: dev.lissten in {}:2\n", path.display())), "{errors}");
    assert!(errors.contains("help:  did you mean listen?\n"), "{errors}");
    assert!(errors.contains(&format!("error[bad-value]: dev.pace in {}:3\n", path.display())), "{errors}");
    let start = strongroom().args(["dev", "--config"]).arg(&path).output().unwrap();
    assert_eq!(start.status.code(), Some(5), "{}", said(&start));
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let dev = Dev::start_with(&["--pace", "aws"], &[]);
    let pid = dev.pid().to_string();
    let host = dev.host_pid().unwrap();
    // A host that does not end keeps the first one waiting.
    assert!(Command::new("kill").args(["-STOP", &host.to_string()]).status().unwrap().success());
    let interrupt = || Command::new("kill").args(["-INT", &pid]).status().unwrap().success();
    assert!(interrupt());
    wait("the stop", || dev.output.lock().unwrap().contains("Stopping").then_some(()));
    assert!(interrupt());
    wait("the end", || (!Path::new(&format!("/proc/{pid}/fd/0")).exists()).then_some(()));
    let _ = Command::new("kill").args(["-KILL", &host.to_string()]).status();
}
