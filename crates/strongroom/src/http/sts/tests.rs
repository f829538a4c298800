use super::*;

#[test]
fn forms_and_queries_are_for_it() {
    let head = |content_type| Head {
        method: "POST",
        path: "/",
        query: "",
        headers: vec![("Content-Type", content_type), ("x", "y")],
    };
    assert!(is_asked(&head("application/x-www-form-urlencoded; charset=utf-8")));
    assert!(!is_asked(&head("application/x-amz-json-1.1")));
    assert!(!is_asked(&Head { method: "GET", ..head(FORM) }));
    assert!(is_asked(&Head { method: "GET", query: "Action=GetCallerIdentity&Version=2011-06-15", ..head("") }));
}

#[test]
fn errors_have_the_names_of_the_query_protocol() {
    let error = ApiError::new(ErrorKind::UnrecognizedClient, "a < b & \"c\"");
    let answer = message(None, Err(error.into()), "id");
    assert_eq!(answer.status, 403);
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("<Type>Sender</Type><Code>InvalidClientTokenId</Code>"), "{body}");
    assert!(body.contains("<Message>a &#60; b &#38; &#34;c&#34;</Message>"), "{body}");
}
