# shellcheck shell=bash
# What the emulated Pi is made of: Debian's arm64 kernel and libraries, and QEMU. Sourced by scripts/test-pi, after
# scripts/lib.sh. Nothing of it depends on this checkout, so it is kept in the user's cache, each folder named by a hash of
# what it was made from.

# shellcheck disable=SC2154  # scripts/lib.sh sets `root`
pi_scripts=$root/scripts/pi
pi_cache=${XDG_CACHE_HOME:-$HOME/.cache}/hookbell
without_pi="scripts/test-pi --user leaves the Pi out."

# hash_of WORD...: a short name for what these words and files' contents say.
hash_of() { printf '%s\n' "$@" | sha256sum | cut -c 1-12; }

# unpack FOLDER PACKAGE...: fetches packages with the apt of $APT_CONFIG and unpacks them there, installing nothing.
unpack() {
    local folder=$1 file
    shift
    mkdir -p "$folder/packages"
    (cd "$folder/packages" && apt-get -q -o APT::Sandbox::User=root download "$@") >"$folder/apt.log" 2>&1 || {
        cat "$folder/apt.log" >&2
        return 1
    }
    for file in "$folder"/packages/*.deb; do
        dpkg-deb --extract "$file" "$folder" || return 1
        rm "$file"
    done
}

need_keyring() {
    pi_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$pi_keyring" ] || apt_install debian-archive-keyring || fail "Debian's keys are not installed" \
        "Type: $(apt_remedy debian-archive-keyring)" "$without_pi"
}

# Bookworm is what Raspberry Pi OS is made from, so the C library is the oldest that we have to run with.
pi_sources() {
    printf 'deb [arch=arm64 signed-by=%s] http://deb.debian.org/debian bookworm main\n' "$pi_keyring"
    printf 'deb [arch=arm64 signed-by=%s] http://deb.debian.org/debian-security bookworm-security main\n' "$pi_keyring"
}

# Of a kernel's thousands of modules: the PWM; the watchdog, which also switches the power off; USB with an Ethernet
# adapter on it; the SD card, and its file system.
pi_modules=(pwm_bcm2835 bcm2835_wdt phy_generic dwc2 cdc_ether bcm2835 crc32c_generic ext4)
# rinetd forwards a port of the Pi's loopback to this machine: hookbell sends nothing in the clear to anywhere else.
guest_packages=(busybox-static libc6 libgcc-s1 rinetd)

# Sets `guest`: a folder with Debian's arm64 kernel, C library and busybox. They are fetched through an apt of our own:
# this machine's keeps its architectures and its lists. A folder that is there is whole.
fetch_guest() {
    guest=$pi_cache/pi-guest-$(hash_of "${guest_packages[@]}" "${pi_modules[@]}")
    [ -d "$guest" ] && return
    need_keyring
    local new=$guest.new apt=$guest.new/apt kernel status=0
    rm -rf "$new"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    pi_sources >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt";
CONF
    (
        export APT_CONFIG=$apt/apt.conf
        apt-get -qq update &&
            kernel=$(apt-cache show linux-image-arm64 | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1) &&
            say "fetching for the Pi: $kernel ${guest_packages[*]}" &&
            unpack "$new" "$kernel" "${guest_packages[@]}"
    ) || status=$?
    [ "$status" = 0 ] || fail "Debian's packages for the Pi could not be fetched" \
        "They come from http://deb.debian.org." "$without_pi"
    python3 -B "$pi_scripts/modules.py" "$new/lib/modules" "${pi_modules[@]}" >"$new/wanted" || fail \
        "Debian's kernel for the Pi is not the one that is expected" "$without_pi"
    find "$new/lib/modules" -type f | grep -vxFf "$new/wanted" | tr '\n' '\0' | xargs -0 rm -f
    rm -rf "$apt" "$new/packages" "$new/wanted"
    mv "$new" "$guest"
}

# in_guest WHAT PATTERN: the one file of that name beneath the guest's folder.
in_guest() {
    local found
    found=$(find "$guest" -path "$guest/$2" | sort | head -n 1)
    [ -n "$found" ] || fail "Debian's packages have no $1" "Delete $guest and try again." "$without_pi"
    printf '%s' "$found"
}

# Sets `qemu`: the command that starts it. Where apt could only install it by taking something else away, it runs from
# a folder of its own.
find_qemu() {
    local host wanted libraries
    qemu="qemu-system-aarch64"
    have "$qemu" && return
    host=$pi_cache/pi-qemu-$(hash_of "$(cat /etc/os-release)" "$(uname -m)")
    if [ ! -d "$host" ]; then
        apt_install qemu-system-arm 2>/dev/null && have "$qemu" && return
        wanted=$(apt-get -s install --no-install-recommends qemu-system-arm 2>/dev/null |
            sed -n 's/^Inst \([^ ]*\).*/\1/p' | tr '\n' ' ') || true
        say "fetching QEMU, to be unpacked beside instead of installed"
        rm -rf "$host.new"
        # shellcheck disable=SC2086  # a list of package names
        if [ -z "$wanted" ] || ! unpack "$host.new" $wanted; then
            fail "qemu-system-aarch64 is not installed" "Type: $(apt_remedy qemu-system-arm)" "$without_pi"
        fi
        rm -rf "$host.new/packages"
        mv "$host.new" "$host"
    fi
    libraries=$(find "$host/usr/lib" "$host/lib" -maxdepth 1 -type d -name '*-linux-gnu' 2>/dev/null | tr '\n' ':')
    qemu="env LD_LIBRARY_PATH=$(printf '%q' "$libraries") $(printf '%q' "$host/usr/bin/qemu-system-aarch64")"
    qemu="$qemu -L $(printf '%q' "$host/usr/share/qemu")"
}
