//! Owns C_FindObjects: the user's own keys and all public ones, and those of the session, by ascending handle.

use std::sync::Arc;

use strongroom_link::hsm::{Answer, Attribute, Failure};

use crate::attribute::Template;
use crate::session::Session;

/// The most handles in one answer; they fit a frame many times.
const PAGE_MAX: u32 = 10_000;

pub(crate) fn find(session: &Session, template: &[Attribute], skip: u32, limit: u32) -> Result<Answer, Failure> {
    let login = session.login()?;
    let template = Template::read(template)?;
    let seen = session
        .cluster
        .look(|cache| Ok(cache.objects().filter(|object| login.sees(object)).map(Arc::clone).collect::<Vec<_>>()))?;
    // Comparing may encode a key, so it is done on a list of one's own and not under the lock.
    let mut handles: Vec<_> = seen
        .iter()
        .chain(session.objects.values())
        .filter(|object| object.matches(&template))
        .map(|object| object.handle())
        .collect();
    handles.sort_unstable();
    let total = u32::try_from(handles.len()).unwrap_or(u32::MAX);
    let page = handles.into_iter().skip(skip as usize).take(limit.min(PAGE_MAX) as usize);
    Ok(Answer::Found { handles: page.collect(), total })
}
