//! Owns the grammar of CBOR (RFC 8949, appendix C): whether bytes are exactly one well-formed data item, nested no deeper
//! than allowed. Reads heads only, allocates nothing, and stops at the first byte that is not there.

use crate::{DecodeError, NESTING_MAX};

/// Holds bytes to the grammar: one data item, nothing behind it, text in UTF-8.
///
/// # Errors
/// [`DecodeError::NotWellFormed`] with the byte at which it shows, or [`DecodeError::TooDeep`].
pub fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut grammar = Grammar { bytes, at: 0 };
    grammar.item(0)?;
    if grammar.at < bytes.len() { Err(grammar.error("bytes follow the data item")) } else { Ok(()) }
}

struct Grammar<'b> {
    bytes: &'b [u8],
    at: usize,
}

/// The head of a data item: its major type, and its argument or `None` for an indefinite length (or a break).
struct Head {
    major: u8,
    argument: Option<u64>,
}

const BREAK: u8 = 0xff;

impl<'b> Grammar<'b> {
    fn item(&mut self, depth: usize) -> Result<(), DecodeError> {
        let head = self.head()?;
        let nested = matches!(head.major, 4..=6);
        if nested && depth == NESTING_MAX {
            return Err(DecodeError::TooDeep);
        }
        match (head.major, head.argument) {
            (0 | 1, Some(_)) => Ok(()),
            (2 | 3, Some(length)) => self.string(head.major, length),
            (2 | 3, None) => self.chunks(head.major),
            (4, Some(length)) => (0..length).try_for_each(|_| self.item(depth + 1)),
            (5, Some(length)) => (0..length).try_for_each(|_| self.pair(depth + 1)),
            (4, None) => self.until_break(|g| g.item(depth + 1)),
            (5, None) => self.until_break(|g| g.pair(depth + 1)),
            (6, Some(_)) => self.item(depth + 1),
            (7, Some(_)) => Ok(()),
            _ => Err(self.error("a length or a break is not allowed here")),
        }
    }

    fn pair(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.item(depth)?;
        self.item(depth)
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 31);
        let argument = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
            }
            31 => None,
            _ => return Err(self.error("a reserved length")),
        };
        if first == 0xf8 && argument < Some(32) {
            return Err(self.error("a simple value that is longer than it must be"));
        }
        Ok(Head { major, argument })
    }

    fn string(&mut self, major: u8, length: u64) -> Result<(), DecodeError> {
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        if major == 3 && std::str::from_utf8(bytes).is_err() { Err(self.error("text is not UTF-8")) } else { Ok(()) }
    }

    /// The chunks of a string of indefinite length are definite and of its own type.
    fn chunks(&mut self, major: u8) -> Result<(), DecodeError> {
        self.until_break(|g| match g.head()? {
            Head { major: m, argument: Some(length) } if m == major => g.string(major, length),
            _ => Err(g.error("a chunk of another type")),
        })
    }

    fn until_break(&mut self, mut one: impl FnMut(&mut Self) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        while self.bytes.get(self.at) != Some(&BREAK) {
            one(self)?;
        }
        self.at += 1;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or_else(|| self.error("the bytes end too early"))?;
        self.at += length;
        Ok(taken)
    }

    fn error(&self, what: &str) -> DecodeError {
        DecodeError::NotWellFormed(format!("{what} at byte {}", self.at))
    }
}
