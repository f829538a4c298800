//! An HSM of canned answers, for the tests of the commands.

use std::collections::VecDeque;
use std::io;

use clap::Parser as _;
use strongroom_client::{Error, Hsm};
use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Attribute, Call, Info};
use strongroom_link::pkcs11::Ulong;

use super::execute::{Target, execute};
use super::grammar::{Line, LineCommand};
use super::output::envelope;
use super::words;
use crate::terminal::Prompt;

/// Gives its answers one after the other and keeps the calls.
pub struct FakeHsm {
    answers: VecDeque<Result<Answer, Error>>,
    pub calls: Vec<Call>,
}

impl Hsm for FakeHsm {
    fn call(&mut self, call: Call) -> Result<Answer, Error> {
        self.calls.push(call);
        self.answers.pop_front().expect("the test has an answer for each call")
    }
}

/// Types the same password each time.
struct Swordfish;

impl Prompt for Swordfish {
    fn password(&mut self, _: &str) -> io::Result<Secret> {
        Ok(Secret::new(b"swordfish".to_vec()))
    }
}

/// Runs a line against these answers; gives what is printed, and the calls.
pub fn run(line: &str, answers: Vec<Result<Answer, Error>>) -> (String, Vec<Call>) {
    run_with(line, answers, false)
}

/// The same, with the key availability check on or off.
pub fn run_with(line: &str, answers: Vec<Result<Answer, Error>>, check: bool) -> (String, Vec<Call>) {
    let line = Line::try_parse_from(words::split(line).unwrap()).unwrap();
    let LineCommand::Command(command) = line.command else { panic!("the line leaves") };
    let mut hsm = FakeHsm { answers: answers.into(), calls: vec![] };
    let mut target = Target { hsm: &mut hsm, prompt: &mut Swordfish, checks_key_availability: check };
    let (printed, _) = envelope(execute(command, &mut target));
    assert!(hsm.answers.is_empty(), "the HSM was not asked for {:?}", hsm.answers);
    (printed, hsm.calls)
}

pub fn refused(ckr: Ulong, message: &str) -> Result<Answer, Error> {
    Err(Error::Refused { ckr, message: message.into() })
}

pub fn found(handles: &[Ulong], total: u32) -> Result<Answer, Error> {
    Ok(Answer::Found { handles: handles.to_vec(), total })
}

pub fn told(attributes: Vec<Attribute>) -> Result<Answer, Error> {
    Ok(Answer::Attributes { attributes, owners: vec!["cu1".into()], sensitive: vec![] })
}

pub fn info(hsms: &[&str], activated: bool) -> Result<Answer, Error> {
    Ok(Answer::Info(Info {
        version: 1,
        cluster: "cluster-laci57k43pe".into(),
        hsm: hsms[0].into(),
        mode: "FIPS".into(),
        activated,
        hsms: hsms.iter().map(|id| (*id).to_owned()).collect(),
    }))
}
