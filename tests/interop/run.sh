#!/usr/bin/env bash
# run.sh [CLIENT]...: runs unmodified clients of AWS against a server of their own each, with a cluster that has keys and a
# backup. Without a name all of them; what a client needs is installed into target/interop.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/needs.sh
needs_rust
needs cc=gcc,libc6-dev openssl=openssl python3=python3 python3-venv=python3-venv
clients=(${@:-boto3-json boto3-cbor retries aws-cli aws-cli-2 custodian javascript go rust access})
here=$PWD/tests/interop
folder=$PWD/target/interop
mkdir -p "$folder/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# venv NAME PACKAGE...
venv() {
    local path=$folder/$1 wanted="${*:2}"
    if [ "$(cat "$path/installed" 2>/dev/null)" = "$wanted" ]; then return; fi
    python3 -m venv "$path"
    "$path/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
    echo "$wanted" >"$path/installed"
}

npm_packages() {
    mkdir -p "$folder/javascript"
    cp "$here/javascript/"* "$folder/javascript/"
    (cd "$folder/javascript" && npm install --silent --no-fund --no-audit >/dev/null)
}

# STRONGROOM_PROFILE=dev takes what the tests have built.
profile=${STRONGROOM_PROFILE:-release}
cargo build --profile "$profile" --locked --quiet --package strongroom
cp -f "target/${profile/dev/debug}/strongroom" "$folder/bin/"
ln -sf strongroom "$folder/bin/cloudhsm-cli"
export PATH=$folder/bin:$PATH
unset AWS_CA_BUNDLE AWS_PROFILE

# with_server COMMAND...: on a cluster that quickstart made.
with_server() {
    rm -rf "$work/quickstart"
    # Its files are not needed, only what it made.
    strongroom -q dev --ephemeral -- bash -c 'strongroom quickstart --to "$0" >/dev/null && exec "$@"' "$work/quickstart" "$@" \
        2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

for client in "${clients[@]}"; do
    case $client in
        boto3-json | boto3-cbor)
            venv boto3 boto3==1.44.5
            with_server "$folder/boto3/bin/python" "$here/boto3_calls.py" "${client#boto3-}"
            ;;
        retries)
            venv boto3 boto3==1.44.5
            AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 \
                "$folder/boto3/bin/python" "$here/retries.py" "$folder/bin/strongroom" "$work/data" 2>"$work/log" \
                || { cat "$work/log" >&2; exit 1; }
            rm -rf "$work"/data*
            ;;
        aws-cli)
            venv awscli awscli==1.46.3
            with_server "$here/aws_cli.sh" "$folder/awscli/bin/aws"
            ;;
        aws-cli-2)
            needs /usr/bin/aws=awscli
            with_server "$here/aws_cli.sh" /usr/bin/aws
            ;;
        custodian)
            venv custodian c7n==0.9.53
            PYTHON=$folder/custodian/bin/python with_server "$here/custodian.sh"
            ;;
        javascript)
            needs node=nodejs npm=npm
            npm_packages
            with_server node "$folder/javascript/flow.mjs"
            with_server node "$folder/javascript/cbor.mjs"
            ;;
        go)
            needs go=golang-go /usr/share/gocode/src/github.com/aws/aws-sdk-go-v2/doc.go=golang-github-aws-aws-sdk-go-v2-dev
            GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$folder/go go build -o "$folder/bin/terraform_calls" "$here/go/terraform_calls.go"
            with_server terraform_calls
            ;;
        rust)
            cargo build --locked --quiet --manifest-path "$here/rust/Cargo.toml" --target-dir "$folder/rust"
            with_server "$folder/rust/debug/interop"
            ;;
        access)
            needs node=nodejs npm=npm faketime=faketime
            venv boto3 boto3==1.44.5
            venv awscli awscli==1.46.3
            npm_packages
            # Its clock is a file's.
            cargo build --profile "$profile" --locked --quiet --package strongroom --features test-clock
            cp -f "target/${profile/dev/debug}/strongroom" "$folder/bin/strongroom-clock"
            "$folder/boto3/bin/python" "$here/access.py" "$folder/bin/strongroom-clock" "$work/data" \
                "$folder/awscli/bin/aws" "$folder/javascript" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
            rm -rf "$work"/data*
            ;;
        *)
            echo "no such client: $client" >&2
            exit 2
            ;;
    esac
done
