# shellcheck shell=bash
# shellcheck disable=SC2154  # set by who sources it: root, scratch, pi_cache, pi_keyring
# A Debian system for the emulated Pi's card: bookworm for arm64 with systemd and udev, and nothing of hookbell, so that
# one image serves every version of it. Sourced by scripts/test-pi, which has a folder $scratch for
# what passes, after scripts/pi/fetch.sh.
#
# It is close to a Raspberry Pi OS without a desktop. What it has that a Pi has not: a shell on the serial line that obeys
# the test, and something that plays the tunnel (scripts/pi/system/).

# dpkg and what is essential come by themselves. No apt, no dbus, no time daemon: nothing here may change the clock.
# The others are what the package asks for.
system_packages=(systemd systemd-sysv udev ca-certificates libgcc-s1)
# A card's size is a power of two.
system_bytes=$((512 * 1024 * 1024))

# Sets `system`: the image. It is made when it is not there, which takes minutes: each package's scripts run in qemu's
# user emulation.
make_system() {
    system=$pi_cache/pi-system-$(hash_of "${system_packages[@]}" "$(cat "$root/scripts/pi/image.sh" \
        "$root"/scripts/pi/system/*)").img
    [ -f "$system" ] && return
    local without="scripts/test-pi --fast leaves this system out." tree status=0 sources
    may_become_root || fail "only root can make the Pi's system image" \
        "Type once: sudo -E scripts/test-pi --system; it is kept in $pi_cache" "$without"
    apt_install mmdebstrap arch-test qemu-user-static e2fsprogs || fail "mmdebstrap is not installed" \
        "Type: $(apt_remedy mmdebstrap arch-test qemu-user-static e2fsprogs)" "$without"
    need_keyring
    say "making the Pi's system, once: Debian bookworm for arm64 with ${system_packages[*]}"
    mkdir -p "$pi_cache"
    register_binfmt
    tree=$scratch/system
    mkdir "$tree"
    sources=$tree/sources.list
    pi_sources >"$sources"
    as_root timeout --foreground --kill-after=60 1200 mmdebstrap --quiet --mode=root --arch=arm64 --variant=essential --include="${system_packages[*]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
        --essential-hook="sh $root/scripts/pi/system/hasten \"\$1\"" \
        --customize-hook="sh $root/scripts/pi/system/customize \"\$1\"" \
        bookworm "$tree/root" "$sources" >"$tree/log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        # Without the checks by count and by date, and without metadata that is only written at the first mount.
        rm -f "$system.new"
        truncate -s "$system_bytes" "$system.new"
        as_root mke2fs -q -F -t ext4 -L hookbell-pi -E lazy_itable_init=0,lazy_journal_init=0 \
            -d "$tree/root" "$system.new" >>"$tree/log" 2>&1 || status=$?
    fi
    if [ "$status" != 0 ]; then
        tail -n 40 "$tree/log" >&2
        as_root rm -f "$system.new"
        fail "the Pi's system could not be made" "What failed stands above." "$without"
    fi
    as_root chown "$(id -u)" "$system.new"
    mv "$system.new" "$system"
    discard_system
}

# Lets this kernel run arm64 programs through qemu, unless it does already or is one that runs them itself.
binfmt=/proc/sys/fs/binfmt_misc
binfmt_ours=
register_binfmt() {
    arch-test arm64 >/dev/null 2>&1 && return
    [ -e $binfmt/register ] || as_root mount -t binfmt_misc binfmt_misc $binfmt ||
        fail "this kernel has no binfmt_misc, so it cannot run arm64 programs" "$without"
    as_root sh -c "cat /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register" ||
        fail "this kernel does not take qemu as the runner of arm64 programs" "$without"
    binfmt_ours=yes
}

# What making the system may leave behind when it is interrupted.
discard_system() {
    unregister_binfmt
    [ ! -d "$scratch/system" ] || as_root rm -rf --one-file-system "$scratch/system"
}

unregister_binfmt() {
    [ -z "$binfmt_ours" ] || as_root sh -c "echo -1 >$binfmt/qemu-aarch64"
    binfmt_ours=
}
