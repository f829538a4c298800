//! Owns how a line of the interactive mode becomes words: blanks part them; a word in single quotes is as it stands; in
//! double quotes `\"` and `\\` stand for `"` and `\`; elsewhere a backslash takes the next character as it stands.

/// The words of a line.
///
/// # Errors
/// A quote that is never closed.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            blank if blank.is_whitespace() => words.extend(word.take()),
            quote @ ('"' | '\'') => quoted(quote, &mut characters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Whether the line goes on in the next one; gives it without the backslash that says so.
pub fn continued(line: &str) -> Option<&str> {
    let head = line.trim_end().strip_suffix('\\')?;
    // Two backslashes are one that was meant.
    let escaped = head.len() - head.trim_end_matches('\\').len();
    (escaped % 2 == 0).then_some(head)
}

fn quoted(quote: char, characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    while let Some(character) = characters.next() {
        match character {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => word.push(escaped),
                other => {
                    word.push('\\');
                    word.extend(other);
                }
            },
            other => word.push(other),
        }
    }
    Err(format!("The quote {quote} is never closed."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_together() {
        assert_eq!(
            split(r#"  key list --filter attr.label="x y" 'a "b"' "#).unwrap(),
            ["key", "list", "--filter", "attr.label=x y", "a \"b\""]
        );
        assert_eq!(split(r#""a\"b\\c\d" e\ f '' "#).unwrap(), [r#"a"b\c\d"#, "e f", ""]);
        assert!(split("say 'so").is_err());
        assert!(split(" \t ").unwrap().is_empty());
    }

    #[test]
    fn a_backslash_at_the_end_continues() {
        assert_eq!(continued("key list \\"), Some("key list "));
        assert_eq!(continued("key list \\  "), Some("key list "));
        assert_eq!(continued("key list"), None);
        assert_eq!(continued(r"path\\"), None);
    }
}
