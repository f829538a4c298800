//! Owns Login, Present and Logout: binding the connection to a user, and unbinding it.

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Failure, Role};
use strongroom_link::pkcs11::CKR_USER_ALREADY_LOGGED_IN;

use crate::cluster::Login;
use crate::refusal::refusal;
use crate::session::Session;

pub(crate) fn login(session: &mut Session, user: &str, role: Role, password: &Secret) -> Result<Answer, Failure> {
    require_nobody(session)?;
    let login = session.cluster.log_in(&user.to_ascii_lowercase(), role, password.expose(), &session.from)?;
    Ok(bind(session, login))
}

pub(crate) fn present(session: &mut Session, ticket: &Secret) -> Result<Answer, Failure> {
    require_nobody(session)?;
    let login = session.cluster.present(ticket.expose())?;
    Ok(bind(session, login))
}

pub(crate) fn logout(session: &mut Session) -> Result<Answer, Failure> {
    session.login()?;
    session.forget_login();
    Ok(Answer::Done)
}

fn require_nobody(session: &Session) -> Result<(), Failure> {
    match &session.login {
        None => Ok(()),
        Some(login) => {
            Err(refusal(CKR_USER_ALREADY_LOGGED_IN, format!("User {} is logged in. Log out first.", login.user)))
        }
    }
}

fn bind(session: &mut Session, login: Login) -> Answer {
    let ticket = Secret::new(session.cluster.issue_ticket(&login));
    let answer = Answer::LoggedIn { user: login.user.clone(), role: login.role, ticket };
    session.login = Some(login);
    answer
}
