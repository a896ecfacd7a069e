# shellcheck shell=bash
# What the scripts share: where the repository is, how they speak, and how they get the tools they need.
# Sourced, never run. Plain enough for the bash 3.2 of macOS.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# rustup puts cargo here; a shell that was open during its installation does not know yet.
if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
fi

have() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$*"; }

# Prints a command as one could type it, then runs it.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# fail WHAT [WHAT TO DO...]: the first line says what is wrong, the others what to do.
fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    shift
    local line
    for line in "$@"; do
        printf '    %s\n' "$line" >&2
    done
    exit 1
}

# Prints the comment at the top of the script: everything from line 2 to the first line that is no comment.
usage() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p;}' "$1"; }

# ---- packages ----------------------------------------------------------------------------------------------------

is_debian_like() { have apt-get && have dpkg-query; }

# Runs a command as root, without ever asking for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_become_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

# apt_missing PACKAGE...: those that are not installed, one a line.
apt_missing() {
    local package
    for package in "$@"; do
        # One word for each architecture. `not-installed` is a word of dpkg's, too.
        # shellcheck disable=SC2016  # the braces are dpkg-query's
        case " $(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null)" in
        *' installed '*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done
}

# The lists are fetched once, also when one script calls another.
apt_update() {
    [ "${HOOKBELL_APT_UPDATED:-}" = "$(dpkg --print-foreign-architectures | tr '\n' ' ')." ] && return
    apt_patiently update -qq || say "apt-get update reported errors; going on with the lists as they are."
    HOOKBELL_APT_UPDATED="$(dpkg --print-foreign-architectures | tr '\n' ' ')."
    export HOOKBELL_APT_UPDATED
}

# Another apt may be at work (unattended upgrades on a laptop): wait for it, but not for ever.
apt_patiently() {
    local tries=0 log status
    log=$(mktemp)
    while :; do
        status=0
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 </dev/null || status=$?
        if [ "$status" != 0 ] && [ "$tries" -lt 30 ] && grep -q 'Could not get lock' "$log"; then
            [ "$tries" = 0 ] && say "waiting for another apt-get to finish"
            tries=$((tries + 1))
            sleep 4
            continue
        fi
        [ "$status" = 0 ] || cat "$log" >&2
        rm -f "$log"
        return "$status"
    done
}

# apt_install PACKAGE...: installs what is missing. False when it cannot; then `apt_remedy` says what to type.
apt_install() {
    is_debian_like || return 1
    local missing
    missing=$(apt_missing "$@" | tr '\n' ' ')
    [ -z "$missing" ] && return 0
    may_become_root || return 1
    say "installing with apt-get: $missing"
    apt_update
    # --no-remove: never take away something that its owner chose, such as Debian's own rustc.
    # shellcheck disable=SC2086  # a list of package names
    apt_patiently install -y -qq --no-install-recommends --no-remove $missing
}

# apt_remedy PACKAGE...: the command for a person who has to do it.
apt_remedy() { printf 'sudo apt-get update && sudo apt-get install --no-install-recommends %s' "$*"; }

# True when this machine takes packages of that architecture.
has_architecture() {
    [ "$(dpkg --print-architecture)" = "$1" ] || dpkg --print-foreign-architectures | grep -qx "$1"
}

# add_architecture ARCH: lets apt install packages of another architecture, and says so, because it stays.
add_architecture() {
    has_architecture "$1" && return 0
    may_become_root || return 1
    say "telling dpkg that this machine also takes packages for $1 (undo: dpkg --remove-architecture $1)"
    as_root dpkg --add-architecture "$1"
}

# ---- Rust --------------------------------------------------------------------------------------------------------

manifest_value() { sed -n "s/^$1 *= *\"\(.*\)\"/\1/p" "$root/Cargo.toml" | head -n 1; }

# at_least VERSION MINIMUM: compares the first two numbers.
at_least() {
    local have_major have_minor want_major want_minor
    IFS=. read -r have_major have_minor _ <<<"$1"
    IFS=. read -r want_major want_minor _ <<<"$2"
    [ "$have_major" -gt "$want_major" ] || { [ "$have_major" = "$want_major" ] && [ "${have_minor:-0}" -ge "${want_minor:-0}" ]; }
}

rustc_version() { "$1" --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p'; }

need_rust() {
    if ! have cargo || ! have rustc; then
        fail "Rust is not installed" "Install it from https://rustup.rs, then run this again."
    fi
    local wanted found
    wanted=$(manifest_value rust-version)
    found=$(cd "$root" && rustc_version rustc)
    at_least "${found:-0.0}" "$wanted" && return
    if have rustup; then
        fail "Rust $wanted or newer is needed; this is ${found:-unknown}" "Type: rustup update stable"
    fi
    fail "Rust $wanted or newer is needed; this is ${found:-unknown}" \
        "Install a current one from https://rustup.rs, then run this again."
}

# need_component NAME SUBCOMMAND: rustfmt and clippy are parts that a minimal installation leaves out.
need_component() {
    cargo "$2" --version >/dev/null 2>&1 && return
    if have rustup; then
        say "installing the Rust component $1"
        rustup component add "$1" && return
    fi
    fail "cargo $2 is not installed" "Type: rustup component add $1"
}

# What is the same for every checkout, by a hash of what it was made from, so that a clean clone finds it.
shared_cache=${XDG_CACHE_HOME:-$HOME/.cache}/hookbell

# hash_of TEXT...: sixteen digits.
hash_of() {
    if have sha256sum; then
        printf '%s\n' "$@" | sha256sum | cut -c 1-16
    else
        printf '%s\n' "$@" | shasum -a 256 | cut -c 1-16
    fi
}

# cargo_tool NAME VERSION: compiles this very version of a tool from crates.io, once for all checkouts. Its programs are
# then in $cargo_tools.
cargo_tool() {
    cargo_tools=$shared_cache/tools-$(hash_of "$1" "$2" "$(uname -s -m)")/bin
    [ -x "$cargo_tools/$1" ] && return
    say "compiling $1 $2, once (some minutes)"
    # Neither the environment of a build of ours nor .cargo/config.toml is meant for the tool.
    (cd / && env -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET -u RUSTFLAGS -u RUSTC \
        cargo install --quiet --locked --root "${cargo_tools%/bin}" --version "=$2" "$1" </dev/null)
}

# SQLite, zstd and the TLS library are compiled from C.
need_c_compiler() {
    have "${CC:-cc}" && return
    if [ "$(uname -s)" = Darwin ]; then
        fail "there is no C compiler (SQLite, zstd and ring are compiled from C)" "Type: xcode-select --install"
    fi
    apt_install gcc libc6-dev && have cc && return
    if is_debian_like; then
        fail "there is no C compiler (SQLite, zstd and ring are compiled from C)" "Type: $(apt_remedy gcc libc6-dev)"
    fi
    fail "there is no C compiler (SQLite, zstd and ring are compiled from C)" \
        "Install gcc or clang with your system's package manager, then run this again."
}

# ---- boards ------------------------------------------------------------------------------------------------------

# use_board BOARD: sets `triple`, Rust's name for such a machine, and `architecture`, Debian's.
use_board() {
    case "$1" in
    pi) triple=aarch64-unknown-linux-gnu architecture=arm64 ;;
    armv7) triple=armv7-unknown-linux-gnueabihf architecture=armhf ;;
    # Raspberry Pi OS for 32 bits calls itself armhf, as Debian does, and is built for the first Pi's processor all the same.
    armv6) triple=arm-unknown-linux-gnueabihf architecture=armhf ;;
    *)
        fail "unknown board $1" "pi       a 64-bit Raspberry Pi OS (Pi 3, 4, 5, Zero 2)" \
            "armv7    a 32-bit Raspberry Pi OS on a Pi 2 or newer" "armv6    Pi 1, Zero, Zero W"
        ;;
    esac
    # For the scripts that source this.
    export triple architecture
}

# The commit that is checked out, or nothing where there is no git.
git_revision() { [ ! -e "$root/.git" ] || git -C "$root" rev-parse --verify --quiet HEAD 2>/dev/null || true; }

# The time of that commit, or nothing where something was changed since: what is made from a commit bears this time, so
# that it is the same whenever and wherever it is made.
commit_time() {
    [ -n "$(git_revision)" ] && [ -z "$(git -C "$root" status --porcelain --untracked-files=no)" ] || return 0
    git -C "$root" log -1 --format=%ct
}

# ---- Python and Node ---------------------------------------------------------------------------------------------

# What the official SDKs of the providers run in.
sdk_packages=(python3 python3-venv nodejs npm)

has_python() { have python3 && python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

# True when there are Python 3.10 with venv, and npm, or could be installed. What is there is left alone.
need_sdk_tools() {
    local wanted=()
    has_python || wanted+=("${sdk_packages[@]:0:2}")
    have npm || wanted+=("${sdk_packages[@]:2}")
    [ "${#wanted[@]}" = 0 ] && return
    apt_install "${wanted[@]}" && has_python && have npm
}

# ---- without a network -------------------------------------------------------------------------------------------

# Sets `cut_off`, the command that runs another one without any network, loopback included. False where there is none.
find_cut_off() {
    have unshare || return 1
    cut_off=(unshare --net)
    "${cut_off[@]}" true 2>/dev/null && return
    # As somebody who is root only inside.
    cut_off=(unshare --user --map-root-user --net)
    "${cut_off[@]}" true 2>/dev/null
}
