//! Owns the interactive mode: lines from a terminal with editing, history and completion, or from standard input as they
//! come. A line that fails does not end it; `quit` and the end of input do.
//!
//! The history never holds a line with a password, and only its owner can read it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{CommandFactory as _, Parser as _};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::completion::Completion;
use super::grammar::{Line, LineCommand};
use super::shell::Shell;
use super::words;
use crate::files::make_private_folder;

/// The prompt of a line that goes on.
const CONTINUATION: &str = "> ";

/// Something that lines come from.
trait Lines {
    fn read(&mut self, prompt: &str) -> Input;

    /// Keeps a whole line, continuations included, for later.
    fn remember(&mut self, _line: &str) {}
}

enum Input {
    Line(String),
    /// The line was given up.
    Cleared,
    End,
}

/// Runs lines until `quit` or the end of input.
pub fn run(shell: Shell) -> ExitCode {
    // What completes a line asks the HSM too, between two commands.
    let shell = Rc::new(RefCell::new(shell));
    if !io::stdin().is_terminal() {
        run_lines(&shell, &mut Script);
        return ExitCode::SUCCESS;
    }
    match Terminal::open(shell.clone()) {
        Ok(mut terminal) => {
            run_lines(&shell, &mut terminal);
            ExitCode::SUCCESS
        }
        Err(error) => {
            super::print_start_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run_lines(shell: &RefCell<Shell>, lines: &mut dyn Lines) {
    let mut begun = String::new();
    loop {
        let prompt = if begun.is_empty() { Cow::Owned(shell.borrow().prompt()) } else { Cow::Borrowed(CONTINUATION) };
        match lines.read(&prompt) {
            Input::End => return,
            Input::Cleared => begun.clear(),
            Input::Line(line) => match words::continued(&line) {
                Some(part) => begun.push_str(part),
                None => {
                    begun.push_str(&line);
                    let line = std::mem::take(&mut begun);
                    lines.remember(&line);
                    if run_line(&mut shell.borrow_mut(), &line).is_break() {
                        return;
                    }
                }
            },
        }
    }
}

fn run_line(shell: &mut Shell, line: &str) -> ControlFlow<()> {
    let parsed = match words::split(line) {
        Ok(words) if words.is_empty() => return ControlFlow::Continue(()),
        Ok(words) => Line::try_parse_from(words),
        Err(error) => Err(Line::command().error(clap::error::ErrorKind::InvalidValue, error)),
    };
    match parsed {
        Ok(Line { command: LineCommand::Quit, .. }) => return ControlFlow::Break(()),
        Ok(Line { command: LineCommand::Command(command), cluster }) => {
            shell.run_line(command, cluster.cluster_id.as_deref());
        }
        Err(usage) => {
            let _ = usage.print();
        }
    }
    ControlFlow::Continue(())
}

/// Standard input that is no terminal; a password that a command asks for is its next line.
struct Script;

impl Lines for Script {
    fn read(&mut self, _: &str) -> Input {
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(0) | Err(_) => Input::End,
            Ok(_) => Input::Line(line.trim_end_matches(['\n', '\r']).to_owned()),
        }
    }
}

struct Terminal {
    editor: Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
}

impl Terminal {
    fn open(shell: Rc<RefCell<Shell>>) -> rustyline::Result<Self> {
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completion::new(shell)));
        let history = history_file(|name| env::var_os(name));
        // Without a history the program is of use all the same.
        let history = history.filter(|path| path.parent().is_some_and(|folder| make_private_folder(folder).is_ok()));
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }
}

impl Lines for Terminal {
    fn read(&mut self, prompt: &str) -> Input {
        match self.editor.readline(prompt) {
            Ok(line) => Input::Line(line),
            Err(ReadlineError::Interrupted) => Input::Cleared,
            Err(_) => Input::End,
        }
    }

    fn remember(&mut self, line: &str) {
        if is_secret(line) || !self.editor.add_history_entry(line).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.history {
            let _ = self.editor.append_history(path);
        }
    }
}

/// Whether a line must not be kept.
fn is_secret(line: &str) -> bool {
    line.contains("--password")
}

fn history_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("strongroom/history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_password_are_not_kept() {
        assert!(is_secret("login --username a --role admin --password=x"));
        assert!(!is_secret("user list"));
    }

    #[test]
    fn the_history_is_in_the_state_folder() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".into());
        assert_eq!(history_file(home), Some("/home/a/.local/state/strongroom/history".into()));
        let state = |name: &str| Some(if name == "HOME" { "/home/a".into() } else { "/state".into() });
        assert_eq!(history_file(state), Some("/state/strongroom/history".into()));
    }
}
