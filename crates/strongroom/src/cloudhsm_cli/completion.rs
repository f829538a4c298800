//! Owns what Tab offers: commands, flags and the values that the grammar lists; users after `--username`, and labels in a
//! filter, both as the HSM has them at that moment. An HSM that does not answer offers nothing.

use std::cell::RefCell;
use std::rc::Rc;

use clap::CommandFactory as _;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use strongroom_client::Error;
use strongroom_client::hsm::Hsm;
use strongroom_link::hsm::AttributeValue;
use strongroom_link::pkcs11::CKA_LABEL;

use super::grammar::Line;
use super::shell::Shell;

/// What selects a key by its label.
const BY_LABEL: &str = "attr.label=";
/// The most keys that are asked for their labels.
const LABELS: u32 = 200;

/// Completes a line.
pub struct Completion {
    grammar: clap::Command,
    shell: Rc<RefCell<Shell>>,
}

impl Completion {
    /// One that asks the HSM of this shell.
    pub fn new(shell: Rc<RefCell<Shell>>) -> Self {
        Self { grammar: grammar(), shell }
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..position];
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let words: Vec<_> = before[..start].split_whitespace().collect();
        let beginning = &before[start..];
        let found = match wanted(&words, beginning) {
            Some(wanted) => self.shell.borrow_mut().with_hsm(|hsm| names(hsm, wanted)).unwrap_or_default(),
            None => listed(&self.grammar, &words),
        };
        Ok((start, found.into_iter().filter(|candidate| candidate.starts_with(beginning)).collect()))
    }
}

/// Names that only the HSM knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Users,
    /// That there is a way to name a label.
    ByLabel,
    Labels,
}

fn wanted(words: &[&str], beginning: &str) -> Option<Wanted> {
    if beginning.starts_with('-') {
        return None;
    }
    // A filter may have several words.
    match words.iter().rev().find(|word| word.starts_with("--"))? {
        &"--username" if words.last() == Some(&"--username") => Some(Wanted::Users),
        &"--filter" | &"--key-filter" if beginning.starts_with(BY_LABEL) => Some(Wanted::Labels),
        &"--filter" | &"--key-filter" => Some(Wanted::ByLabel),
        _ => None,
    }
}

fn names(hsm: &mut dyn Hsm, wanted: Wanted) -> Result<Vec<String>, Error> {
    Ok(match wanted {
        Wanted::Users => hsm.list_users()?.into_iter().map(|user| user.user + " ").collect(),
        Wanted::ByLabel => vec![BY_LABEL.to_owned()],
        Wanted::Labels => labels(hsm)?.into_iter().map(|label| format!("{BY_LABEL}{label} ")).collect(),
    })
}

/// Those that can be typed as one word.
fn labels(hsm: &mut dyn Hsm) -> Result<Vec<String>, Error> {
    let mut labels = Vec::new();
    for handle in hsm.find_objects(vec![], 0, LABELS)?.handles {
        for attribute in hsm.get_attributes(handle, vec![CKA_LABEL])?.attributes {
            if let AttributeValue::Bytes(bytes) = attribute.value
                && let Ok(label) = String::from_utf8(bytes)
                && !label.contains(|c: char| c.is_whitespace() || ['"', '\'', '\\'].contains(&c))
            {
                labels.push(label);
            }
        }
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

/// The grammar with the flags and commands that clap adds.
fn grammar() -> clap::Command {
    let mut grammar = Line::command();
    grammar.build();
    grammar
}

/// What the grammar lets stand after these words.
fn listed(grammar: &clap::Command, words: &[&str]) -> Vec<String> {
    let mut command = grammar;
    for word in words {
        if let Some(next) = command.find_subcommand(word) {
            command = next;
        }
    }
    let of_flag = words.last().and_then(|word| word.strip_prefix("--"));
    let values = of_flag.and_then(|flag| command.get_arguments().find(|argument| argument.get_long() == Some(flag)));
    let values: Vec<_> = values.map(clap::Arg::get_possible_values).unwrap_or_default();
    if !values.is_empty() {
        values.iter().map(|value| format!("{} ", value.get_name())).collect()
    } else if command.has_subcommands() {
        command.get_subcommands().map(|sub| format!("{} ", sub.get_name())).collect()
    } else {
        command.get_arguments().filter_map(clap::Arg::get_long).map(|flag| format!("--{flag} ")).collect()
    }
}

#[cfg(test)]
mod tests {
    use strongroom_client::hsm::Found;
    use strongroom_link::hsm::{Answer, Attribute, Call, Role, User};

    use super::*;

    fn complete(before: &str, beginning: &str) -> Vec<String> {
        let words: Vec<_> = before.split_whitespace().collect();
        listed(&grammar(), &words).into_iter().filter(|word| word.starts_with(beginning)).collect()
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        assert_eq!(complete("", "clu"), ["cluster "]);
        assert_eq!(complete("key", "generate-a"), ["generate-asymmetric-pair "]);
        assert_eq!(
            complete("key generate-asymmetric-pair rsa", "--pub"),
            ["--public-label ", "--public-attributes ", "--public-exponent "]
        );
        assert_eq!(complete("user create --role", ""), ["crypto-user ", "admin "]);
        assert_eq!(complete("user list", "--"), ["--cluster-id ", "--help "]);
    }

    #[test]
    fn users_and_labels_are_asked_for_where_they_stand() {
        let wanted = |line: &str, beginning| wanted(&line.split_whitespace().collect::<Vec<_>>(), beginning);
        assert_eq!(wanted("login --username", "a"), Some(Wanted::Users));
        assert_eq!(wanted("login --username app", ""), None);
        assert_eq!(wanted("key delete --filter", "at"), Some(Wanted::ByLabel));
        assert_eq!(wanted("key list --filter attr.class=private-key", "attr.label=d"), Some(Wanted::Labels));
        assert_eq!(wanted("crypto sign ecdsa --key-filter", "attr.label="), Some(Wanted::Labels));
        assert_eq!(wanted("key list --filter attr.label=a", "--"), None);
        assert_eq!(wanted("key", ""), None);
    }

    /// Two users, and keys with these labels.
    struct Fake([&'static str; 3]);

    impl Hsm for Fake {
        fn call(&mut self, call: Call) -> Result<Answer, Error> {
            let user = |name: &str| User { user: name.into(), role: Role::CryptoUser, locked: false };
            match call {
                Call::ListUsers => Ok(Answer::Users(vec![user("app"), user("admin")])),
                Call::FindObjects { .. } => {
                    let Found { handles, total } = Found { handles: vec![0, 1, 2], total: 3 };
                    Ok(Answer::Found { handles, total })
                }
                Call::GetAttributes { handle, .. } => {
                    let attributes = vec![Attribute::bytes(CKA_LABEL, self.0[handle as usize])];
                    Ok(Answer::Attributes { attributes, owners: vec![], sensitive: vec![] })
                }
                _ => Err(Error::Unexpected("another call")),
            }
        }
    }

    #[test]
    fn names_are_those_of_the_hsm() {
        let mut hsm = Fake(["signing", "two words", "signing"]);
        assert_eq!(names(&mut hsm, Wanted::Users).unwrap(), ["app ", "admin "]);
        assert_eq!(names(&mut hsm, Wanted::Labels).unwrap(), ["attr.label=signing "]);
    }
}
