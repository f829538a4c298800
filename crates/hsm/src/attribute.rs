//! Owns the attributes of keys: which there are, in what form, what they are at creation, and who may change them to what.
//! The rules are one table, after AWS's. [`Template`] reads what a caller sends; it decides nothing about one kind of key.

use strongroom_link::hsm::{Attribute, AttributeValue, Failure, Role};
use strongroom_link::pkcs11::*;

use crate::key::Class;
use crate::refusal::refusal;

/// The longest CKA_LABEL and CKA_ID, in bytes.
pub const TEXT_MAX: usize = 127;

/// How a key came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made in the HSM.
    Generated,
    /// Came in a template.
    Imported,
}

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bool,
    Ulong,
    Bytes,
}

/// Attributes that no flag of a record stands for, with AWS's names.
const VALUES: [(Ulong, &str, Form); 21] = [
    (CKA_CLASS, "class", Form::Ulong),
    (CKA_KEY_TYPE, "key-type", Form::Ulong),
    (CKA_LABEL, "label", Form::Bytes),
    (CKA_ID, "id", Form::Bytes),
    (CKA_CHECK_VALUE, "check-value", Form::Bytes),
    (CKA_VALUE, "value", Form::Bytes),
    (CKA_VALUE_LEN, "key-length-bytes", Form::Ulong),
    (CKA_MODULUS, "modulus", Form::Bytes),
    (CKA_MODULUS_BITS, "modulus-size-bits", Form::Ulong),
    (CKA_PUBLIC_EXPONENT, "public-exponent", Form::Bytes),
    (CKA_PRIVATE_EXPONENT, "private-exponent", Form::Bytes),
    (CKA_PRIME_1, "prime-1", Form::Bytes),
    (CKA_PRIME_2, "prime-2", Form::Bytes),
    (CKA_EXPONENT_1, "exponent-1", Form::Bytes),
    (CKA_EXPONENT_2, "exponent-2", Form::Bytes),
    (CKA_COEFFICIENT, "coefficient", Form::Bytes),
    (CKA_EC_PARAMS, "curve", Form::Bytes),
    (CKA_EC_POINT, "ec-point", Form::Bytes),
    (CKA_PUBLIC_KEY_INFO, "public-key-info", Form::Bytes),
    (CKA_ALWAYS_SENSITIVE, "always-sensitive", Form::Bool),
    (CKA_NEVER_EXTRACTABLE, "never-extractable", Form::Bool),
];

/// What a template may say about a flag at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// True for the named classes, false for any.
    TrueFor(&'static [Class]),
    /// False only.
    False,
    /// Nothing: it is derived.
    Nothing,
}

/// Who may change a flag afterwards, to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Never,
    Owner,
    OwnerToTrue,
    OwnerToFalse,
    Admin,
}

/// A boolean attribute.
struct Flag {
    kind: Ulong,
    name: &'static str,
    given: Given,
    /// For which classes it is true if a template says nothing.
    default: &'static [Class],
    change: Change,
}

const ALL: &[Class] = &[Class::Secret, Class::Private, Class::Public];
const CLOSED: &[Class] = &[Class::Secret, Class::Private];
const OPEN: &[Class] = &[Class::Secret, Class::Public];
const SECRET: &[Class] = &[Class::Secret];
const NONE: &[Class] = &[];

const fn flag(kind: Ulong, name: &'static str, given: Given, default: &'static [Class], change: Change) -> Flag {
    Flag { kind, name, given, default, change }
}

/// AWS's table. Signing and verifying with a secret key is permitted by default only if it was generated.
const FLAGS: [Flag; 16] = [
    flag(CKA_TOKEN, "token", Given::TrueFor(ALL), NONE, Change::OwnerToTrue),
    flag(CKA_PRIVATE, "private", Given::TrueFor(ALL), ALL, Change::Never),
    flag(CKA_SENSITIVE, "sensitive", Given::TrueFor(CLOSED), CLOSED, Change::Never),
    flag(CKA_EXTRACTABLE, "extractable", Given::TrueFor(ALL), ALL, Change::Never),
    flag(CKA_MODIFIABLE, "modifiable", Given::TrueFor(ALL), ALL, Change::OwnerToFalse),
    flag(CKA_DESTROYABLE, "destroyable", Given::TrueFor(ALL), ALL, Change::Owner),
    flag(CKA_LOCAL, "local", Given::Nothing, NONE, Change::Never),
    flag(CKA_ENCRYPT, "encrypt", Given::TrueFor(OPEN), NONE, Change::Owner),
    flag(CKA_DECRYPT, "decrypt", Given::TrueFor(CLOSED), NONE, Change::Owner),
    flag(CKA_SIGN, "sign", Given::TrueFor(CLOSED), SECRET, Change::Owner),
    flag(CKA_VERIFY, "verify", Given::TrueFor(OPEN), SECRET, Change::Owner),
    flag(CKA_WRAP, "wrap", Given::TrueFor(OPEN), NONE, Change::Owner),
    flag(CKA_UNWRAP, "unwrap", Given::TrueFor(CLOSED), NONE, Change::Owner),
    flag(CKA_DERIVE, "derive", Given::TrueFor(ALL), NONE, Change::Owner),
    flag(CKA_TRUSTED, "trusted", Given::False, NONE, Change::Admin),
    flag(CKA_WRAP_WITH_TRUSTED, "wrap-with-trusted", Given::TrueFor(ALL), NONE, Change::OwnerToTrue),
];

/// The values of all flags of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// The flags of a new key.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_READ_ONLY for what a creator may not say, CKR_TEMPLATE_INCONSISTENT for what the class cannot do.
    pub fn at_creation(class: Class, origin: Origin, template: &Template<'_>) -> Result<Self, Failure> {
        let mut flags = Self::default();
        for (index, flag) in FLAGS.iter().enumerate() {
            let value = match template.boolean(flag.kind) {
                Some(value) => flag.given(class, value)?,
                None => flag.at_default(class, origin),
            };
            flags.put(index, value);
        }
        Ok(flags)
    }

    /// Whether a flag is set; false for what is no flag.
    pub fn get(self, kind: Ulong) -> bool {
        FLAGS.iter().position(|flag| flag.kind == kind).is_some_and(|index| self.0 & (1 << index) != 0)
    }

    /// These flags with one changed by a user of `role` who may change the key.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_READ_ONLY if nobody may, or not he, or not to this value.
    pub fn changed(self, class: Class, kind: Ulong, value: bool, role: Role) -> Result<Self, Failure> {
        let index = FLAGS.iter().position(|flag| flag.kind == kind).ok_or_else(|| cannot_be_set(kind, None))?;
        let flag = &FLAGS[index];
        let permitted = match flag.change {
            Change::Never => false,
            Change::Owner => role == Role::CryptoUser && (!value || flag.can_be_true(class)),
            Change::OwnerToTrue => role == Role::CryptoUser && value,
            Change::OwnerToFalse => role == Role::CryptoUser && !value,
            Change::Admin => role == Role::Admin,
        };
        if !permitted {
            return Err(cannot_be_set(kind, Some(value)));
        }
        let mut changed = self;
        changed.put(index, value);
        Ok(changed)
    }

    /// The flags that are set, as CKA_… numbers: the form in a record.
    pub fn numbers(self) -> Vec<Ulong> {
        Self::kinds().filter(|kind| self.get(*kind)).collect()
    }

    /// Reads the form in a record.
    ///
    /// # Errors
    /// A number that is no flag, or one that a key of this class cannot have.
    pub fn from_numbers(class: Class, numbers: &[Ulong]) -> Result<Self, String> {
        let mut flags = Self::default();
        for number in numbers {
            let index = FLAGS.iter().position(|flag| flag.kind == *number);
            let index = index.ok_or_else(|| format!("0x{number:x} is not a flag"))?;
            if !FLAGS[index].can_be_true(class) {
                return Err(format!("{} cannot be true for a {class:?} key", FLAGS[index].name));
            }
            flags.put(index, true);
        }
        Ok(flags)
    }

    /// The CKA_… numbers of all flags.
    pub fn kinds() -> impl Iterator<Item = Ulong> {
        FLAGS.iter().map(|flag| flag.kind)
    }

    fn put(&mut self, index: usize, value: bool) {
        self.0 = self.0 & !(1 << index) | u32::from(value) << index;
    }
}

impl Flag {
    fn can_be_true(&self, class: Class) -> bool {
        match self.given {
            Given::TrueFor(classes) => classes.contains(&class),
            Given::False | Given::Nothing => true,
        }
    }

    fn given(&self, class: Class, value: bool) -> Result<bool, Failure> {
        match self.given {
            Given::Nothing => Err(cannot_be_set(self.kind, Some(value))),
            Given::False if value => Err(cannot_be_set(self.kind, Some(value))),
            Given::TrueFor(classes) if value && !classes.contains(&class) => Err(refusal(
                CKR_TEMPLATE_INCONSISTENT,
                format!("Attribute {} cannot be true for a {} key", self.name, class_name(class)),
            )),
            _ => Ok(value),
        }
    }

    fn at_default(&self, class: Class, origin: Origin) -> bool {
        match self.kind {
            CKA_LOCAL => origin == Origin::Generated,
            CKA_SIGN | CKA_VERIFY if origin == Origin::Imported => false,
            _ => self.default.contains(&class),
        }
    }
}

const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Secret => "secret",
        Class::Private => "private",
        Class::Public => "public",
    }
}

/// AWS's words for a change or a creation that is not allowed.
pub(crate) fn cannot_be_set(kind: Ulong, value: Option<bool>) -> Failure {
    let name = name_of(kind).unwrap_or("unknown");
    let value = value.map_or(String::new(), |value| format!(" to the value {value}"));
    refusal(CKR_ATTRIBUTE_READ_ONLY, format!("Attribute {name} cannot be set{value} by the user for this operation"))
}

/// AWS's name of an attribute.
pub fn name_of(kind: Ulong) -> Option<&'static str> {
    definition_of(kind).map(|(name, _)| name)
}

fn definition_of(kind: Ulong) -> Option<(&'static str, Form)> {
    let value = VALUES.iter().find(|(k, ..)| *k == kind).map(|(_, name, form)| (*name, *form));
    value.or_else(|| FLAGS.iter().find(|flag| flag.kind == kind).map(|flag| (flag.name, Form::Bool)))
}

/// A template whose attributes are all known, in the right form, and none of them twice.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a>(&'a [Attribute]);

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, or CKR_TEMPLATE_INCONSISTENT if one is there twice.
    pub fn read(attributes: &'a [Attribute]) -> Result<Self, Failure> {
        for (n, Attribute { kind, value }) in attributes.iter().enumerate() {
            let (name, form) = definition_of(*kind).ok_or_else(|| {
                refusal(CKR_ATTRIBUTE_TYPE_INVALID, format!("Attribute type 0x{kind:x} is not supported"))
            })?;
            let fits = match value {
                AttributeValue::Bool(_) => form == Form::Bool,
                AttributeValue::Ulong(_) => form == Form::Ulong,
                AttributeValue::Bytes(_) | AttributeValue::Secret(_) => form == Form::Bytes,
            };
            if !fits {
                let wanted = match form {
                    Form::Bool => "true or false",
                    Form::Ulong => "a number",
                    Form::Bytes => "bytes",
                };
                return Err(refusal(CKR_ATTRIBUTE_VALUE_INVALID, format!("Attribute {name} takes {wanted}")));
            }
            if attributes[..n].iter().any(|earlier| earlier.kind == *kind) {
                return Err(refusal(CKR_TEMPLATE_INCONSISTENT, format!("Attribute {name} is given twice")));
            }
        }
        let template = Self(attributes);
        for kind in [CKA_LABEL, CKA_ID] {
            template.check_length(kind)?;
        }
        Ok(template)
    }

    /// All attributes.
    pub fn attributes(&self) -> &'a [Attribute] {
        self.0
    }

    /// A boolean, if given.
    pub fn boolean(&self, kind: Ulong) -> Option<bool> {
        match self.value(kind)? {
            AttributeValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number, if given.
    pub fn ulong(&self, kind: Ulong) -> Option<Ulong> {
        match self.value(kind)? {
            AttributeValue::Ulong(value) => Some(*value),
            _ => None,
        }
    }

    /// Bytes, if given.
    pub fn bytes(&self, kind: Ulong) -> Option<&'a [u8]> {
        match self.value(kind)? {
            AttributeValue::Bytes(value) => Some(value),
            AttributeValue::Secret(value) => Some(value.expose()),
            _ => None,
        }
    }

    /// A number that must be given.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE.
    pub fn required_ulong(&self, kind: Ulong) -> Result<Ulong, Failure> {
        self.ulong(kind).ok_or_else(|| missing(kind))
    }

    /// Bytes that must be given.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE.
    pub fn required_bytes(&self, kind: Ulong) -> Result<&'a [u8], Failure> {
        self.bytes(kind).ok_or_else(|| missing(kind))
    }

    /// Checks that the template is one of a key of this class and type, and of its own parts names `parts` alone.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCONSISTENT, or CKR_ATTRIBUTE_READ_ONLY for what is always derived.
    pub fn describes(&self, class: Class, key_type: Ulong, parts: &[Ulong]) -> Result<(), Failure> {
        for (kind, expected) in [(CKA_CLASS, class.number()), (CKA_KEY_TYPE, key_type)] {
            if self.ulong(kind).is_some_and(|given| given != expected) {
                let name = name_of(kind).unwrap_or_default();
                return Err(refusal(CKR_TEMPLATE_INCONSISTENT, format!("Attribute {name} does not fit the operation")));
            }
        }
        for Attribute { kind, .. } in self.0 {
            match *kind {
                CKA_CHECK_VALUE | CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE => {
                    return Err(cannot_be_set(*kind, self.boolean(*kind)));
                }
                CKA_CLASS | CKA_KEY_TYPE | CKA_LABEL | CKA_ID => {}
                kind if parts.contains(&kind) || Flags::kinds().any(|flag| flag == kind) => {}
                kind => {
                    let name = name_of(kind).unwrap_or_default();
                    let message = format!("Attribute {name} cannot be given for this operation");
                    return Err(refusal(CKR_TEMPLATE_INCONSISTENT, message));
                }
            }
        }
        Ok(())
    }

    fn value(&self, kind: Ulong) -> Option<&'a AttributeValue> {
        self.0.iter().find(|attribute| attribute.kind == kind).map(|attribute| &attribute.value)
    }

    fn check_length(&self, kind: Ulong) -> Result<(), Failure> {
        match self.bytes(kind) {
            Some(bytes) if bytes.len() > TEXT_MAX => {
                let (name, length) = (name_of(kind).unwrap_or_default(), bytes.len());
                let message = format!("Attribute {name} has {length} bytes; at most {TEXT_MAX} are permitted");
                Err(refusal(CKR_ATTRIBUTE_VALUE_INVALID, message))
            }
            _ => Ok(()),
        }
    }
}

fn missing(kind: Ulong) -> Failure {
    let name = name_of(kind).unwrap_or_default();
    refusal(CKR_TEMPLATE_INCOMPLETE, format!("Attribute {name} is required for this operation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(class: Class, origin: Origin, attributes: &[Attribute]) -> Result<Flags, Ulong> {
        let template = Template::read(attributes).map_err(|f| f.ckr)?;
        Flags::at_creation(class, origin, &template).map_err(|f| f.ckr)
    }

    fn names(flags: Flags) -> Vec<&'static str> {
        flags.numbers().into_iter().map(|kind| name_of(kind).unwrap()).collect()
    }

    #[test]
    fn defaults_are_those_of_awss_table() {
        let common = ["private", "extractable", "modifiable", "destroyable", "local"];
        let with = |more: &[&'static str]| {
            let mut all: Vec<_> = common.into_iter().chain(more.iter().copied()).collect();
            all.sort_unstable();
            all
        };
        let cases = [
            (Class::Secret, with(&["sensitive", "sign", "verify"])),
            (Class::Private, with(&["sensitive"])),
            (Class::Public, with(&[])),
        ];
        for (class, expected) in cases {
            let mut found = names(flags(class, Origin::Generated, &[]).unwrap());
            found.sort_unstable();
            assert_eq!(found, expected, "{class:?}");
        }
        let imported = flags(Class::Secret, Origin::Imported, &[]).unwrap();
        assert!(!imported.get(CKA_LOCAL) && !imported.get(CKA_SIGN) && !imported.get(CKA_VERIFY));
        assert!(imported.get(CKA_SENSITIVE));
    }

    #[test]
    fn what_a_template_may_say_at_creation() {
        let read_only = Err(CKR_ATTRIBUTE_READ_ONLY);
        let inconsistent = Err(CKR_TEMPLATE_INCONSISTENT);
        let cases = [
            (Class::Secret, CKA_ENCRYPT, true, Ok(())),
            (Class::Private, CKA_ENCRYPT, true, inconsistent),
            (Class::Private, CKA_ENCRYPT, false, Ok(())),
            (Class::Public, CKA_SIGN, true, inconsistent),
            (Class::Private, CKA_VERIFY, true, inconsistent),
            (Class::Public, CKA_SENSITIVE, true, inconsistent),
            (Class::Private, CKA_WRAP, true, inconsistent),
            (Class::Public, CKA_UNWRAP, true, inconsistent),
            (Class::Secret, CKA_TOKEN, true, Ok(())),
            (Class::Secret, CKA_TRUSTED, true, read_only),
            (Class::Secret, CKA_TRUSTED, false, Ok(())),
            (Class::Secret, CKA_LOCAL, true, read_only),
            (Class::Secret, CKA_EXTRACTABLE, false, Ok(())),
        ];
        for (class, kind, value, expected) in cases {
            let found = flags(class, Origin::Generated, &[Attribute::boolean(kind, value)]);
            assert_eq!(found.map(|flags| assert_eq!(flags.get(kind), value)), expected, "{class:?} 0x{kind:x} {value}");
        }
    }

    #[test]
    fn who_may_change_what_afterwards() {
        use Role::{Admin, CryptoUser};
        // kind, to, by the owner, by an admin
        let cases = [
            (CKA_TOKEN, true, true, false),
            (CKA_TOKEN, false, false, false),
            (CKA_PRIVATE, false, false, false),
            (CKA_SENSITIVE, false, false, false),
            (CKA_EXTRACTABLE, true, false, false),
            (CKA_EXTRACTABLE, false, false, false),
            (CKA_MODIFIABLE, false, true, false),
            (CKA_MODIFIABLE, true, false, false),
            (CKA_DESTROYABLE, false, true, false),
            (CKA_DESTROYABLE, true, true, false),
            (CKA_ENCRYPT, true, true, false),
            (CKA_WRAP_WITH_TRUSTED, true, true, false),
            (CKA_WRAP_WITH_TRUSTED, false, false, false),
            (CKA_TRUSTED, true, false, true),
            (CKA_TRUSTED, false, false, true),
            (CKA_LOCAL, true, false, false),
            (CKA_ALWAYS_SENSITIVE, false, false, false),
        ];
        let flags = flags(Class::Secret, Origin::Generated, &[]).unwrap();
        for (kind, value, owner, admin) in cases {
            for (role, expected) in [(CryptoUser, owner), (Admin, admin)] {
                let changed = flags.changed(Class::Secret, kind, value, role);
                assert_eq!(changed.is_ok(), expected, "0x{kind:x} to {value} by {role:?}");
                match changed {
                    Ok(flags) => assert_eq!(flags.get(kind), value),
                    Err(failure) => assert_eq!(failure.ckr, CKR_ATTRIBUTE_READ_ONLY),
                }
            }
        }
        assert!(flags.changed(Class::Private, CKA_WRAP, true, CryptoUser).is_err());
        assert_eq!(
            flags.changed(Class::Secret, CKA_EXTRACTABLE, true, CryptoUser).unwrap_err().message,
            "Attribute extractable cannot be set to the value true by the user for this operation"
        );
    }

    #[test]
    fn malformed_templates_are_refused_by_name() {
        let cases = [
            (vec![Attribute::boolean(0x999, true)], CKR_ATTRIBUTE_TYPE_INVALID, "0x999"),
            (vec![Attribute::ulong(CKA_TOKEN, 1)], CKR_ATTRIBUTE_VALUE_INVALID, "token takes true or false"),
            (vec![Attribute::boolean(CKA_LABEL, true)], CKR_ATTRIBUTE_VALUE_INVALID, "label takes bytes"),
            (vec![Attribute::bytes(CKA_LABEL, [0; 128])], CKR_ATTRIBUTE_VALUE_INVALID, "128 bytes"),
            (
                vec![Attribute::boolean(CKA_SIGN, true), Attribute::boolean(CKA_SIGN, true)],
                CKR_TEMPLATE_INCONSISTENT,
                "sign is given twice",
            ),
        ];
        for (attributes, ckr, text) in cases {
            let refused = Template::read(&attributes).unwrap_err();
            assert_eq!(refused.ckr, ckr);
            assert!(refused.message.contains(text), "{}", refused.message);
        }
        let parts = [Attribute::ulong(CKA_VALUE_LEN, 16), Attribute::bytes(CKA_VALUE, [0; 16])];
        let template = Template::read(&parts).unwrap();
        let described = template.describes(Class::Secret, CKK_AES, &[CKA_VALUE_LEN]).unwrap_err();
        assert_eq!(described.ckr, CKR_TEMPLATE_INCONSISTENT);
        assert!(template.describes(Class::Secret, CKK_AES, &[CKA_VALUE_LEN, CKA_VALUE]).is_ok());
        let other = [Attribute::ulong(CKA_KEY_TYPE, CKK_RSA)];
        let described = Template::read(&other).unwrap().describes(Class::Secret, CKK_AES, &[]).unwrap_err();
        assert_eq!(described.ckr, CKR_TEMPLATE_INCONSISTENT);
        let check_value = [Attribute::bytes(CKA_CHECK_VALUE, [0; 3])];
        let described = Template::read(&check_value).unwrap().describes(Class::Secret, CKK_AES, &[]).unwrap_err();
        assert_eq!(described.ckr, CKR_ATTRIBUTE_READ_ONLY);
    }

    #[test]
    fn flags_are_read_back_from_their_numbers() {
        let flags = flags(Class::Private, Origin::Generated, &[Attribute::boolean(CKA_SIGN, true)]).unwrap();
        assert_eq!(Flags::from_numbers(Class::Private, &flags.numbers()), Ok(flags));
        assert!(Flags::from_numbers(Class::Public, &[CKA_SIGN]).is_err());
        assert!(Flags::from_numbers(Class::Public, &[CKA_LABEL]).is_err());
    }
}
