//! Owns what `quickstart` does on the data plane: the admin's first password, the crypto user, the key pair.

use std::path::Path;

use strongroom_client::config::{CLI_FILE, Config, ConfigError};
use strongroom_client::{Client, Error, Hsm as _, Session};
use strongroom_link::hsm::{Attribute, Mechanism, Role};
use strongroom_link::pkcs11::{
    CKA_EXTRACTABLE, CKA_LABEL, CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT, CKA_SIGN, CKA_TOKEN, CKA_VERIFY,
    CKM_RSA_PKCS_KEY_PAIR_GEN,
};

use super::folder::{Folder, USER};
use crate::problem::{Exit, Problem};

/// The label of the private key; the public one is `demo-pub`.
pub(super) const KEY: &str = "demo";

/// A session as the configuration in the folder says.
pub(super) fn session(folder: &Path) -> Result<Session, Problem> {
    let open = || {
        let config = Config::read(&folder.join(CLI_FILE))?;
        Ok::<_, ConfigError>(Client::open(config.cluster(None)?, folder)?.session())
    };
    open().map_err(|error| Problem::new("configuration", error.to_string()))
}

/// Sets the admin's password, if he has none.
pub(super) fn activate(session: &mut Session, folder: &Folder) -> Result<(), Problem> {
    session.activate(folder.admin_password()).map_err(failed)
}

/// Makes the crypto user, unless he is there; tells whether it did.
pub(super) fn make_user(session: &mut Session, folder: &Folder) -> Result<bool, Problem> {
    session.login("admin", Role::Admin, folder.admin_password()).map_err(failed)?;
    let is_there = session.list_users().map_err(failed)?.iter().any(|there| there.user == USER);
    if !is_there {
        session.create_user(USER, Role::CryptoUser, folder.user_password()).map_err(failed)?;
    }
    session.logout().map_err(failed)?;
    Ok(!is_there)
}

/// Makes the key pair, unless it is there; tells whether it did.
pub(super) fn make_key_pair(session: &mut Session, folder: &Folder) -> Result<bool, Problem> {
    session.login(USER, Role::CryptoUser, folder.user_password()).map_err(failed)?;
    let label = vec![Attribute::bytes(CKA_LABEL, KEY.as_bytes())];
    let is_there = session.find_objects(label, 0, 1).map_err(failed)?.total > 0;
    if !is_there {
        let public = vec![
            Attribute::bytes(CKA_LABEL, format!("{KEY}-pub").as_bytes()),
            Attribute::boolean(CKA_TOKEN, true),
            Attribute::ulong(CKA_MODULUS_BITS, 2048),
            Attribute::bytes(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
            Attribute::boolean(CKA_VERIFY, true),
        ];
        let private = vec![
            Attribute::bytes(CKA_LABEL, KEY.as_bytes()),
            Attribute::boolean(CKA_TOKEN, true),
            Attribute::boolean(CKA_SIGN, true),
            Attribute::boolean(CKA_EXTRACTABLE, false),
        ];
        let mechanism = Mechanism::plain(CKM_RSA_PKCS_KEY_PAIR_GEN);
        session.generate_key_pair(mechanism, public, private).map_err(failed)?;
    }
    session.logout().map_err(failed)?;
    Ok(!is_there)
}

fn failed(error: Error) -> Problem {
    let exit = match &error {
        Error::Unreachable { .. } => Exit::Unreachable,
        Error::Refused { .. } | Error::NotTrusted { .. } => Exit::Refused,
        _ => Exit::Failed,
    };
    Problem::new("hsm", error.to_string()).exit(exit)
}
