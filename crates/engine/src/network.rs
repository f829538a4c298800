//! Owns the addresses of HSMs: each region has a /24 of its own, and an HSM gets the lowest free address in it.

use std::collections::HashSet;

use strongroom_model::ApiError;

/// The first host number that is given: those below are a subnet's own, as on AWS.
const FIRST: u8 = 16;
/// The last one.
const LAST: u8 = 254;

/// An address of the region's /24: the one asked for, or the lowest that is free.
///
/// # Errors
/// `CloudHsmInvalidRequestException` where the one asked for is taken or of another network, or none is free.
pub fn choose(network: [u8; 3], asked: Option<&str>, taken: &HashSet<String>) -> Result<String, ApiError> {
    let [a, b, c] = network;
    let address = |host: u8| format!("{a}.{b}.{c}.{host}");
    let Some(asked) = asked else {
        return (FIRST..=LAST).map(address).find(|a| !taken.contains(a)).ok_or_else(|| {
            ApiError::invalid(format!("All addresses of {a}.{b}.{c}.0/24 are in use. Delete an HSM first."))
        });
    };
    if !(FIRST..=LAST).any(|host| address(host) == asked) {
        return Err(ApiError::invalid(format!(
            "IpAddress {asked} is not an address of this region's network. Choose one from {} to {}, or leave it out.",
            address(FIRST),
            address(LAST)
        )));
    }
    if taken.contains(asked) {
        return Err(ApiError::invalid(format!("IpAddress {asked} is in use. Choose another, or leave it out.")));
    }
    Ok(asked.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_is_given() {
        let net = [127, 94, 17];
        let taken = HashSet::from(["127.94.17.16".to_owned()]);
        assert_eq!(choose(net, None, &taken).unwrap(), "127.94.17.17");
        assert_eq!(choose(net, Some("127.94.17.200"), &taken).unwrap(), "127.94.17.200");
        assert!(choose(net, Some("127.94.17.16"), &taken).is_err());
        assert!(choose(net, Some("10.0.0.16"), &taken).is_err());
        assert!(choose(net, Some("127.94.17.1"), &taken).is_err());
        let all: HashSet<String> = (0..=255).map(|h| format!("127.94.17.{h}")).collect();
        assert!(choose(net, None, &all).is_err());
    }
}
