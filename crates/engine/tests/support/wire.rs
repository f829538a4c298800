//! Calls as a client sees them: bytes in, bytes out, signed and checked, but without a socket between.

use strongroom_model::call::{Call, Reply};
use strongroom_model::{ApiError, Operation, Timestamp, table};
use strongroom_wire::sigv4::{self, Expected, SecretKey, Signer};
use strongroom_wire::{Head, Protocol, cbor, decode_call, front, json};

use super::{NAMES, World, caller};

/// Both protocols.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::AwsJson11, Protocol::RpcV2Cbor];

/// What a client reads that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    /// The name without a namespace.
    pub name: String,
    pub message: String,
}

/// Makes a call through the wire.
pub async fn ask(world: &World, at: usize, protocol: Protocol, call: Call) -> Result<Reply, Refused> {
    let (operation, api) = (call.operation(), table::api());
    let input = api.find(operation.input()).unwrap();
    let value = call.into_value();
    let body = match protocol {
        Protocol::AwsJson11 => json::encode(&value, api, input),
        Protocol::RpcV2Cbor => cbor::encode(&value, api, input),
    };
    send(world, at, protocol, operation, &body).await
}

/// Sends a body, whatever is in it.
pub async fn send(
    world: &World,
    at: usize,
    protocol: Protocol,
    operation: Operation,
    body: &[u8],
) -> Result<Reply, Refused> {
    let api = table::api();
    let service = operation.service();
    let target = format!("{}.{}", service.shape_name(), operation.name());
    let path = format!("/service/{}/operation/{}", service.shape_name(), operation.name());
    let mut head = match protocol {
        Protocol::AwsJson11 => Head {
            method: "POST",
            path: "/",
            query: "",
            headers: vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)],
        },
        Protocol::RpcV2Cbor => Head {
            method: "POST",
            path: &path,
            query: "",
            headers: vec![("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")],
        },
    };
    head.headers.push(("host", "localhost"));
    let answer = match take(world, at, head, body).await {
        Ok(reply) => front::success(protocol, operation, &reply.into_value(), "request"),
        Err(error) => front::failure(protocol, service, &error, "request"),
    };
    let decode = |shape: &str| {
        let shape = api.find(shape).unwrap();
        match protocol {
            Protocol::AwsJson11 => json::decode(&answer.body, api, shape),
            Protocol::RpcV2Cbor => cbor::decode(&answer.body, api, shape),
        }
        .unwrap()
    };
    if answer.status == 200 {
        return Ok(Reply::from_value(operation, decode(operation.output())).unwrap());
    }
    Err(refused(protocol, answer.status, &answer.body))
}

/// The way of a request through the door.
async fn take(world: &World, at: usize, mut head: Head<'_>, body: &[u8]) -> Result<Reply, ApiError> {
    let now = Timestamp::from_millis(1_795_511_647_000);
    let secret = SecretKey::new("secret");
    let target = front::route(&head).expect("an operation that there is");
    let service = target.operation.service().signing_name();
    let signer = Signer { access_key_id: "key", secret: &secret, session_token: None, region: NAMES[at], service };
    let added = signer.sign(&head, body, now);
    head.headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    let claim = sigv4::parse(&head)?;
    let expected = Expected { service, now, normalize_path: true };
    let verified = claim.verify(&head, body, &claim.signing_key(&secret), &expected)?;
    let call = decode_call(&verified, &target, body)?;
    world.region(at).call(&caller(Some(world.invocation())), call).await
}

fn refused(protocol: Protocol, status: u16, body: &[u8]) -> Refused {
    // Every error is a structure of strings.
    let members: Vec<(String, String)> = match protocol {
        Protocol::AwsJson11 => {
            let value: serde_json::Value = serde_json::from_slice(body).unwrap();
            let members = value.as_object().unwrap().iter();
            members.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
        }
        Protocol::RpcV2Cbor => {
            let mut decoder = minicbor::Decoder::new(body);
            let members = decoder.map_iter::<String, String>().unwrap();
            members.map(Result::unwrap).collect()
        }
    };
    let member = |name: &str| {
        let found = members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let name = member("__type");
    Refused { status, name: name.rsplit('#').next().unwrap().to_owned(), message: member("message") }
}
