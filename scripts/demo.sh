#!/usr/bin/env bash
# The story of strongroom in real commands, each printed before it runs: a key that is made in one region signs in another
# after its backup was copied there, and a copy that is cut by kill -9 ends as exactly one backup. Ends with the time of each
# step; exits non-zero at the first thing that is not as told. Leaves nothing behind but target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/needs.sh

KEYS=${DEMO_KEYS:-10000}    # made for the copy that is cut: 9 chunks of 1 MiB
RATE=1000000                # bytes per second of that copy

# The stage: programs under their own names, a temporary folder, one server.

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_PAGER=
export NO_COLOR=1
unset AWS_SESSION_TOKEN AWS_PROFILE CLOUDHSM_ROLE CLOUDHSM_PIN
root=$PWD
work=$(mktemp -d)
server=
step=
began=
steps=()

now() { date +%s%N; }

# Milliseconds as seconds with two places.
seconds() { printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10)); }

end_step() {
    if [ -n "$step" ]; then steps+=("$(seconds $((($(now) - began) / 1000000)))"$'\t'"$step"); fi
    step=
}

step() {
    end_step
    step=$1 began=$(now)
    printf '\n== %s\n' "$1"
}

# Prints a command and runs it here, so that it may set variables.
run() {
    printf '$ %s\n' "$1"
    eval "$1"
}

# wait_for EXPECTED COMMAND: runs the command until it says what is expected, for at most a minute.
wait_for() {
    local said end=$((SECONDS + 60))
    printf '$ %s    # until it says: %s\n' "$2" "$1"
    while said=$(eval "$2") && [ "$said" != "$1" ]; do
        if [ $SECONDS -ge $end ]; then
            echo "not as told: after a minute it says: $said" >&2
            return 1
        fi
        sleep 0.1
    done
}

# expect EXPECTED SAID
expect() {
    if [ "$1" != "$2" ]; then
        echo "not as told: expected $1, got $2" >&2
        return 1
    fi
}

# Starts a server on the data folder and a free port, and waits until it is ready.
start_server() {
    printf '$ %s &\n' "$1"
    : >"$work/banner"
    eval "exec env $1" >"$work/banner" 2>>"$work/log" &
    server=$!
    local end=$((SECONDS + 60))
    until grep -q '^Ready' "$work/banner"; do
        if [ $SECONDS -ge $end ] || ! kill -0 "$server" 2>/dev/null; then
            echo "not as told: the server is not ready" >&2
            return 1
        fi
        sleep 0.02
    done
    sed 's/^/  /' "$work/banner"
    AWS_ENDPOINT_URL_CLOUDHSM_V2=$(sed -n 's/^ *endpoint *//p' "$work/banner")
    export AWS_ENDPOINT_URL_CLOUDHSM_V2
}

stop_server() {
    if [ -n "$server" ]; then
        kill "$1" "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}

finish() {
    local code=$?
    trap - EXIT
    if [ $code -eq 130 ]; then
        echo "Interrupted." >&2
    elif [ $code -ne 0 ]; then
        printf '\nNot as told, in: %s\n' "${step:-the preparation}" >&2
        if [ -s "$work/log" ]; then tail -n 20 "$work/log" | sed 's/^/  log: /' >&2; fi
    fi
    stop_server -TERM
    rm -rf "$work"
    exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

prepare() {
    needs_rust
    needs cc=gcc,libc6-dev openssl=openssl python3=python3 python3-venv=python3-venv
    mkdir -p "$work/bin" "$work/levers"
    run 'cargo build --release --locked --package strongroom --features test-levers'
    cp target/release/strongroom "$work/levers/"
    run 'cargo build --release --locked --package strongroom'
    cp target/release/strongroom "$work/bin/"
    ln -s strongroom "$work/bin/cloudhsm-cli"
    if [ ! -x target/awscli/bin/aws ]; then
        run 'python3 -m venv target/awscli'
        run 'target/awscli/bin/pip install --quiet --disable-pip-version-check awscli'
    fi
    ln -s "$root/target/awscli/bin/aws" "$work/bin/aws"
    export PATH="$work/bin:$PATH"
    cd "$work"
}

make_cluster() {
    run 'C=$(aws cloudhsmv2 create-cluster --region us-east-1 --hsm-type hsm2m.medium --mode FIPS --subnet-ids subnet-0123456789abcdef0 subnet-0123456789abcdef1 --tag-list Key=team,Value=payments --query Cluster.ClusterId --output text); echo $C'
    run 'cluster() { aws cloudhsmv2 describe-clusters --region us-east-1 --filters clusterIds=$C --query "Clusters[0].$1" --output text; }'
    wait_for UNINITIALIZED 'cluster State'
    run 'aws cloudhsmv2 create-hsm --region us-east-1 --cluster-id $C --availability-zone us-east-1a --query "Hsm.[HsmId,EniIp,State]" --output text'
    wait_for ACTIVE 'cluster "Hsms[0].State"'
}

initialize_cluster() {
    run 'cluster Certificates.ClusterCsr > ${C}_ClusterCsr.csr'
    run 'openssl genrsa -aes256 -passout pass:demo -out customerCA.key 2048'
    run 'openssl req -new -x509 -days 3652 -key customerCA.key -passin pass:demo -subj "/O=Example/CN=Example CA" -out customerCA.crt'
    run 'openssl x509 -req -days 3652 -in ${C}_ClusterCsr.csr -CA customerCA.crt -CAkey customerCA.key -passin pass:demo -CAcreateserial -out ${C}_CustomerHsmCertificate.crt'
    run 'aws cloudhsmv2 initialize-cluster --region us-east-1 --cluster-id $C --signed-cert file://${C}_CustomerHsmCertificate.crt --trust-anchor file://customerCA.crt --output text'
    wait_for INITIALIZED 'cluster State'
    run 'strongroom configure --cluster-id $C --region us-east-1 --hsm-ca-cert customerCA.crt --to us'
    run 'export STRONGROOM_CLIENT=$PWD/us'
    run 'cloudhsm-cli cluster activate --password the-admin-of-the-demo'
    wait_for ACTIVE 'cluster State'
}

make_keys() {
    run 'CLOUDHSM_ROLE=admin CLOUDHSM_PIN=admin:the-admin-of-the-demo cloudhsm-cli user create --username app --role crypto-user --password the-user-of-the-demo'
    run 'export CLOUDHSM_ROLE=crypto-user CLOUDHSM_PIN=app:the-user-of-the-demo'
    run 'cloudhsm-cli key generate-asymmetric-pair rsa --public-label pay-rsa-pub --private-label pay-rsa --modulus-size-bits 2048 --public-exponent 65537 --public-attributes verify=true --private-attributes sign=true extractable=false > rsa.json'
    run 'cloudhsm-cli key generate-asymmetric-pair ec --curve secp256r1 --public-label pay-ec-pub --private-label pay-ec --public-attributes verify=true --private-attributes sign=true extractable=false > ec.json'
    run 'cloudhsm-cli key generate-file --encoding pem --path rsa.pem --filter attr.label=pay-rsa-pub'
    run 'cloudhsm-cli key generate-file --encoding pem --path ec.pem --filter attr.label=pay-ec-pub'
}

# sign_with_both NAME: signs the message into NAME-rsa.sig and NAME-ec.sig and verifies with the exported public keys.
sign_with_both() {
    run "cloudhsm-cli crypto sign rsa-pkcs --key-filter attr.label=pay-rsa --hash-function sha256 --data-path message | signature > $1-rsa.sig"
    run "cloudhsm-cli crypto sign ecdsa --key-filter attr.label=pay-ec --hash-function sha256 --signature-format der --data-path message | signature > $1-ec.sig"
    run "openssl dgst -sha256 -verify rsa.pem -signature $1-rsa.sig message"
    run "openssl dgst -sha256 -verify ec.pem -signature $1-ec.sig message"
}

# add_hsm ZONE: one more HSM; the backup that it makes is then the newest of the cluster, in $B.
add_hsm() {
    run "H=\$(aws cloudhsmv2 create-hsm --region us-east-1 --cluster-id \$C --availability-zone $1 --query Hsm.HsmId --output text); echo \$H"
    wait_for ACTIVE 'cluster "Hsms[?HsmId=='"'\$H'"'].State | [0]"'
    run 'B=$(aws cloudhsmv2 describe-backups --region us-east-1 --filters clusterIds=$C,states=READY --query "sort_by(Backups, &CreateTimestamp)[-1].BackupId" --output text); echo $B'
}

copies_there='aws cloudhsmv2 describe-backups --region eu-west-1 --filters sourceBackupIds=$B'

copy_backup() {
    run 'aws cloudhsmv2 copy-backup-to-region --region us-east-1 --destination-region eu-west-1 --backup-id $B'
    wait_for READY "$copies_there --query 'Backups[0].BackupState' --output text"
    run "R=\$($copies_there --query 'Backups[0].BackupId' --output text); echo \$R"
    run "T=\$($copies_there --query 'Backups[0].[SourceRegion,SourceCluster]' --output text); echo \$T"
    expect "us-east-1"$'\t'"$C" "$T"
}

restore_there() {
    run 'D=$(aws cloudhsmv2 create-cluster --region eu-west-1 --hsm-type hsm2m.medium --mode FIPS --subnet-ids subnet-0fedcba987654321a --source-backup-id $R --query Cluster.ClusterId --output text); echo $D'
    run 'there() { aws cloudhsmv2 describe-clusters --region eu-west-1 --filters clusterIds=$D --query "Clusters[0].$1" --output text; }'
    wait_for ACTIVE 'there State'
    run 'aws cloudhsmv2 create-hsm --region eu-west-1 --cluster-id $D --availability-zone eu-west-1a --query "Hsm.[HsmId,EniIp,State]" --output text'
    wait_for ACTIVE 'there "Hsms[0].State"'
    run 'strongroom configure --cluster-id $D --region eu-west-1 --hsm-ca-cert customerCA.crt --to eu'
}

load_keys() {
    {
        echo "login --username app --role crypto-user --password the-user-of-the-demo"
        for n in $(seq "$KEYS"); do
            echo "key generate-symmetric generic-secret --label bulk-$n --key-length-bytes 800"
        done
    } >load
    run "cloudhsm-cli interactive < load > load.out    # $KEYS times: key generate-symmetric generic-secret --key-length-bytes 800"
    expect $((KEYS + 1)) "$(grep -c '"error_code": 0' load.out)"
}

# Chunks that came into the destination's storage since the copy was asked for.
chunks_there() { find data/eu-west-1/blobs -type f -newer "$work/asked" -regex '.*/[0-9]+' | wc -l; }

cut_copy() {
    stop_server -TERM
    start_server "STRONGROOM_TEST_COPY_MAX_RATE=$RATE levers/strongroom dev --listen 127.0.0.1:0 --data data"
    touch "$work/asked"
    run 'aws cloudhsmv2 copy-backup-to-region --region us-east-1 --destination-region eu-west-1 --backup-id $B'
    local end=$((SECONDS + 60)) there=0
    while there=$(chunks_there) && [ "$there" -lt 2 ] && [ $SECONDS -lt $end ]; do sleep 0.05; done
    run "kill -KILL $server"
    wait "$server" 2>/dev/null || true
    server=
    there=$(chunks_there)
    echo "killed while $there chunks were in eu-west-1's storage"
    [ "$there" -ge 2 ]
}

finish_copy() {
    start_server 'strongroom dev --listen 127.0.0.1:0 --data data'
    if ! grep -q 'copy goes on: .* are there' "$work/banner"; then
        echo "not as told: the copy was not cut half way" >&2
        return 1
    fi
    wait_for READY "$copies_there --query 'Backups[0].BackupState' --output text"
    run "N=\$($copies_there --query 'length(Backups)' --output text); echo \$N"
    expect 1 "$N"
    run 'AWS_REGION=us-east-1 strongroom copies'
}

step "Build the server, fetch the AWS CLI"
prepare

step "Start two regions on this machine"
start_server 'strongroom dev --listen 127.0.0.1:0 --data data'

step "us-east-1: a cluster and its first HSM"
make_cluster

step "us-east-1: sign its CSR with an own CA, initialize, activate"
initialize_cluster

step "us-east-1: a user, an RSA and an EC key pair, the public keys exported"
make_keys

step "us-east-1: signatures, verified by OpenSSL"
run 'signature() { python3 -c "import base64, json, sys; sys.stdout.buffer.write(base64.b64decode(json.load(sys.stdin)[\"data\"][\"signature\"]))"; }'
run 'echo "pay 100 to the bearer" > message'
sign_with_both us

step "us-east-1: a second HSM, and with it a backup"
add_hsm us-east-1b

step "Copy the backup to eu-west-1"
copy_backup

step "eu-west-1: a cluster from the copy"
restore_there

step "eu-west-1: the same user signs with the same keys; the public keys from us-east-1 verify"
run 'export STRONGROOM_CLIENT=$PWD/eu'
sign_with_both eu

step "us-east-1: $KEYS more keys, and a backup of them"
run 'export STRONGROOM_CLIENT=$PWD/us'
load_keys
add_hsm us-east-1a

step "Copy that backup slowly, and kill -9 the server half way (a build with a test lever that bounds the rate)"
cut_copy

step "Start again: the copy goes on, and there is exactly one backup"
finish_copy

end_step
printf '\nAll as told.\n'
printf '%s\n' "${steps[@]}" | awk -F'\t' '{ printf "%10s  %s\n", $1, $2 }'
