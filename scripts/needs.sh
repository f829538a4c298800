# Sourced by the other scripts. `needs COMMAND=PACKAGE[,PACKAGE]...` goes on if all commands are there, or files where it is a
# path; where some are missing it installs their Debian packages if it may, and else names them in one line and ends.

has() {
    case $1 in
        # The module that makes virtual environments is a package of its own on Debian, without a command.
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

needs() {
    local pair missing=() packages=()
    for pair in "$@"; do
        if ! has "${pair%%=*}"; then
            missing+=("${pair%%=*}")
            # Left unquoted so that each is a word.
            packages+=($(tr , ' ' <<<"${pair##*=}"))
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]} (on Debian: apt-get install ${packages[*]})" >&2
        exit 1
    fi
    echo "installing ${packages[*]}" >&2
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"; } \
        >/dev/null; then
        echo "missing: ${missing[*]} (apt-get could not install ${packages[*]})" >&2
        exit 1
    fi
}

needs_rust() {
    if ! command -v cargo >/dev/null; then
        echo "missing: cargo (Rust: https://rustup.rs)" >&2
        exit 1
    fi
}
