// The credentials of an assumed role, from the environment: how many clusters it sees.
import * as sdk from "@aws-sdk/client-cloudhsm-v2";

const client = new sdk.CloudHSMV2Client({
    region: "us-east-1",
    endpoint: process.env.AWS_ENDPOINT_URL_CLOUDHSM_V2,
    maxAttempts: 1,
});
console.log((await client.send(new sdk.DescribeClustersCommand({}))).Clusters.length);
