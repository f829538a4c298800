//! Owns Info: which HSM this is. Anyone may ask.

use strongroom_link::hsm::{Answer, Failure, Info, VERSION};

use crate::cluster::vault_failed;
use crate::session::Session;

pub(crate) fn info(session: &Session) -> Result<Answer, Failure> {
    let cluster = &session.cluster;
    let (mode, activated) = cluster.look(|cache| Ok((cache.mode().to_owned(), cache.is_activated())))?;
    let mut hsms = Vec::new();
    cluster
        .region()
        .rows
        .read(&mut |tx| {
            let served = tx.hsms()?.into_iter().filter(|row| row.cluster == cluster.id() && !row.withdrawn);
            hsms = served.map(|row| row.hsm).collect();
            Ok(())
        })
        .map_err(|error| vault_failed(&error))?;
    let hsm = session.hsm.clone();
    Ok(Answer::Info(Info { version: VERSION, cluster: cluster.id().to_owned(), hsm, mode, activated, hsms }))
}
