# What is done to the package, in order; each step ends at the first thing that is not as it should be.

run_steps() {
    local step start failed=()
    for step in lint_deb install_deb verify_unit start_node call_node manual; do
        say "${step//_/ }"
        start=$(date +%s%N)
        # A step runs in a subshell of its own, so that it ends at its first fault.
        if (set -e; "step_$step"); then
            printf 'ok: %s (%d ms)\n' "${step//_/ }" $((($(date +%s%N) - start) / 1000000))
        else
            failed+=("$step")
            printf 'FAILED: %s\n' "${step//_/ }"
            inside journalctl -u mpreg --no-pager -n 30 || true
        fi
    done
    [ "${#failed[@]}" = 0 ] || { say "FAILED: ${failed[*]}"; exit 1; }
    say "all steps passed"
}

fail() { printf 'not as it should be: %s\n' "$*" >&2; exit 1; }

# expect WHAT TEXT PATTERN
expect() {
    grep -qE -- "$3" <<< "$2" || fail "$1: expected /$3/ in: $2"
}

# Waits until a shell condition holds in the machine.
until_inside() {
    local tries
    for tries in $(seq 300); do
        inside_sh "$1" > /dev/null 2>&1 && return
        sleep 0.1
    done
    fail "it never came that: $1"
}

property() { inside systemctl show "$1" --value -p "$2"; }

# The same files under an older version, with a configuration file that differs.
make_older_packages() {
    say "older packages"
    local older=$machine/older tree=$machine/older-tree
    rm -rf "$older" "$tree"
    mkdir -p "$older"
    dpkg-deb -R "$packages"/mpreg_*.deb "$tree"
    sed -i 's/^Version: .*/Version: 0.0.9-1/' "$tree/DEBIAN/control"
    echo '# This comes from the older package.' >> "$tree/etc/mpreg/server.toml"
    (cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
    dpkg-deb --root-owner-group -b "$tree" "$older/mpreg_0.0.9-1_amd64.deb" > /dev/null
    rm -rf "$tree"
}

build_with_hooks() {
    mkdir -p "$machine/hooks"
}

step_lint_deb() {
    lintian --fail-on error,warning --tag-display-limit 0 "$packages"/mpreg_*.deb
}

step_install_deb() {
    inside sh -c 'dpkg -i /packages/mpreg_*.deb' 2>&1
    expect "user" "$(inside getent passwd mpreg)" '^mpreg:.*/var/lib/mpreg:.*nologin'
    expect "state directory" "$(inside stat -c '%U:%G %a' /var/lib/mpreg)" '^mpreg:mpreg 750$'
    expect "enabled" "$(inside systemctl is-enabled mpreg.service mpreg.socket || true)" '^disabled$'
    expect "active" "$(inside systemctl is-active mpreg.service mpreg.socket || true)" '^inactive$'
    inside mpreg config check /etc/mpreg/server.toml
    expect "debsums" "$(inside dpkg --verify mpreg; echo .)" '^\.$'
}

step_verify_unit() {
    local said score
    said=$(inside systemd-analyze verify mpreg.service mpreg.socket 2>&1 || true)
    [ -z "$said" ] || fail "systemd-analyze verify: $said"
    score=$(inside systemd-analyze security --no-pager mpreg.service | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    echo "exposure: $score"
    awk "BEGIN { exit !($score <= 1.3) }" || fail "exposure $score"
    inside_sh 'mkdir -p /etc/systemd/system/mpreg.service.d
        cp /usr/share/doc/mpreg/examples/systemd/port-53.conf /etc/systemd/system/mpreg.service.d/
        systemctl daemon-reload'
    score=$(inside systemd-analyze security --no-pager mpreg.service | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    inside_sh 'rm -r /etc/systemd/system/mpreg.service.d; systemctl daemon-reload'
    echo "exposure with port 53: $score"
    awk "BEGIN { exit !($score <= 1.6) }" || fail "exposure $score with port 53"
}

step_start_node() {
    inside systemctl start mpreg
    inside systemctl status --no-pager mpreg
    expect "status" "$(property mpreg StatusText)" '^serving as ws://127.0.0.1:7000'
    expect "journal" "$(inside journalctl -u mpreg -o cat --no-pager)" '^ready in '
    expect "levels" "$(inside journalctl -u mpreg -p info -o json --no-pager)" '"PRIORITY":"6"'
}

step_call_node() {
    expect "answer" "$(inside mpreg client call echo hello --url ws://127.0.0.1:7000)" 'hello'
}

step_manual() {
    if [ -z "$(inside dpkg -L mpreg | grep /man/ || true)" ]; then
        echo "!! THE PACKAGE HAS NO MANUAL PAGES YET: man mpreg is NOT tested"
        return
    fi
    inside man mpreg | head -n 5
}
