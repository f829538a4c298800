// The CBOR codec of AWS's SDKs for JavaScript, signed by their signer: what it writes is read here, what is written here it
// reads.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import { Sha256 } from "@aws-crypto/sha256-js";
import { cbor, tagSymbol } from "@smithy/core/cbor";
import { HttpRequest } from "@smithy/protocol-http";
import { SignatureV4 } from "@smithy/signature-v4";

const endpoint = new URL(process.env.AWS_ENDPOINT_URL_CLOUDHSM_V2);
const signer = new SignatureV4({
    service: "cloudhsm",
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    sha256: Sha256,
});

async function call(operation, input) {
    const request = new HttpRequest({
        method: "POST",
        protocol: "http:",
        hostname: endpoint.hostname,
        port: Number(endpoint.port),
        path: `/service/BaldrApiService/operation/${operation}`,
        headers: {
            host: endpoint.host,
            accept: "application/cbor",
            "content-type": "application/cbor",
            "smithy-protocol": "rpc-v2-cbor",
        },
        body: cbor.serialize(input),
    });
    const { headers, body } = await signer.sign(request);
    const answer = await fetch(new URL(request.path, endpoint), { method: "POST", headers, body });
    assert.equal(answer.headers.get("smithy-protocol"), "rpc-v2-cbor");
    return { status: answer.status, output: cbor.deserialize(new Uint8Array(await answer.arrayBuffer())) };
}

const made = await call("CreateCluster", {
    HsmType: "hsm2m.medium",
    Mode: "FIPS",
    SubnetIds: ["subnet-0123456789abcdef0"],
    TagList: [{ Key: "ключ", Value: "" }],
});
assert.equal(made.status, 200);
const { ClusterId, CreateTimestamp } = made.output.Cluster;
assert.ok(CreateTimestamp[tagSymbol] || CreateTimestamp.tag === 1, "a time is tag 1");
const seconds = CreateTimestamp.value;
assert.ok(Math.abs(Date.now() / 1000 - seconds) < 60, "in seconds since 1970");
const found = await call("DescribeClusters", { Filters: { clusterIds: [ClusterId] }, MaxResults: 1 });
assert.equal(found.output.Clusters[0].ClusterId, ClusterId);
assert.deepEqual(found.output.Clusters[0].TagList, [{ Key: "ключ", Value: "" }]);
const refused = await call("DeleteBackup", { BackupId: "backup-zzzzzzzzzzz" });
assert.equal(refused.status, 400);
assert.equal(refused.output.__type, "com.amazonaws.cloudhsmv2#CloudHsmResourceNotFoundException");
assert.ok(refused.output.Message);
const file = new URL("node_modules/@smithy/core/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(file));
console.log(`@smithy/core ${version}, its CBOR codec and signer: a cluster created and described, a refusal`);
