# A Debian root that is booted and thrown away: what is changed in it lives in memory until it is halted.

machine=$PWD/target/appliance
machine_packages=systemd,systemd-sysv,dbus,man-db,rpm,procps

say() { printf '\n== %s\n' "$*"; }

cannot() {
    printf '\n!!\n!! THE APPLIANCE IS NOT TESTED HERE: %s\n!!\n' "$*"
    [ "${MPREG_APPLIANCE:-}" != required ] || exit 1
    exit 0
}

machine_tools() {
    [ "$(id -u)" = 0 ] || cannot "only root can boot a machine"
    local missing=()
    command -v debootstrap > /dev/null || missing+=(debootstrap)
    command -v systemd-nspawn > /dev/null || missing+=(systemd-container)
    command -v lintian > /dev/null || missing+=(lintian)
    # Not every system has it.
    command -v rpmlint > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -qy rpmlint > /dev/null 2>&1 || true
    [ "${#missing[@]}" = 0 ] && return
    command -v apt-get > /dev/null || cannot "${missing[*]} not there, and no apt-get to install it"
    say "install ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; } \
        > /dev/null 2>&1 || cannot "apt-get cannot install ${missing[*]}"
}

machine_root() {
    local root=$machine/root mirror
    [ ! -e "$root.complete" ] || [ "$(cat "$root.complete")" != "$machine_packages" ] || return 0
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2> /dev/null | grep -m1 '/debian$' || true)
    say "a Debian root in $root"
    rm -rf "$root" "$root.complete"
    mkdir -p "$machine"
    debootstrap --variant=minbase --include="$machine_packages" bookworm "$root" \
        "${mirror:-http://deb.debian.org/debian}" > "$machine/debootstrap.log" 2>&1 \
        || cannot "debootstrap fails: $(tail -n 1 "$machine/debootstrap.log")"
    # Small roots leave manual pages out.
    rm -f "$root"/etc/dpkg/dpkg.cfg.d/*docker* "$root"/var/cache/apt/archives/*.deb
    echo "$machine_packages" > "$root.complete"
}

machine_boot() {
    say "boot"
    local start=$SECONDS
    mkdir -p "$machine/older" "$machine/hooks"
    systemd-nspawn --quiet --directory="$machine/root" --boot --register=no --keep-unit --private-network \
        --volatile=overlay --console=pipe --bind-ro="$packages:/packages" --bind-ro="$machine/older:/older" \
        --bind-ro="$machine/hooks:/hooks" --bind-ro="$PWD/tests/appliance:/appliance" \
        > "$machine/console.log" 2>&1 &
    machine_nspawn=$!
    machine_init=
    until [ -n "$machine_init" ] && inside systemctl is-system-running --wait > /dev/null 2>&1; do
        kill -0 "$machine_nspawn" 2> /dev/null || cannot "systemd-nspawn ends: $(tail -n 3 "$machine/console.log")"
        [ $((SECONDS - start)) -lt 60 ] || { machine_halt; cannot "no system after 60 s: $(tail -n 3 "$machine/console.log")"; }
        machine_init=$(pgrep -P "$machine_nspawn" | head -n 1 || true)
        sleep 0.2
    done
    echo "booted: $(inside systemctl --version | head -n 1)"
}

machine_halt() {
    [ -n "${machine_nspawn:-}" ] || return 0
    kill "$machine_nspawn" 2> /dev/null || true
    wait "$machine_nspawn" 2> /dev/null || true
    machine_nspawn=
}

# Runs a command in the machine.
inside() {
    nsenter -t "$machine_init" -a -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root TERM=dumb \
        timeout 120 "$@"
}

# The same for the text of a shell script.
inside_sh() {
    inside sh -euc "$1"
}

# Runs a program of this machine in the network of the other.
beside() {
    nsenter -t "$machine_init" -n -- "$@"
}
