//! Owns what is asked of the person at the terminal. A password is read without echo; where there is no terminal it is
//! the next line of standard input, so that scripts work. A password is wiped when dropped and never shown again.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use strongroom_link::Secret;

/// Something that can be asked for a password.
pub trait Prompt {
    /// The answer to a prompt such as `Enter password:`.
    ///
    /// # Errors
    /// What reading failed with; `UnexpectedEof` where nobody answers.
    fn password(&mut self, prompt: &str) -> io::Result<Secret>;

    /// A password to set: asked twice, and the answers must agree.
    ///
    /// # Errors
    /// As [`Prompt::password`]; `InvalidInput` where they differ.
    fn new_password(&mut self) -> io::Result<Secret> {
        let password = self.password("Enter password:")?;
        let confirmation = self.password("Confirm password:")?;
        if password.expose() == confirmation.expose() {
            Ok(password)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "The passwords differ. Nothing was changed."))
        }
    }
}

/// The terminal of this process, or its standard input.
pub struct Terminal;

impl Prompt for Terminal {
    fn password(&mut self, prompt: &str) -> io::Result<Secret> {
        if io::stdin().is_terminal() {
            rpassword::prompt_password(prompt).map(|text| Secret::new(text.into_bytes()))
        } else {
            read_password(&mut io::stdin().lock())
        }
    }
}

fn read_password(input: &mut impl io::BufRead) -> io::Result<Secret> {
    let mut line = Vec::with_capacity(256);
    input.by_ref().take(256).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        let why =
            "A password is needed, and nobody is there to be asked: pass --password, or give it as a line of input.";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answers(Vec<&'static str>);

    impl Prompt for Answers {
        fn password(&mut self, _: &str) -> io::Result<Secret> {
            Ok(Secret::new(self.0.remove(0).into()))
        }
    }

    #[test]
    fn a_new_password_is_asked_twice() {
        assert_eq!(Answers(vec!["one", "one"]).new_password().unwrap().expose(), b"one");
        assert!(Answers(vec!["one", "two"]).new_password().is_err());
    }

    #[test]
    fn without_a_terminal_it_is_one_line() {
        let mut input = &b"secret word\r\nnext\n"[..];
        assert_eq!(read_password(&mut input).unwrap().expose(), b"secret word");
        assert_eq!(input, b"next\n");
        let end = read_password(&mut &b""[..]).unwrap_err();
        assert!(end.to_string().contains("--password"), "{end}");
    }
}
