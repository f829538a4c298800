//! Who may do what: activation, roles, logins, lockout, tickets, passwords.

use std::sync::atomic::Ordering;

use strongroom_link::hsm::{Info, User, VERSION};

use super::*;

fn users(session: &mut Session) -> Vec<(String, Role, bool)> {
    match session.ask(Call::ListUsers) {
        Answer::Users(users) => users.into_iter().map(|User { user, role, locked }| (user, role, locked)).collect(),
        other => panic!("{other:?}"),
    }
}

fn ticket(session: &mut Session, call: Call) -> Secret {
    match session.ask(call) {
        Answer::LoggedIn { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn before_activation_only_info_list_and_activate_are_answered() {
    let served = Served::new();
    let mut session = served.session();
    let Answer::Info(info) = session.ask(Call::Info) else { panic!() };
    let expected = Info {
        version: VERSION,
        cluster: CLUSTER.into(),
        hsm: HSM.into(),
        mode: "FIPS".into(),
        activated: false,
        hsms: vec![],
    };
    assert_eq!(info, expected);
    assert_eq!(users(&mut session)[0], ("admin".into(), Role::UnactivatedAdmin, false));
    let refused = session.try_ask(login("admin", Role::Admin, PASSWORD)).unwrap_err();
    assert_eq!(refused.ckr, CKR_USER_PIN_NOT_INITIALIZED);
    assert!(refused.message.contains("cluster activate"));
    assert_eq!(session.ckr(create_user("alice", Role::CryptoUser)), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(session.ckr(Call::Activate(secret(b"short"))), CKR_PIN_LEN_RANGE);
    session.ask(Call::Activate(secret(PASSWORD)));
    assert_eq!(session.ckr(Call::Activate(secret(b"password2"))), CKR_ACTION_PROHIBITED);
    let Answer::Info(info) = session.ask(Call::Info) else { panic!() };
    assert!(info.activated);
    assert_eq!(users(&mut session)[0], ("admin".into(), Role::Admin, false));
    session.ask(login("admin", Role::Admin, PASSWORD));
}

#[test]
fn activation_is_in_the_outbox_with_the_change() {
    let served = Served::new();
    let seen = served.rig.host.region().bell.count();
    served.session().ask(Call::Activate(secret(PASSWORD)));
    let mut kinds = Vec::new();
    crate::rows::Rows::read(&*served.rig.rows, &mut |tx| {
        kinds = tx.outbox(0)?.into_iter().map(|row| (row.kind, row.data)).collect();
        Ok(())
    })
    .unwrap();
    assert!(kinds.contains(&("activated".into(), "2".into())), "{kinds:?}");
    assert!(kinds.contains(&("changed".into(), "2".into())), "{kinds:?}");
    assert!(served.rig.host.region().bell.count() > seen);
}

#[test]
fn users_are_listed_as_they_were_made_with_the_appliance_user_last() {
    let served = Served::with_users();
    let mut admin = served.log_in("admin", Role::Admin);
    admin.ask(create_user("Aaron", Role::Admin));
    let listed: Vec<_> = users(&mut served.session()).into_iter().map(|(user, role, _)| (user, role)).collect();
    assert_eq!(listed.last(), Some(&("app_user".to_owned(), Role::ApplianceUser)));
    let expected = [
        ("admin", Role::Admin),
        ("alice", Role::CryptoUser),
        ("bob", Role::CryptoUser),
        ("aaron", Role::Admin),
        ("app_user", Role::ApplianceUser),
    ];
    assert_eq!(listed, expected.map(|(user, role)| (user.to_owned(), role)));
}

#[test]
fn each_role_does_its_own_and_no_more() {
    let served = Served::with_users();
    let mut admin = served.log_in("admin", Role::Admin);
    let mut alice = served.alice();
    let mut nobody = served.session();
    let (_, private) = alice.pair(generate_ec(ec::Curve::P256, "signer"));
    let crypto = || {
        [
            generate_aes(vec![token()]),
            generate_ec(ec::Curve::P256, "x"),
            Call::CreateObject(vec![]),
            Call::DestroyObject(private),
            sign(private, CKM_ECDSA, &[1; 32]),
            verify(private, CKM_ECDSA, &[1; 32], &[1; 64]),
            Call::Random(1),
        ]
    };
    for call in crypto() {
        assert_eq!(admin.ckr(call), CKR_ACTION_PROHIBITED);
    }
    for call in crypto() {
        assert_eq!(nobody.ckr(call), CKR_USER_NOT_LOGGED_IN);
    }
    let admin_only = || {
        [
            create_user("carol", Role::CryptoUser),
            change_password("bob", Role::CryptoUser, b"password2"),
            Call::DeleteUser { user: "bob".into(), role: Role::CryptoUser },
        ]
    };
    for call in admin_only() {
        assert_eq!(alice.ckr(call), CKR_ACTION_PROHIBITED);
    }
    for call in admin_only() {
        admin.ask(call);
    }
}

#[test]
fn users_are_made_and_deleted_by_awss_rules() {
    let served = Served::with_users();
    let mut admin = served.log_in("admin", Role::Admin);
    let refused = |session: &mut Session, call: Call| session.try_ask(call).unwrap_err().message;
    assert_eq!(refused(&mut admin, create_user("ALICE", Role::CryptoUser)), "User alice already exists");
    assert!(refused(&mut admin, create_user("al-ice", Role::CryptoUser)).contains("'-'"));
    assert!(refused(&mut admin, create_user("carol", Role::ApplianceUser)).contains("internal(APPLIANCE_USER)"));
    let delete = |user: &str, role| Call::DeleteUser { user: user.into(), role };
    assert_eq!(refused(&mut admin, delete("alice", Role::Admin)), "Specified user does not exist");
    assert_eq!(refused(&mut admin, delete("app_user", Role::ApplianceUser)), "Specified user does not exist");
    assert!(refused(&mut admin, delete("admin", Role::Admin)).contains("logged in"));
    let mut alice = served.alice();
    let key = alice.handle(generate_aes(vec![token()]));
    assert_eq!(refused(&mut admin, delete("alice", Role::CryptoUser)), "User alice owns keys: 1. Delete them first.");
    alice.ask(Call::DestroyObject(key));
    admin.ask(delete("Alice", Role::CryptoUser));
    assert_eq!(alice.ckr(Call::Random(1)), CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn a_wrong_password_counts_down_and_an_admin_unlocks() {
    let served = Served::with_users();
    let mut session = served.session();
    let wrong = || login("alice", Role::CryptoUser, b"wrong password");
    let mut try_wrong = || session.try_ask(wrong()).unwrap_err();
    for left in ["4 tries left", "3 tries left", "2 tries left", "1 try left", "No tries left"] {
        let refused = try_wrong();
        assert_eq!(refused.ckr, CKR_PIN_INCORRECT);
        assert_eq!(refused.message, format!("Incorrect authentication credentials. {left}."));
    }
    assert_eq!(try_wrong().ckr, CKR_PIN_LOCKED);
    let refused = session.try_ask(login("alice", Role::CryptoUser, PASSWORD)).unwrap_err();
    assert_eq!(refused.ckr, CKR_PIN_LOCKED);
    assert!(refused.message.starts_with("User alice is locked since 20"), "{}", refused.message);
    assert!(refused.message.ends_with("user change-password --username alice --role crypto-user"));
    assert!(users(&mut session).contains(&("alice".into(), Role::CryptoUser, true)));
    let mut admin = served.log_in("admin", Role::Admin);
    admin.ask(change_password("alice", Role::CryptoUser, b"password2"));
    session.ask(login("alice", Role::CryptoUser, b"password2"));
    assert!(users(&mut session).contains(&("alice".into(), Role::CryptoUser, false)));
}

#[test]
fn a_right_password_forgives_and_a_wrong_user_or_role_spends_nothing() {
    let served = Served::with_users();
    for _ in 0..3 {
        for _ in 0..4 {
            let mut session = served.session();
            assert_eq!(session.ckr(login("alice", Role::CryptoUser, b"wrong password")), CKR_PIN_INCORRECT);
        }
        served.log_in("ALICE", Role::CryptoUser);
    }
    for _ in 0..6 {
        for call in [login("alice", Role::Admin, PASSWORD), login("nobody", Role::CryptoUser, PASSWORD)] {
            let refused = served.session().try_ask(call).unwrap_err();
            assert_eq!(refused.message, "Incorrect authentication credentials.");
        }
    }
    served.alice();
}

#[test]
fn fifty_wrong_passwords_at_once_are_five_tries() {
    let served = Served::with_users();
    let elsewhere = served.elsewhere();
    let incorrect = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..50)
            .map(|n| {
                let served = if n % 2 == 0 { &served } else { &elsewhere };
                scope.spawn(|| served.session().ckr(login("alice", Role::CryptoUser, b"wrong password")))
            })
            .collect();
        let answers: Vec<_> = tries.into_iter().map(|handle| handle.join().unwrap()).collect();
        assert!(answers.iter().all(|ckr| [CKR_PIN_INCORRECT, CKR_PIN_LOCKED].contains(ckr)), "{answers:?}");
        answers.into_iter().filter(|ckr| *ckr == CKR_PIN_INCORRECT).count()
    });
    assert_eq!(incorrect, 5);
}

#[test]
fn twenty_right_passwords_at_once_lock_nobody_out() {
    let served = Served::with_users();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| served.alice());
        }
    });
}

#[test]
fn a_ticket_logs_in_on_every_hsm_until_it_is_void() {
    let served = Served::with_users();
    let elsewhere = served.elsewhere();
    let call = || login("alice", Role::CryptoUser, PASSWORD);
    let alice = ticket(&mut served.session(), call());
    elsewhere.session().ask(Call::Present(alice.clone()));
    let mut session = served.session();
    let Answer::LoggedIn { user, role, .. } = session.ask(Call::Present(alice.clone())) else { panic!() };
    assert_eq!((user.as_str(), role), ("alice", Role::CryptoUser));
    assert_eq!(session.ckr(Call::Present(alice.clone())), CKR_USER_ALREADY_LOGGED_IN);
    assert_eq!(session.ckr(call()), CKR_USER_ALREADY_LOGGED_IN);
    session.ask(Call::Logout);
    assert_eq!(session.ckr(Call::Logout), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(session.ckr(Call::Present(secret(b"no ticket"))), CKR_PIN_INCORRECT);
    served.rig.clock.0.fetch_add(12 * 60 * 60 * 1000, Ordering::Relaxed);
    assert_eq!(session.ckr(Call::Present(alice)), CKR_PIN_INCORRECT);
    session.ask(call());
}

#[test]
fn a_new_password_ends_tickets_and_open_logins() {
    let served = Served::with_users();
    let (mut first, mut second) = (served.session(), served.session());
    let old_ticket = ticket(&mut first, login("alice", Role::CryptoUser, PASSWORD));
    second.ask(login("alice", Role::CryptoUser, PASSWORD));
    let session_key = second.handle(generate_aes(vec![]));
    first.ask(change_password("alice", Role::CryptoUser, b"password2"));
    for session in [&mut first, &mut second] {
        assert_eq!(session.ckr(Call::Random(1)), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(session.ckr(Call::Present(old_ticket.clone())), CKR_PIN_INCORRECT);
    }
    assert_eq!(second.ckr(login("alice", Role::CryptoUser, PASSWORD)), CKR_PIN_INCORRECT);
    second.ask(login("alice", Role::CryptoUser, b"password2"));
    assert_eq!(second.ckr(Call::GetAttributes { handle: session_key, kinds: vec![] }), CKR_OBJECT_HANDLE_INVALID);
    served.log_in("bob", Role::CryptoUser);
}

#[test]
fn a_new_user_of_an_old_name_does_not_inherit_tickets() {
    let served = Served::with_users();
    let old_ticket = ticket(&mut served.session(), login("bob", Role::CryptoUser, PASSWORD));
    let mut admin = served.log_in("admin", Role::Admin);
    admin.ask(Call::DeleteUser { user: "bob".into(), role: Role::CryptoUser });
    admin.ask(create_user("bob", Role::CryptoUser));
    assert_eq!(served.session().ckr(Call::Present(old_ticket)), CKR_PIN_INCORRECT);
}
