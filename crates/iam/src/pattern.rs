//! Owns texts of a policy that values are held against: exact ones, those with `*` and `?`, and those with variables, whose
//! inserted text is never a wildcard. A match is greedy and goes back only to the last `*`.

use crate::context::Context;
use crate::fault::{Fault, Path};

/// What a text of a policy may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// `*` and `?` stand for other characters.
    pub wildcards: bool,
    /// `${...}` stands for a value of the request: in documents of version 2012-10-17.
    pub variables: bool,
}

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Literal(char),
    /// Any one character.
    One,
    /// Any characters, or none.
    Any,
}

impl Token {
    /// The character that it stands for, if only for this one.
    pub(crate) fn literal(&self) -> Option<char> {
        if let Self::Literal(c) = self { Some(*c) } else { None }
    }
}

/// A compiled text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// `*` alone.
    All,
    /// This text.
    Exact(String),
    /// This text and anything after it.
    Beginning(String),
    /// With wildcards.
    Glob(Vec<Token>),
    /// With variables.
    Template(Vec<Part>),
}

/// A part of a text with variables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Fixed(Vec<Token>),
    Variable { key: String, default: Option<String> },
}

impl Pattern {
    /// Compiles a text.
    pub(crate) fn compile(text: &str, syntax: Syntax, path: &Path<'_>) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${").filter(|_| syntax.variables) {
            parts.push(Part::Fixed(tokens(&rest[..at], syntax.wildcards)));
            let (variable, after) = variable(&rest[at + 2..], path)?;
            parts.push(variable);
            rest = after;
        }
        let last = tokens(rest, syntax.wildcards);
        if !parts.iter().any(|part| matches!(part, Part::Variable { .. })) {
            let fixed = parts.into_iter().flat_map(|part| match part {
                Part::Fixed(tokens) => tokens,
                Part::Variable { .. } => Vec::new(),
            });
            return Ok(Self::of(fixed.chain(last).collect()));
        }
        parts.push(Part::Fixed(last));
        Ok(Self::Template(parts))
    }

    fn of(tokens: Vec<Token>) -> Self {
        if tokens == [Token::Any] {
            return Self::All;
        }
        let text = |tokens: &[Token]| tokens.iter().map(Token::literal).collect::<Option<String>>();
        match tokens.split_last() {
            Some((Token::Any, rest)) if let Some(beginning) = text(rest) => Self::Beginning(beginning),
            _ => text(&tokens).map_or_else(|| Self::Glob(tokens), Self::Exact),
        }
    }

    /// The steps, with the request's values in; `None` where a variable has none.
    pub(crate) fn resolve(&self, context: &Context<'_>) -> Option<Vec<Token>> {
        Some(match self {
            Self::All => vec![Token::Any],
            Self::Exact(text) => text.chars().map(Token::Literal).collect(),
            Self::Beginning(text) => text.chars().map(Token::Literal).chain([Token::Any]).collect(),
            Self::Glob(tokens) => tokens.clone(),
            Self::Template(parts) => {
                let mut tokens = Vec::new();
                for part in parts {
                    match part {
                        Part::Fixed(fixed) => tokens.extend_from_slice(fixed),
                        Part::Variable { key, default } => {
                            let value = context.single(key).or(default.as_deref())?;
                            tokens.extend(value.chars().map(Token::Literal));
                        }
                    }
                }
                tokens
            }
        })
    }

    /// Whether a value is of this form; a variable without a value matches nothing.
    pub(crate) fn matches(&self, value: &str, context: &Context<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Exact(text) => text == value,
            Self::Beginning(text) => value.starts_with(text.as_str()),
            Self::Glob(tokens) => glob(tokens, value),
            Self::Template(_) => self.resolve(context).is_some_and(|tokens| glob(&tokens, value)),
        }
    }
}

fn tokens(text: &str, wildcards: bool) -> Vec<Token> {
    let token = |c| match c {
        '*' if wildcards => Token::Any,
        '?' if wildcards => Token::One,
        c => Token::Literal(c),
    };
    text.chars().map(token).collect()
}

/// What stands between `${` and `}`, and the text after it.
fn variable<'a>(text: &'a str, path: &Path<'_>) -> Result<(Part, &'a str), Fault> {
    let fault = |what: &str| Fault::new(path, format!("a variable {what}: ${{{text}"));
    for special in ['*', '?', '$'] {
        if let Some(after) = text.strip_prefix(special).and_then(|rest| rest.strip_prefix('}')) {
            return Ok((Part::Fixed(vec![Token::Literal(special)]), after));
        }
    }
    let Some(end) = text.find(['}', ',']) else { return Err(fault("is not closed")) };
    let (key, mut rest) = (&text[..end], &text[end..]);
    if !is_key(key) || key.contains(char::is_whitespace) && !key.contains('/') {
        return Err(fault("is not of the form ${prefix:name}"));
    }
    let mut default = None;
    if let Some(quoted) = rest.strip_prefix(", '") {
        let Some(length) = quoted.find('\'') else { return Err(fault("has a default without its closing quote")) };
        default = Some(quoted[..length].to_owned());
        rest = &quoted[length + 1..];
    }
    match rest.strip_prefix('}') {
        Some(after) => Ok((Part::Variable { key: key.to_lowercase(), default }, after)),
        None => Err(fault("has a default that is not of the form ${key, 'text'}")),
    }
}

/// `prefix:name`, neither part empty.
pub(crate) fn is_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(prefix, name)| !prefix.is_empty() && !name.is_empty())
}

/// Whether the value is of the form: greedy, and back only to the last `*`, so that it costs at most the product of both
/// lengths.
pub(crate) fn glob(tokens: &[Token], value: &str) -> bool {
    let (mut token, mut rest) = (0, value.chars());
    let mut star: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token + 1, rest.clone()));
                token += 1;
                continue;
            }
            Some(Token::One) if rest.clone().next().is_some() => {
                rest.next();
                token += 1;
                continue;
            }
            Some(Token::Literal(c)) if rest.clone().next() == Some(*c) => {
                rest.next();
                token += 1;
                continue;
            }
            None if rest.clone().next().is_none() => return true,
            _ => {}
        }
        let Some((after, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        (token, rest) = (*after, from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Pattern {
        Pattern::compile(text, Syntax { wildcards: true, variables: true }, &Path::Root).unwrap()
    }

    fn matches(text: &str, value: &str) -> bool {
        let mut context = Context::default();
        context.set("aws:PrincipalTag/team", "a*b");
        of(text).matches(value, &context)
    }

    #[test]
    fn wildcards_cover_the_whole_value() {
        assert!(matches("a*b*c", "aXbYbc") && matches("*", "") && matches("a?c", "aßc") && matches("**a", "a"));
        assert!(!matches("a*b", "abc") && !matches("a?c", "ac") && !matches("", "a") && !matches("a?", "a"));
    }

    #[test]
    fn what_a_variable_brings_is_no_wildcard() {
        assert!(matches("${aws:principaltag/Team}-*", "a*b-x"));
        assert!(!matches("${aws:PrincipalTag/team}", "axb"));
        assert!(matches("${aws:PrincipalTag/none, 'x'}", "x"));
        assert!(!matches("${aws:PrincipalTag/none}", ""));
        assert!(matches("${*}${?}${$}", "*?$") && !matches("${*}", "x"));
    }

    #[test]
    fn broken_variables_are_refused() {
        for text in ["${", "${}", "${aws:user name}", "${username}", "${aws:a, b}", "${aws:a, 'b}", "${aws:a,'b'}"] {
            let syntax = Syntax { wildcards: true, variables: true };
            assert!(Pattern::compile(text, syntax, &Path::Root).is_err(), "{text}");
            assert!(Pattern::compile(text, Syntax { variables: false, ..syntax }, &Path::Root).is_ok());
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product() {
        assert!(!matches(&format!("{}b", "a*".repeat(2_000)), &"a".repeat(4_000)));
    }
}
