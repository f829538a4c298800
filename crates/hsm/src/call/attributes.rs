//! Owns reading and changing the attributes of a key. The owner changes what AWS's table lets him; an admin sets `trusted`
//! and nothing else, on any key.

use std::sync::Arc;

use strongroom_link::hsm::{Answer, Attribute, AttributeValue, Failure, Role};
use strongroom_link::pkcs11::*;

use crate::attribute::{Template, cannot_be_set};
use crate::cluster::{Change, Edit, Login, RequestName};
use crate::object::{Object, Reading};
use crate::refusal::refusal;
use crate::session::{Session, no_such_object};

pub(crate) fn get(session: &Session, handle: Ulong, kinds: &[Ulong]) -> Result<Answer, Failure> {
    let login = session.login()?;
    let object = session.object(handle)?;
    let owners = vec![object.owner().to_owned()];
    if kinds.is_empty() {
        return Ok(Answer::Attributes { attributes: object.readable(), owners, sensitive: Vec::new() });
    }
    let (mut attributes, mut sensitive) = (Vec::new(), Vec::new());
    for kind in kinds.iter().copied() {
        match object.read(kind) {
            Reading::Value(AttributeValue::Secret(_)) if !login.owns(&object) => sensitive.push(kind),
            Reading::Value(value) => attributes.push(Attribute { kind, value }),
            Reading::Sensitive => sensitive.push(kind),
            Reading::Absent => {}
        }
    }
    Ok(Answer::Attributes { attributes, owners, sensitive })
}

pub(crate) fn set(
    session: &mut Session,
    name: &RequestName,
    handle: Ulong,
    template: &[Attribute],
) -> Result<Answer, Failure> {
    let template = Template::read(template)?;
    let login = session.login()?;
    if let Some(object) = session.objects.get(&handle) {
        let changed = Arc::new(change(object, login, &template)?);
        if changed.flags().get(CKA_TOKEN) {
            let edits = || vec![Edit::PutObject(Arc::clone(&changed))];
            session.cluster.write(name, Some(login), &mut |_| Ok(Change::of(edits(), Answer::Done)))?;
            session.objects.remove(&handle);
        } else {
            session.objects.insert(handle, changed);
        }
        return Ok(Answer::Done);
    }
    session.cluster.write(name, Some(login), &mut |cache| {
        let object = cache.object(handle).filter(|object| login.sees(object)).ok_or_else(|| no_such_object(handle))?;
        let changed = change(object, login, &template)?;
        Ok(Change::of(vec![Edit::PutObject(Arc::new(changed))], Answer::Done))
    })
}

/// All of the template's changes, or none.
fn change(object: &Object, login: &Login, template: &Template<'_>) -> Result<Object, Failure> {
    let handle = object.handle();
    if login.role == Role::CryptoUser && !login.owns(object) {
        return Err(refusal(CKR_ACTION_PROHIBITED, format!("Only the owner of key 0x{handle:016x} may change it")));
    }
    if !object.flags().get(CKA_MODIFIABLE) {
        let message = format!("Key 0x{handle:016x} has attribute modifiable set to false");
        return Err(refusal(CKR_ACTION_PROHIBITED, message));
    }
    let class = object.key().class();
    let (mut flags, mut label, mut id) = (object.flags(), None, None);
    for attribute in template.attributes() {
        match (attribute.kind, &attribute.value) {
            (CKA_LABEL, AttributeValue::Bytes(bytes)) if login.role == Role::CryptoUser => label = Some(&bytes[..]),
            (CKA_ID, AttributeValue::Bytes(bytes)) if login.role == Role::CryptoUser => id = Some(&bytes[..]),
            (kind, AttributeValue::Bool(value)) => flags = flags.changed(class, kind, *value, login.role)?,
            (kind, _) => return Err(cannot_be_set(kind, None)),
        }
    }
    Ok(object.with_attributes(flags, label, id))
}
