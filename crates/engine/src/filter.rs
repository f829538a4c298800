//! Owns the filters of the Describe calls: names that are known, values that can match. Several names must all match,
//! several values of one name are alternatives.

use strongroom_model::ApiError;
use strongroom_model::call::Filters;

/// The filters of a request, each taken once by name.
pub struct Chosen(Filters);

impl Chosen {
    /// Checks the names.
    ///
    /// # Errors
    /// `CloudHsmInvalidRequestException` for a name that the operation does not know.
    pub fn of(filters: Option<Filters>, known: &[&str]) -> Result<Self, ApiError> {
        let filters = filters.unwrap_or_default();
        match filters.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self(filters)),
            Some(name) => Err(ApiError::invalid(format!(
                "There is no filter {name:?} here. The filters are: {}.",
                known.join(", ")
            ))),
        }
    }

    /// The values of a filter, each read by `parse`; those that can match nothing are left out. `None` where the
    /// filter was not given, so that everything matches.
    pub fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        self.0.get(name).map(|values| values.iter().filter_map(|v| parse(v)).collect())
    }

    /// The filters as one text, for the scope of a token.
    pub fn scope(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// `True` or `False` in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_and_known_ones_listed() {
        let filters: Filters = [("state".to_owned(), vec![])].into_iter().collect();
        let error = Chosen::of(Some(filters), &["states", "clusterIds"]).err().unwrap();
        assert!(error.message().contains("states, clusterIds"), "{error}");
    }

    #[test]
    fn values_that_match_nothing_are_left_out() {
        let filters: Filters = [("neverExpires".to_owned(), vec!["TRUE".into(), "maybe".into()])].into_iter().collect();
        let chosen = Chosen::of(Some(filters), &["neverExpires"]).unwrap();
        assert_eq!(chosen.parsed("neverExpires", boolean), Some(vec![true]));
        assert_eq!(chosen.parsed("states", boolean), None);
    }
}
