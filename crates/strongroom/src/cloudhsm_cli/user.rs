//! Owns `login`, `logout` and `user …`. A password goes from the command line or the prompt into one call and nowhere
//! else.

use serde_json::{Value, json};
use strongroom_client::Error;
use strongroom_client::hsm::Hsm;
use strongroom_link::hsm::{self, Role};

use super::execute::CommandError;
use super::grammar::{Login, User, UserCommand};
use crate::terminal::Prompt;

/// Logs in.
pub fn login(login: Login, hsm: &mut dyn Hsm, prompt: &mut dyn Prompt) -> Result<Value, CommandError> {
    let password = match login.password {
        Some(password) => password,
        None => prompt.password("Enter password:")?,
    };
    let role = Role::from(login.role);
    match hsm.login(&login.username, role, password) {
        Ok(user) => Ok(json!({ "username": user, "role": role.as_str() })),
        Err(refused @ Error::Refused { .. }) => Err(explain_refused_login(refused, hsm)),
        Err(other) => Err(other.into()),
    }
}

/// Before activation there is no password that could be right.
fn explain_refused_login(refused: Error, hsm: &mut dyn Hsm) -> CommandError {
    match hsm.info() {
        Ok(info) if !info.activated => {
            CommandError::text(format!("{} has no admin password yet. Run: cluster activate", info.cluster))
        }
        _ => refused.into(),
    }
}

/// Logs out.
pub fn logout(hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    hsm.logout()?;
    Ok("Logout successful".into())
}

/// Carries out `user …`.
pub fn execute(command: UserCommand, hsm: &mut dyn Hsm, prompt: &mut dyn Prompt) -> Result<Value, CommandError> {
    match command {
        UserCommand::List => list(hsm),
        UserCommand::Delete(user) => {
            hsm.delete_user(&user.username, user.role.into())?;
            Ok(named(&user))
        }
        UserCommand::Create(command) => {
            let password = command.password.map_or_else(|| prompt.new_password(), Ok)?;
            hsm.create_user(&command.user.username, command.user.role.into(), password)?;
            Ok(named(&command.user))
        }
        UserCommand::ChangePassword(command) => {
            let password = command.password.map_or_else(|| prompt.new_password(), Ok)?;
            hsm.change_password(&command.user.username, command.user.role.into(), password)?;
            Ok(named(&command.user))
        }
    }
}

fn list(hsm: &mut dyn Hsm) -> Result<Value, CommandError> {
    let users: Vec<_> = hsm.list_users()?.iter().map(user).collect();
    Ok(json!({ "users": users }))
}

fn user(user: &hsm::User) -> Value {
    json!({
        "username": user.user,
        "role": user.role.as_str(),
        "locked": user.locked.to_string(),
        "mfa": [],
        "quorum": [],
        "cluster-coverage": "full",
    })
}

/// Names are stored, and so shown, in lower case.
fn named(user: &User) -> Value {
    json!({ "username": user.username.to_ascii_lowercase(), "role": Role::from(user.role).as_str() })
}

#[cfg(test)]
mod tests {
    use strongroom_link::Secret;
    use strongroom_link::hsm::{Answer, Call};
    use strongroom_link::pkcs11::CKR_PIN_INCORRECT;

    use super::super::fake::{info, refused, run};
    use super::*;

    #[test]
    fn users_are_listed_in_the_layout_of_aws() {
        let user = |user: &str, role, locked| hsm::User { user: user.into(), role, locked };
        let users = vec![user("admin", Role::UnactivatedAdmin, false), user("app_user", Role::ApplianceUser, true)];
        let (printed, _) = run("user list", vec![Ok(Answer::Users(users))]);
        let expected = r#"{
  "error_code": 0,
  "data": {
    "users": [
      {
        "username": "admin",
        "role": "unactivated-admin",
        "locked": "false",
        "mfa": [],
        "quorum": [],
        "cluster-coverage": "full"
      },
      {
        "username": "app_user",
        "role": "internal(APPLIANCE_USER)",
        "locked": "true",
        "mfa": [],
        "quorum": [],
        "cluster-coverage": "full"
      }
    ]
  }
}"#;
        assert_eq!(printed, expected);
    }

    #[test]
    fn a_login_asks_for_the_password_it_was_not_given() {
        let answer =
            Answer::LoggedIn { user: "app".into(), role: Role::CryptoUser, ticket: Secret::new(b"t".to_vec()) };
        let (printed, calls) = run("login --username App --role crypto-user", vec![Ok(answer)]);
        assert!(printed.contains("\"username\": \"app\",\n    \"role\": \"crypto-user\""), "{printed}");
        let Call::Login { password, .. } = &calls[0] else { panic!("{calls:?}") };
        assert_eq!(password.expose(), b"swordfish");
    }

    #[test]
    fn a_refused_login_says_what_the_hsm_says_or_that_nobody_can() {
        let wrong = || refused(CKR_PIN_INCORRECT, "Incorrect authentication credentials.");
        let line = "login --username admin --role admin --password x";
        let (printed, _) = run(line, vec![wrong(), info(&["hsm-a"], true)]);
        assert!(printed.contains("\"data\": \"Incorrect authentication credentials.\""), "{printed}");
        let (printed, _) = run(line, vec![wrong(), info(&["hsm-a"], false)]);
        assert!(printed.contains("cluster-laci57k43pe has no admin password yet. Run: cluster activate"), "{printed}");
    }

    #[test]
    fn a_user_is_made_changed_and_removed() {
        let (printed, calls) =
            run("user create --username Alice --role crypto-user --password s3cret", vec![Ok(Answer::Done)]);
        assert!(printed.contains("\"username\": \"alice\",\n    \"role\": \"crypto-user\""), "{printed}");
        assert!(matches!(&calls[0], Call::CreateUser { password, .. } if password.expose() == b"s3cret"));
        let (_, calls) = run("user change-password --username alice --role crypto-user", vec![Ok(Answer::Done)]);
        assert!(matches!(&calls[0], Call::ChangePassword { password, .. } if password.expose() == b"swordfish"));
        let (_, calls) = run("user delete --username alice --role crypto-user", vec![Ok(Answer::Done)]);
        assert!(matches!(&calls[0], Call::DeleteUser { role: Role::CryptoUser, .. }));
    }

    #[test]
    fn logout_is_a_sentence() {
        let (printed, _) = run("logout", vec![Ok(Answer::Done)]);
        assert_eq!(printed, "{\n  \"error_code\": 0,\n  \"data\": \"Logout successful\"\n}");
    }
}
