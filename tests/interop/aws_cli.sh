#!/usr/bin/env bash
# aws_cli.sh [AWS]: the AWS CLI as people type it, in the order of AWS's guide, down to a copy in the other region.
set -euo pipefail
cli=${1:-aws}
version=$("$cli" --version 2>&1 | cut -d' ' -f1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mode=(--mode FIPS)
case $version in
    # Older than modes, and than the variables that lead the others here.
    aws-cli/2.?.* | aws-cli/2.1[012].*)
        mode=()
        aws() {
            local service=CLOUDHSM_V2
            case " $* " in *" sts "*) service=STS ;; *" resourcegroupstaggingapi "*) service=RESOURCE_GROUPS_TAGGING_API ;; esac
            local url=AWS_ENDPOINT_URL_$service
            "$cli" --endpoint-url "${!url}" "$@"
        }
        ;;
    *) aws() { "$cli" "$@"; } ;;
esac

until_state() { # CLUSTER STATE
    for _ in $(seq 100); do
        state=$(aws cloudhsmv2 describe-clusters --filters "clusterIds=$1" --query 'Clusters[0].State' --output text)
        if [ "$state" = "$2" ]; then return; fi
        sleep 0.1
    done
    echo "not as told: $1 is $state, not $2" >&2
    exit 1
}

aws sts get-caller-identity --query Account --output text | grep -qx 000000000000
cluster=$(aws cloudhsmv2 create-cluster --hsm-type hsm2m.medium "${mode[@]}" --subnet-ids subnet-0123456789abcdef0 \
    --query Cluster.ClusterId --output text)
until_state "$cluster" UNINITIALIZED
aws cloudhsmv2 create-hsm --cluster-id "$cluster" --availability-zone us-east-1a >/dev/null
for _ in $(seq 100); do
    aws cloudhsmv2 describe-clusters --filters "clusterIds=$cluster" --query 'Clusters[0].Certificates.ClusterCsr' \
        --output text >"$work/csr"
    if grep -q BEGIN "$work/csr"; then break; fi
    sleep 0.1
done
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ca -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl x509 -req -days 30 -in "$work/csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -out "$work/hsm.crt" 2>/dev/null
aws cloudhsmv2 initialize-cluster --cluster-id "$cluster" --signed-cert "file://$work/hsm.crt" \
    --trust-anchor "file://$work/ca.crt" --query State --output text | grep -qx INITIALIZE_IN_PROGRESS
until_state "$cluster" INITIALIZED
if aws cloudhsmv2 delete-cluster --cluster-id "$cluster" 2>"$work/error"; then
    echo "not as told: a cluster with an HSM was deleted" >&2
    exit 1
fi
grep -q CloudHsmInvalidRequestException "$work/error"
aws cloudhsmv2 tag-resource --resource-id "$cluster" --tag-list Key=team,Value=blue
aws resourcegroupstaggingapi get-resources --tag-filters Key=team --query 'ResourceTagMappingList[0].ResourceARN' \
    --output text | grep -q "cluster/$cluster$"
backup=$(aws cloudhsmv2 describe-backups --filters states=READY --query 'Backups[0].BackupId' --output text)
aws cloudhsmv2 copy-backup-to-region --destination-region eu-west-1 --backup-id "$backup" >/dev/null
aws --region eu-west-1 cloudhsmv2 describe-backups --filters "sourceBackupIds=$backup" --query 'Backups[0].BackupState' \
    --output text | grep -Eqx 'READY|CREATE_IN_PROGRESS'
echo "$version: a cluster initialized with OpenSSL's certificate, tags, refusals, a copy"
