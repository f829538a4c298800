//! Owns the parameters of a call in the query protocol, and AWS's words for one that is not as it must be.

use super::error::StsError;

/// The parameters of a form or a query.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

/// What a text parameter may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The fewest and the most characters.
    pub length: (usize, usize),
    /// What it is made of beside `\w`; `None` for anything.
    pub also: Option<&'static str>,
}

impl Parameters {
    /// Reads them.
    pub(super) fn parse(form: &[u8]) -> Self {
        Self(form_urlencoded::parse(form).into_owned().collect())
    }

    /// The value of a parameter; of two of one name the first counts.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// A text that may be missing.
    ///
    /// # Errors
    /// `ValidationError`
    pub(super) fn optional(&self, name: &str, form: Form) -> Result<Option<&str>, StsError> {
        self.text(name).map(|text| form.check(&member(name), text).map(|()| text)).transpose()
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// `ValidationError`
    pub(super) fn required(&self, name: &str, form: Form) -> Result<&str, StsError> {
        self.optional(name, form)?.ok_or_else(|| missing(&member(name)))
    }

    /// A whole number that may be missing.
    ///
    /// # Errors
    /// `ValidationError`
    pub(super) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, StsError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let place = member(name);
        let number: i64 = text.parse().map_err(|_| StsError::invalid(format!("'{place}' is no whole number.")))?;
        if number < least {
            let rule = format!("Member must have value greater than or equal to {least}");
            return Err(failed(&place, text, &rule));
        }
        if number > most {
            return Err(failed(&place, text, &format!("Member must have value less than or equal to {most}")));
        }
        Ok(Some(number))
    }

    /// The values of `NAME.member.1SUFFIX`, `NAME.member.2SUFFIX` and so on; `None` where another suffix of that member is.
    pub(super) fn list(&self, name: &str, suffix: &str) -> Vec<Option<&str>> {
        let mut values = Vec::new();
        loop {
            let prefix = format!("{name}.member.{}", values.len() + 1);
            let own = format!("{prefix}.");
            if !self.0.iter().any(|(there, _)| *there == prefix || there.starts_with(&own)) {
                return values;
            }
            values.push(self.text(&format!("{prefix}{suffix}")));
        }
    }
}

impl Form {
    /// A text of so many of any characters.
    pub(super) const fn of(least: usize, most: usize) -> Self {
        Self { length: (least, most), also: None }
    }

    /// A text of so many of `\w` and these.
    pub(super) const fn words(least: usize, most: usize, also: &'static str) -> Self {
        Self { length: (least, most), also: Some(also) }
    }

    /// Holds a text against it; `place` is how AWS calls the member.
    ///
    /// # Errors
    /// `ValidationError`
    pub(super) fn check(self, place: &str, text: &str) -> Result<(), StsError> {
        let (length, (least, most)) = (text.chars().count(), self.length);
        if length < least {
            return Err(failed(place, text, &format!("Member must have length greater than or equal to {least}")));
        }
        if length > most {
            return Err(failed(place, text, &format!("Member must have length less than or equal to {most}")));
        }
        match self.also {
            Some(also) if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || also.contains(c)) => {
                Err(failed(place, text, &format!("Member must satisfy regular expression pattern: [\\w{also}]*")))
            }
            _ => Ok(()),
        }
    }
}

/// A member that must be there.
pub(super) fn missing(place: &str) -> StsError {
    let rule = "failed to satisfy constraint: Member must not be null";
    StsError::invalid(format!("1 validation error detected: Value null at '{place}' {rule}"))
}

fn failed(place: &str, text: &str, rule: &str) -> StsError {
    StsError::invalid(format!(
        "1 validation error detected: Value '{text}' at '{place}' failed to satisfy constraint: {rule}"
    ))
}

/// `roleSessionName` for `RoleSessionName`.
fn member(name: &str) -> String {
    let mut member = name.to_owned();
    if let Some(first) = member.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(outcome: Result<T, StsError>) -> String {
        outcome.unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_wrong_is_said_in_awss_words() {
        let parameters = Parameters::parse(b"Name=a+b&Seconds=5&Other=a%3Db");
        assert_eq!(
            message(parameters.required("Name", Form::words(2, 64, "+=,.@-"))),
            "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular \
             expression pattern: [\\w+=,.@-]*"
        );
        assert_eq!(parameters.required("Other", Form::words(2, 64, "+=,.@-")).unwrap(), "a=b");
        assert!(message(parameters.required("Name", Form::of(4, 9))).ends_with("greater than or equal to 4"));
        assert!(message(parameters.required("Name", Form::of(0, 2))).ends_with("less than or equal to 2"));
        assert!(message(parameters.required("Absent", Form::of(0, 2))).contains("Value null at 'absent'"));
        assert!(message(parameters.number("Seconds", 6, 9)).ends_with("greater than or equal to 6"));
        assert_eq!(parameters.number("Seconds", 5, 5).unwrap(), Some(5));
        assert!(parameters.number("Name", 5, 5).is_err());
    }

    #[test]
    fn lists_end_at_the_first_gap() {
        let parameters =
            Parameters::parse(b"K.member.1=a&K.member.2=b&K.member.4=d&T.member.1.Key=k&T.member.2.Value=v");
        assert_eq!(parameters.list("K", ""), [Some("a"), Some("b")]);
        assert_eq!(parameters.list("T", ".Key"), [Some("k"), None]);
        assert_eq!(parameters.list("T", ".Value"), [None, Some("v")]);
    }
}
