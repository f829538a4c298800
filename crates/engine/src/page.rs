//! Owns NextToken: a position in a list, bound to the operation, the account, the filters and the order that it was given
//! for, so that a foreign or altered token is told from a good one. It grants nothing: the position is no secret.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE64URL_NOPAD;
use strongroom_model::{ApiError, RegionId};

/// The list that tokens belong to.
pub struct Listing<'a> {
    /// The region that gives the tokens.
    pub region: &'a RegionId,
    /// Operation, account, filters and order: whatever must not change between two pages.
    pub scope: &'a [&'a str],
}

/// A position: the sort key and the id of the last row seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The sort key, such as milliseconds.
    pub key: i64,
    /// The id that breaks ties.
    pub id: String,
}

const CHECK_LENGTH: usize = 12;

impl Listing<'_> {
    /// The token for what follows a position.
    pub fn token(&self, position: &Position) -> String {
        let mut bytes = self.check(position).to_vec();
        bytes.extend_from_slice(&position.key.to_be_bytes());
        bytes.extend_from_slice(position.id.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The position in a token.
    ///
    /// # Errors
    /// `CloudHsmInvalidRequestException` for a token that this list did not give.
    pub fn position(&self, token: Option<&str>) -> Result<Option<Position>, ApiError> {
        let Some(token) = token else { return Ok(None) };
        self.parse(token).map(Some).ok_or_else(|| {
            ApiError::invalid(
                "NextToken is not one that this list gave. Repeat the call without it, with the same filters for every page.",
            )
        })
    }

    fn parse(&self, token: &str) -> Option<Position> {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (check, rest) = bytes.split_at_checked(CHECK_LENGTH)?;
        let (key, id) = rest.split_at_checked(8)?;
        let position =
            Position { key: i64::from_be_bytes(key.try_into().ok()?), id: String::from_utf8(id.to_vec()).ok()? };
        (self.check(&position) == check).then_some(position)
    }

    fn check(&self, position: &Position) -> [u8; CHECK_LENGTH] {
        let mut context = Context::new(&SHA256);
        let key = position.key.to_string();
        let parts = [self.region.as_str(), &key, &position.id];
        for part in parts.iter().chain(self.scope) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.finish().as_ref()[..CHECK_LENGTH].try_into().expect("SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_own_list_only() {
        let region = RegionId::new("r");
        let list = Listing { region: &region, scope: &["DescribeBackups", "000000000000", ""] };
        let position = Position { key: 1_795_511_647_112, id: "backup-aaaaaaaaaaa".into() };
        let token = list.token(&position);
        assert!(token.len() <= 256);
        assert_eq!(list.position(Some(&token)).unwrap(), Some(position));
        assert_eq!(list.position(None).unwrap(), None);
        let other = Listing { region: &region, scope: &["DescribeBackups", "111111111111", ""] };
        assert!(other.position(Some(&token)).is_err());
        let altered = format!("{}A", &token[..token.len() - 1]);
        assert!(altered == token || list.position(Some(&altered)).is_err());
        assert!(list.position(Some("")).is_err());
        assert!(list.position(Some("ä")).is_err());
    }
}
