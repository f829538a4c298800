use std::sync::Arc;

use clap::Parser;
use strongroom_model::{ErrorKind, Timestamp};

use super::*;
use crate::identity::{Grant, Identities, Who};

const ACCOUNT: &str = "111122223333";
const NOW: Timestamp = Timestamp::from_millis(1_795_511_647_000);

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    admin: Admin,
}

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.admin(&format!("account create {ACCOUNT} --name tests")).unwrap();
        desk
    }

    fn layout(&self) -> Layout {
        Layout::new(self.0.path().join("data"))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn account_file(&self) -> String {
        fs::read_to_string(self.layout().identity().join(format!("{ACCOUNT}.json"))).unwrap()
    }

    fn admin(&self, line: &str) -> Result<String, Problem> {
        let data = self.layout().data().display().to_string();
        let words = ["admin"].into_iter().chain(line.split_whitespace()).chain(["--data", &data]);
        let cli = Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{e}"));
        let style = Style { json: false, utc: true, color: false, terminal: true };
        let mut out = Vec::new();
        run(&cli.admin, &style, &mut out, &mut std::io::sink())?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// A key's id and secret.
    fn key(&self, user: &str) -> (String, String) {
        let out = self.admin(&format!("key create {ACCOUNT} {user}")).unwrap();
        let values: Vec<&str> = out.lines().map(|line| line.split_once('=').unwrap().1).collect();
        (values[0].to_owned(), values[1].to_owned())
    }

    fn identities(&self) -> Arc<Identities> {
        Arc::new(Identities::read(&self.layout()).unwrap())
    }
}

#[test]
fn a_running_server_sees_what_an_operator_changes() {
    let desk = Desk::new();
    let identities = desk.identities();
    let finds = |id: &str| {
        identities.refresh();
        identities.find(id, None, NOW).unwrap()
    };
    desk.admin(&format!("user create {ACCOUNT} alice --policy AWSCloudHSMReadOnlyAccess --tag team=red")).unwrap();
    let (id, secret) = desk.key("alice");
    let alice = finds(&id).unwrap();
    assert_eq!((alice.arn.as_str(), alice.secret.expose()), ("arn:aws:iam::111122223333:user/alice", secret.as_str()));
    assert_eq!(alice.authority.user_name.as_deref(), Some("alice"));
    assert_eq!((alice.authority.tags[0].value.as_str(), alice.authority.identity.len()), ("red", 1));
    assert!(!desk.account_file().contains(&secret), "the secret is sealed");
    assert!(finds("test").is_some(), "the user of dev is there beside");

    desk.admin(&format!("key disable {ACCOUNT} {id}")).unwrap();
    assert!(finds(&id).is_none());
    desk.admin(&format!("key enable {ACCOUNT} {id}")).unwrap();
    assert!(finds(&id).is_some());
    desk.admin(&format!("key rotate {ACCOUNT} alice")).unwrap();
    assert!(finds(&id).is_some());
    assert_eq!(desk.admin(&format!("key rotate {ACCOUNT} alice")).unwrap_err().slug(), "keys-full");
    desk.admin(&format!("user disable {ACCOUNT} alice")).unwrap();
    assert!(finds(&id).is_none());
    assert!(desk.admin(&format!("key list {ACCOUNT}")).unwrap().contains("its user is disabled"));
    desk.admin(&format!("user delete {ACCOUNT} alice")).unwrap();
    assert!(!desk.account_file().contains("alice"));
}

#[test]
fn what_is_refused_changes_nothing_and_says_where_it_is_wrong() {
    let desk = Desk::new();
    desk.admin(&format!("user create {ACCOUNT} alice")).unwrap();
    let before = desk.account_file();
    let bad = desk.file("bad.json", r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Resource":"*"}}"#);
    for (line, cause) in [
        (format!("user create {ACCOUNT} bob --policy {bad}"), "users[1].policies.bad: Statement[0]: Policy statement"),
        (format!("user create {ACCOUNT} ALICE"), "users[1].name: there is a \"ALICE\" already"),
        (format!("user create {ACCOUNT} a/b"), "users[1].name: \"a/b\" is no name"),
        (format!("role create {ACCOUNT} r --trust {bad}"), "roles[0].trust: "),
        (format!("user create {ACCOUNT} bob --tag aws:k=v"), "users[1].tags.aws:k: aws: is AWS's own"),
    ] {
        let problem = desk.admin(&line).unwrap_err();
        assert_eq!((problem.slug(), problem.exit_code()), ("refused", Exit::Usage), "{problem}");
        assert!(problem.to_string().contains(cause), "{problem}");
    }
    assert_eq!(desk.admin("user create 999999999999 bob").unwrap_err().slug(), "no-account");
    assert_eq!(desk.admin(&format!("user create {ACCOUNT} bob --policy Nothing")).unwrap_err().slug(), "policy");
    assert_eq!(desk.admin("account create 12").unwrap_err().slug(), "account");
    assert_eq!(desk.account_file(), before);
}

#[test]
fn files_are_read_all_or_none_and_a_copied_one_does_not_sign() {
    let desk = Desk::new();
    desk.admin(&format!("user create {ACCOUNT} alice")).unwrap();
    let (id, _) = desk.key("alice");
    let identities = desk.identities();
    let other = desk.layout().identity().join("444455556666.json");
    fs::write(&other, "{").unwrap();
    assert!(!identities.refresh());
    assert!(identities.find(&id, None, NOW).unwrap().is_some(), "what was there counts");
    assert!(Identities::read(&desk.layout()).unwrap_err().to_string().contains("444455556666.json: line 1 column 1"));
    fs::remove_file(other).unwrap();

    let thief = Layout::new(desk.0.path().join("stolen"));
    fs::create_dir_all(thief.identity()).unwrap();
    fs::write(thief.identity().join(format!("{ACCOUNT}.json")), desk.account_file()).unwrap();
    let fault = Identities::read(&thief).unwrap_err();
    assert_eq!(fault.place, "users[0].access_keys[0].secret");
    assert!(!thief.keys().exists(), "reading makes no key");
}

#[test]
fn a_session_ends_with_its_time_its_user_or_its_role() {
    let desk = Desk::new();
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:*"}}"#;
    let trust = desk.file("trust.json", trust);
    desk.admin(&format!("role create {ACCOUNT} r --trust {trust} --policy AdministratorAccess --tag k=role --tag l=m"))
        .unwrap();
    let identities = desk.identities();
    let role = identities.role("arn:aws:iam::111122223333:role/r").unwrap();
    let document =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudhsm:List*","Resource":"*"}}"#;
    let grant = Grant {
        who: Who::Role { arn: role.arn.clone(), id: role.id.clone(), session_name: "s1".into() },
        issued: NOW.millis(),
        expires: NOW.millis() + 900_000,
        policies: Some(vec![document.into()]),
        tags: vec![("K".into(), "session".into()), ("n".into(), "o".into())],
        transitive: vec!["n".into()],
        source_identity: Some("Eve".into()),
    };
    let [issued, other] = [identities.issue(&grant).unwrap(), identities.issue(&grant).unwrap()];
    let find = |id: &str, now: Timestamp| identities.find(id, Some(&issued.token), now);
    for _ in 0..2 {
        let found = find(&issued.access_key_id, NOW).unwrap().unwrap();
        assert_eq!(found.arn, "arn:aws:sts::111122223333:assumed-role/r/s1");
        assert_eq!(found.user_id, format!("{}:s1", role.id));
        assert_eq!(found.secret.expose(), issued.secret.expose());
        let tags: Vec<_> = found.authority.tags.iter().map(|t| (t.key.as_str(), t.value.as_str())).collect();
        assert_eq!(tags, [("l", "m"), ("K", "session"), ("n", "o")]);
        assert_eq!(found.authority.session.as_ref().map(Vec::len), Some(1));
        let facts = found.session.as_ref().unwrap();
        assert_eq!((facts.transitive[0].key.as_str(), facts.source_identity.as_deref()), ("n", Some("Eve")));
        assert!(find(&other.access_key_id, NOW).unwrap().is_none(), "the token is another key's");
        assert!(find("test", NOW).unwrap().is_none());
        assert!(find(&issued.access_key_id, NOW.plus(899_999)).unwrap().is_some());
        let error = find(&issued.access_key_id, NOW.plus(900_000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExpiredToken);
        assert_eq!(error.message(), "The security token included in the request is expired");
    }
    // A role that was made anew is another one.
    desk.admin(&format!("role delete {ACCOUNT} r")).unwrap();
    desk.admin(&format!("role create {ACCOUNT} r --trust {trust}")).unwrap();
    assert!(identities.refresh());
    assert!(find(&issued.access_key_id, NOW).unwrap().is_none());
}
