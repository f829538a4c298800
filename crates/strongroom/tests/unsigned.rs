//! No operation answers a call that is not signed, or signed by somebody else, whatever its body.

mod kit;

use kit::*;
use strongroom_model::Operation;
use strongroom_wire::front::Protocol;

#[test]
fn every_operation_refuses_unsigned_and_foreign_calls_in_both_protocols() {
    let dev = Dev::start();
    for protocol in [Protocol::AwsJson11, Protocol::RpcV2Cbor] {
        for &operation in Operation::ALL {
            let mut api = Api::new(&dev.address, SOURCE, protocol);
            let signed = String::from_utf8(api.request(operation, b"{}")).unwrap();
            let unsigned: String =
                signed.split_inclusive("\r\n").filter(|line| !line.starts_with("authorization")).collect();
            let foreign = signed.replace("Credential=test/", "Credential=AKIDEXAMPLE/");
            let altered = signed.replace("Signature=", "Signature=0");
            for (request, name) in [
                (unsigned, "MissingAuthenticationTokenException"),
                (foreign, "UnrecognizedClientException"),
                (altered, "Signature"),
            ] {
                let (status, body) = api.exchange(request.as_bytes()).unwrap();
                let body = String::from_utf8_lossy(&body).into_owned();
                assert_eq!(status, 400, "{operation:?} {protocol:?} {body}");
                assert!(body.contains(name), "{operation:?} {protocol:?}: {body}");
            }
        }
    }
}
