//! Owns [`Problem`], the one form in which a command says that it cannot go on: what happened, why, what to do, and the
//! exit code. Nothing else prints an `error[…]`.

use std::fmt;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Not reachable: try again.
    Unreachable = 3,
    /// Refused by the other side.
    Refused = 4,
    /// Findings.
    Findings = 5,
    /// Ended by Ctrl-C.
    Interrupted = 130,
}

/// What ends a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    slug: &'static str,
    what: String,
    cause: Option<String>,
    help: Option<String>,
    exit: Exit,
}

impl Problem {
    /// A problem by its slug, such as `data-in-use`, and what happened.
    pub fn new(slug: &'static str, what: impl Into<String>) -> Self {
        Self { slug, what: what.into(), cause: None, help: None, exit: Exit::Failed }
    }

    /// Why it happened.
    #[must_use]
    pub fn cause(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// What to do, with a command to paste where there is one.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Another exit code than 1.
    #[must_use]
    pub fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The slug.
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// The exit code.
    pub fn exit_code(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.slug, self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {cause}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp:  {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_line() {
        let problem = Problem::new("port-in-use", "cannot listen on 127.0.0.1:4225")
            .cause("pid 902 (python3) listens there")
            .help("strongroom dev --listen 127.0.0.1:4325");
        assert_eq!(
            problem.to_string(),
            "error[port-in-use]: cannot listen on 127.0.0.1:4225\ncause: pid 902 (python3) listens there\n\
             help:  strongroom dev --listen 127.0.0.1:4325"
        );
    }
}
