//! Owns the canonical form of a request, which both the signer and the verifier hash.

use std::fmt::Write;

use crate::front::Head;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The canonical request. A header that is said to be signed but is not there leaves its name without a colon, which no
/// signer writes, so that it cannot be taken away.
pub(super) fn request(
    head: &Head<'_>,
    query: &str,
    signed_headers: &str,
    body_digest: &[u8; 32],
    normalize_path: bool,
) -> String {
    let mut out = String::with_capacity(512);
    out.push_str(head.method);
    out.push('\n');
    path(&mut out, head.path, normalize_path);
    out.push('\n');
    out.push_str(query);
    out.push('\n');
    for name in signed_headers.split(';') {
        header(&mut out, head, name);
    }
    write!(out, "\n{signed_headers}\n").expect("a String takes every character");
    data_encoding::HEXLOWER.encode_append(body_digest, &mut out);
    out
}

/// The canonical query: decoded, encoded again, sorted; without the parameters that are not signed.
pub(super) fn query(query: &str, unsigned: &[&str]) -> String {
    let mut pairs: Vec<(String, String)> = pairs(query)
        .filter(|(name, _)| !unsigned.iter().any(|u| u.as_bytes() == name))
        .map(|(name, value)| (encoded(&name), encoded(&value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The value of a query parameter, decoded; `None` if it is absent or no text.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = pairs(query).find(|(n, _)| n == name.as_bytes())?;
    String::from_utf8(value).ok()
}

fn pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn path(out: &mut String, path: &str, normalize: bool) {
    if !normalize {
        return encode(out, path.as_bytes(), true);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push('/');
        encode(out, segment.as_bytes(), true);
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push('/');
    }
}

/// A header's values, trimmed, each run of white space made one space, joined by commas in their order.
fn header(out: &mut String, head: &Head<'_>, name: &str) {
    out.push_str(name);
    let mut separator = ':';
    for (_, value) in head.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
        out.push(separator);
        separator = ',';
        for (i, word) in value.split_ascii_whitespace().enumerate() {
            out.push_str(if i > 0 { " " } else { "" });
            out.push_str(word);
        }
    }
    out.push('\n');
}

fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escape = bytes.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        match escape.and_then(|hex| data_encoding::HEXUPPER_PERMISSIVE.decode(hex).ok()) {
            Some(byte) => {
                out.extend(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    out
}

fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    encode(&mut out, bytes, false);
    out
}

fn encode(out: &mut String, bytes: &[u8], keep_slash: bool) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let hex = |n: u8| char::from(HEX[usize::from(n)]);
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
}
