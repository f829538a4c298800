// AWS's SDK for JavaScript: a cluster and its tags, a copy found by its source, and what refuses.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import assert from "node:assert/strict";
import * as sdk from "@aws-sdk/client-cloudhsm-v2";

const client = (region) =>
    new sdk.CloudHSMV2Client({ region, endpoint: process.env.AWS_ENDPOINT_URL_CLOUDHSM_V2 });
const [source, destination] = [client("us-east-1"), client("eu-west-1")];

async function until(what, found) {
    for (let n = 0; n < 200; n++) {
        const value = await found();
        if (value) return value;
        await sleep(50);
    }
    throw new Error(`not as told: ${what}`);
}

const made = await source.send(
    new sdk.CreateClusterCommand({
        HsmType: "hsm2m.medium",
        Mode: "FIPS",
        SubnetIds: ["subnet-0123456789abcdef0"],
        TagList: [{ Key: "ключ", Value: "a+b/c" }],
    }),
);
const id = made.Cluster.ClusterId;
const look = async () =>
    (await source.send(new sdk.DescribeClustersCommand({ Filters: { clusterIds: [id] } }))).Clusters[0];
const cluster = await until("UNINITIALIZED", async () => {
    const found = await look();
    return found.State === "UNINITIALIZED" && found;
});
assert.deepEqual(cluster.TagList, [{ Key: "ключ", Value: "a+b/c" }]);
assert.ok(cluster.CreateTimestamp instanceof Date && Math.abs(Date.now() - cluster.CreateTimestamp) < 60_000);

const { Backups } = await source.send(new sdk.DescribeBackupsCommand({ Filters: { states: ["READY"] } }));
const backup = Backups[0].BackupId;
const asked = await source.send(
    new sdk.CopyBackupToRegionCommand({ DestinationRegion: "eu-west-1", BackupId: backup }),
);
assert.equal(asked.DestinationBackup.SourceBackup, backup);
await until("copy READY", async () => {
    const found = await destination.send(
        new sdk.DescribeBackupsCommand({ Filters: { sourceBackupIds: [backup] } }),
    );
    return found.Backups.some((b) => b.BackupState === "READY");
});
await assert.rejects(
    source.send(new sdk.DeleteBackupCommand({ BackupId: "backup-zzzzzzzzzzz" })),
    (error) => error instanceof sdk.CloudHsmResourceNotFoundException && error.$metadata.requestId.length > 0,
);
await source.send(new sdk.DeleteClusterCommand({ ClusterId: id }));
await until("DELETED", async () => (await look()).State === "DELETED");
const file = new URL("node_modules/@aws-sdk/client-cloudhsm-v2/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(file));
console.log(`AWS SDK for JavaScript ${version}: a cluster created, described, deleted; a backup copied; a refusal by class`);
