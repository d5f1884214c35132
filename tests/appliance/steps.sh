# What is done to the package, in order; each step ends at the first thing that is not as it should be.

steps="lint_deb install_deb verify_unit start_node call_node control journal manual start_time reload_good reload_bad
    start_with_bad_configuration port_taken state_of_others disk_full kill watchdog restart_with_socket
    remove_and_purge upgrade install_rpm upgrade_rpm remove_rpm"

run_steps() {
    local step start failed=()
    for step in $steps; do
        say "${step//_/ }"
        start=$(date +%s%N)
        # A step runs in a subshell of its own, so that it ends at its first fault.
        if (set -e; "step_$step"); then
            printf 'ok: %s (%d ms)\n' "${step//_/ }" $((($(date +%s%N) - start) / 1000000))
        else
            failed+=("$step")
            printf 'FAILED: %s\n' "${step//_/ }"
            inside journalctl -u mpreg --no-pager -o short-monotonic -n 40 || true
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

# Numbers that are worth keeping.
measured() { printf 'measured: %s\n' "$*" | tee -a "$machine/measured"; }

main_pid() { property mpreg MainPID; }

# A configuration beside that of the package; nothing takes it away again.
configure() { inside_sh "cat > /etc/mpreg/server.d/50-test.toml << 'END'
$1
END"; }

unconfigure() { inside rm -f /etc/mpreg/server.d/50-test.toml; }

call_answers() { expect "answer" "$(inside mpreg client call echo hello --url ws://127.0.0.1:7000)" 'hello'; }

# The journal of the node since `fresh_journal`.
journal() { inside journalctl --sync; inside journalctl -u mpreg --no-pager --since "$journal_begin" "$@"; }

fresh_journal() { journal_begin=$(inside date '+%F %T.%6N'); }

step_lint_deb() {
    local accepted=error,warning
    if [ -z "$(has_manual)" ]; then
        accepted=error
        echo "!! THE PACKAGE HAS NO MANUAL PAGES YET: warnings of lintian are shown, but NOT counted"
    fi
    lintian --fail-on "$accepted" --tag-display-limit 0 "$packages"/mpreg_*.deb
    measured "$(cd "$packages" && stat -c '%n %s bytes' -- *.deb *.rpm | paste -sd' ')"
}

has_manual() { dpkg-deb -c "$packages"/mpreg_*.deb | grep /usr/share/man/ || true; }

step_install_deb() {
    inside sh -c 'dpkg -i /packages/mpreg_*.deb' 2>&1
    expect "user" "$(inside getent passwd mpreg)" '^mpreg:.*/var/lib/mpreg:.*nologin'
    expect "state directory" "$(inside stat -c '%U:%G %a' /var/lib/mpreg)" '^mpreg:mpreg 750$'
    expect "enabled" "$(inside systemctl is-enabled mpreg.service mpreg.socket || true)" '^disabled$'
    [ -z "$(inside systemctl is-active mpreg.service mpreg.socket | grep -v '^inactive$' || true)" ] || fail "it was started"
    inside mpreg config check /etc/mpreg/server.toml
    [ -z "$(inside dpkg --verify mpreg)" ] || fail "dpkg --verify: $(inside dpkg --verify mpreg)"
    expect "keys that are set" "$(inside grep -c '^[a-z]' /etc/mpreg/server.toml)" '^2$'
    measured "installed $(inside dpkg-query -W -f '${Installed-Size}' mpreg) KiB"
}

step_verify_unit() {
    local said
    said=$(inside systemd-analyze verify mpreg.service mpreg.socket 2>&1 || true)
    if [ -z "$(has_manual)" ]; then
        said=$(grep -v "Command 'man " <<< "$said" || true)
    fi
    [ -z "$said" ] || fail "systemd-analyze verify: $said"
    exposure "exposure" 1.3
    inside_sh 'mkdir -p /etc/systemd/system/mpreg.service.d
        cp /usr/share/doc/mpreg/examples/systemd/port-53.conf /etc/systemd/system/mpreg.service.d/
        systemctl daemon-reload'
    exposure "exposure with port 53" 1.6
    inside systemctl start mpreg
    expect "capabilities" "$(inside_sh "grep CapEff /proc/$(main_pid)/status")" '0000000000000400$'
    inside_sh 'systemctl stop mpreg; rm -r /etc/systemd/system/mpreg.service.d; systemctl daemon-reload'
}

exposure() {
    local score
    score=$(inside systemd-analyze security --no-pager mpreg.service \
        | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    measured "$1 $score"
    awk "BEGIN { exit !($score > 0 && $score <= $2) }" || fail "$1 $score is more than $2"
}

step_start_node() {
    inside systemctl enable --now mpreg 2>&1
    inside systemctl status --no-pager mpreg
    expect "status" "$(property mpreg StatusText)" '^serving as ws://127.0.0.1:7000'
    expect "user" "$(inside ps -o user= -p "$(main_pid)")" '^mpreg$'
    expect "listeners" "$(inside_sh 'cat /proc/net/tcp /proc/net/tcp6' | awk '$4 == "0A" { print $2 }' | sort | paste -sd' ')" \
        '^0100007F:1B58 0100007F:1BA8$'
}

step_call_node() {
    call_answers
    local page="exec 3<>/dev/tcp/127.0.0.1/7080; printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3; cat <&3"
    expect "readyz" "$(inside bash -c "$page")" '^HTTP/1.[01] 200 OK'
}

step_control() {
    inside mpreg ctl status
    expect "mpreg ctl as the user of the node" "$(inside runuser -u mpreg -- mpreg ctl status)" '127.0.0.1:7000'
    ! inside runuser -u nobody -- mpreg ctl status || fail "another user may control the node"
}

step_journal() {
    local said
    said=$(inside journalctl -u mpreg -o json --no-pager)
    expect "a line with its level" "$said" '"PRIORITY":"6".*ready in|ready in.*"PRIORITY":"6"'
    said=$(inside journalctl -u mpreg -o cat --no-pager)
    expect "the first line of the node" "$said" '^listening on 127.0.0.1:7000 \(ws\)$'
    ! grep -qE '^<[0-9]>|20[0-9][0-9]-[0-9][0-9]-' <<< "$said" || fail "prefixes or times in: $said"
}

step_manual() {
    if [ -z "$(has_manual)" ]; then
        echo "!! THE PACKAGE HAS NO MANUAL PAGES YET: man mpreg is NOT tested"
        return
    fi
    local page
    for page in "1 mpreg" "5 mpreg.toml" "7 mpreg-reasons" "7 mpreg-protocol"; do
        # shellcheck disable=SC2086
        inside man $page > "$machine/page"
        expect "man $page" "$(cat "$machine/page")" 'mpreg'
        echo "man $page: $(wc -l < "$machine/page") lines"
    done
}

# From the first thing that the service manager does to READY=1, the check of the configuration included.
step_start_time() {
    local times=() begin main end turn
    for turn in $(seq 11); do
        inside systemctl restart mpreg
        begin=$(property mpreg InactiveExitTimestampMonotonic)
        main=$(property mpreg ExecMainStartTimestampMonotonic)
        end=$(property mpreg ActiveEnterTimestampMonotonic)
        echo "check $(((main - begin) / 1000)) ms, node $(((end - main) / 1000)) ms"
        times+=($(((end - begin) / 1000)))
    done
    mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
    measured "start to ready, ms: median ${times[5]}, from ${times[0]} to ${times[10]}"
    [ "${times[5]}" -le 150 ] || fail "a start takes ${times[5]} ms"
    measured "resident after the start: $(inside ps -o rss= -p "$(main_pid)") KiB"
}

step_reload_good() {
    local pid
    pid=$(main_pid)
    fresh_journal
    configure '[log]
level = "debug"'
    inside systemctl reload mpreg
    until_inside "journalctl -u mpreg --no-pager -o cat | grep -q '^reloaded'"
    expect "journal" "$(journal -o cat)" '^reloaded'
    [ "$(main_pid)" = "$pid" ] || fail "another process"
    unconfigure
    inside systemctl reload mpreg
    expect "state" "$(property mpreg ActiveState)" '^active$'
}

step_reload_bad() {
    local pid
    pid=$(main_pid)
    fresh_journal
    configure '[listen]
port = "x"
[node]
nonsense = 1'
    ! inside systemctl reload mpreg 2>&1 || fail "the reload of a bad configuration succeeds"
    expect "state" "$(property mpreg ActiveState)" '^active$'
    [ "$(main_pid)" = "$pid" ] || fail "another process"
    until_inside "systemctl show mpreg -p StatusText | grep -q 'reload refused'"
    expect "status" "$(property mpreg StatusText)" 'listen.port.*node.nonsense.*serving as'
    expect "journal" "$(journal -p err -o cat)" 'nothing changed: .*listen.port.*node.nonsense'
    call_answers
    unconfigure
    inside systemctl reload mpreg
    expect "status" "$(property mpreg StatusText)" '^serving as'
}

# More faults than the lines that systemctl status shows of the log.
step_start_with_bad_configuration() {
    inside systemctl stop mpreg
    configure "[node]
$(printf 'nonsense%d = 1\n' $(seq 15))"
    fresh_journal
    ! inside systemctl start mpreg 2>&1 || fail "a bad configuration starts"
    expect "state" "$(property mpreg ActiveState)" '^failed$'
    expect "restarts" "$(property mpreg NRestarts)" '^0$'
    local said
    said=$(inside systemctl status --no-pager --full mpreg || true)
    for key in $(seq 15); do
        expect "systemctl status" "$said" "node.nonsense$key\\b"
    done
    expect "journal" "$(journal -p err -o cat)" 'nonsense15'
    unconfigure
    inside systemctl start mpreg
}

# What is wrong around the node is one line with the remedy, and the node comes when it is mended.
step_port_taken() {
    inside systemctl stop mpreg
    fresh_journal
    inside systemd-run --quiet --unit=taken mpreg server start --port 7000 --no-monitoring
    until_inside 'mpreg client call echo x --url ws://127.0.0.1:7000'
    ! inside systemctl start mpreg 2>&1 || fail "it starts"
    expect "journal" "$(journal -p err -o cat)" \
        '^listen.port: cannot listen on 127.0.0.1:7000: .*stop what listens there or choose another$'
    inside systemctl stop taken
    until_inside 'systemctl is-active mpreg'
    call_answers
}

step_state_of_others() {
    local line
    inside systemctl stop mpreg
    configure '[persistence]
mode = "fjall"'
    inside_sh 'mkdir -p /var/lib/mpreg/store; chown root:root /var/lib/mpreg/store; chmod 700 /var/lib/mpreg/store'
    fresh_journal
    ! inside systemctl start mpreg 2>&1 || fail "it starts"
    line=$(journal -p err -o cat | grep -v '^mpreg.service' | head -n 1)
    echo "$line"
    expect "journal" "$line" '^persistence.dir: /var/lib/mpreg.*Permission denied.*; let the user of the node own'
    inside rmdir /var/lib/mpreg/store
    until_inside 'systemctl is-active mpreg'
    configure '[persistence]
mode = "fjall"
dir = "/nowhere/mpreg"'
    fresh_journal
    ! inside systemctl restart mpreg 2>&1 || fail "it starts"
    line=$(journal -p err -o cat | grep -v '^mpreg.service' | head -n 1)
    echo "$line"
    expect "journal" "$line" '^persistence.dir: /nowhere/mpreg.*; .*choose another directory'
    unconfigure
    until_inside 'systemctl is-active mpreg'
}

step_disk_full() {
    local line
    inside systemctl stop mpreg
    inside_sh 'rm -rf /var/lib/mpreg/*; mount -t tmpfs -o size=64k,mode=750 full /var/lib/mpreg
        chown mpreg:mpreg /var/lib/mpreg; dd if=/dev/zero of=/var/lib/mpreg/ballast 2> /dev/null || true'
    configure '[persistence]
mode = "fjall"'
    fresh_journal
    ! inside systemctl start mpreg 2>&1 || fail "it starts"
    line=$(journal -p err -o cat | grep -v '^mpreg.service' | head -n 1)
    echo "$line"
    expect "journal" "$line" '^persistence.dir: /var/lib/mpreg.*No space left.*; make room'
    inside_sh 'umount /var/lib/mpreg'
    unconfigure
    until_inside 'systemctl is-active mpreg'
}

step_kill() {
    local pid
    pid=$(main_pid)
    inside kill -9 "$pid"
    until_inside "[ \$(systemctl show mpreg --value -p MainPID) != $pid ] && systemctl is-active mpreg"
    expect "restarts" "$(property mpreg NRestarts)" '^[1-9]'
    call_answers
}

# A program that can be made to hang; that of the package cannot.
step_watchdog() {
    local pid start
    ! inside grep -q 'test-hooks: the core gets stuck' /usr/bin/mpreg || fail "the package has test hooks"
    if ! inside /hooks/mpreg --version; then
        echo "!! A PROGRAM OF THIS MACHINE DOES NOT RUN IN THE ROOT: the watchdog is NOT tested"
        return
    fi
    inside_sh 'mkdir -p /run/systemd/system/mpreg.service.d
        printf "[Service]\nExecStart=\nExecStart=/hooks/mpreg server start-config /etc/mpreg/server.toml\n" \
            > /run/systemd/system/mpreg.service.d/hooks.conf
        systemctl daemon-reload; systemctl restart mpreg'
    call_answers
    pid=$(main_pid)
    start=$(date +%s%N)
    inside kill -USR1 "$pid"
    until_inside "[ \$(systemctl show mpreg --value -p MainPID) != $pid ] && systemctl is-active mpreg"
    measured "a core that is stuck: restarted after $((($(date +%s%N) - start) / 1000000)) ms"
    [ $((($(date +%s%N) - start) / 1000000000)) -lt 30 ] || fail "that takes too long"
    expect "journal" "$(inside journalctl -u mpreg --no-pager -o cat -n 30)" 'Watchdog timeout'
    call_answers
    inside_sh 'rm -r /run/systemd/system/mpreg.service.d; systemctl daemon-reload; systemctl restart mpreg'
}

step_restart_with_socket() {
    local turn
    inside_sh 'systemctl stop mpreg; systemctl start mpreg.socket'
    expect "state" "$(property mpreg ActiveState)" '^inactive$'
    call_answers
    beside python3 tests/appliance/load.py 7000 8 8 > "$machine/load" &
    for turn in $(seq 6); do
        sleep 1
        inside systemctl restart mpreg
    done
    wait $! || fail "connections were refused: $(cat "$machine/load")"
    measured "six restarts with the socket, under load: $(cat "$machine/load")"
    inside_sh 'systemctl stop mpreg.socket mpreg; systemctl start mpreg'
    # That this test can see a refusal is seen without the socket.
    beside python3 tests/appliance/load.py 7000 3 8 > "$machine/load" &
    sleep 1
    inside systemctl restart mpreg
    ! wait $! || echo "!! no connection was refused without the socket either: the test above proves little here"
    echo "without the socket: $(cat "$machine/load")"
}

step_remove_and_purge() {
    inside touch /var/lib/mpreg/kept
    inside dpkg -r mpreg 2>&1
    expect "state" "$(property mpreg ActiveState)" '^inactive$'
    inside test -e /var/lib/mpreg/kept
    inside test -e /etc/mpreg/server.toml
    inside getent passwd mpreg
    ! inside test -e /usr/bin/mpreg || fail "the program is still there"
    inside dpkg -P mpreg 2>&1
    ! inside ls -d /var/lib/mpreg /etc/mpreg /usr/share/doc/mpreg /etc/systemd/system/multi-user.target.wants/mpreg.service \
        2> /dev/null || fail "something is left"
    ! inside getent passwd mpreg || fail "the user is left"
}

step_upgrade() {
    local pid
    inside sh -c 'dpkg -i /older/mpreg_*.deb' 2>&1
    inside grep -q 'This comes from the older package' /etc/mpreg/server.toml
    configure '[node]
name = "mine"'
    inside systemctl enable --now mpreg 2>&1
    inside mpreg client namespace-policy apply --enabled --default-allow --rules-file /appliance/rules.json \
        --url ws://127.0.0.1:7000
    pid=$(main_pid)
    fresh_journal
    inside sh -c 'dpkg -i /packages/mpreg_*.deb' 2>&1
    until_inside 'systemctl is-active mpreg'
    [ "$(main_pid)" != "$pid" ] || fail "the old program still runs"
    expect "an orderly end" "$(journal -o cat)" '^stopped$'
    ! inside grep -q 'This comes from the older package' /etc/mpreg/server.toml || fail "the file of the old package is left"
    expect "own configuration" "$(inside mpreg config show /etc/mpreg/server.toml)" 'name = "mine"'
    expect "policy" "$(inside mpreg client namespace-policy export --url ws://127.0.0.1:7000)" 'svc.appliance'
    expect "enabled" "$(inside systemctl is-enabled mpreg.service)" '^enabled$'
    # A file that was changed is not touched.
    inside_sh 'echo "# mine" >> /etc/mpreg/server.toml; dpkg --force-confold -i /older/mpreg_*.deb'
    inside sh -c 'dpkg --force-confold -i /packages/mpreg_*.deb' 2>&1
    inside grep -q '^# mine$' /etc/mpreg/server.toml
    unconfigure
    inside_sh 'dpkg -P mpreg'
    inside_sh 'rm -f /etc/mpreg/server.toml*; rmdir --ignore-fail-on-non-empty /etc/mpreg/server.d /etc/mpreg || true'
}

rpm_inside() { inside sh -c "rpm --force-debian --nodeps $*" 2>&1; }

step_install_rpm() {
    rpm -K --nosignature "$packages"/mpreg-*.rpm 2> /dev/null || inside sh -c 'rpm -K --nosignature /packages/mpreg-*.rpm'
    rpm_inside '-i /older/mpreg-*.rpm'
    expect "user" "$(inside getent passwd mpreg)" '^mpreg:'
    expect "state directory" "$(inside stat -c '%U:%G %a' /var/lib/mpreg)" '^mpreg:mpreg 750$'
    [ "$(property mpreg ActiveState)" = inactive ] || fail "it was started"
    expect "files" "$(inside rpm -V --nodeps mpreg 2>&1; echo done)" '^done$'
    inside systemctl start mpreg
    call_answers
}

step_upgrade_rpm() {
    local pid
    inside_sh 'echo "# mine" >> /etc/mpreg/server.toml; touch /var/lib/mpreg/kept'
    pid=$(main_pid)
    rpm_inside '-U /packages/mpreg-*.rpm'
    until_inside 'systemctl is-active mpreg'
    [ "$(main_pid)" != "$pid" ] || fail "the old program still runs"
    inside grep -q '^# mine$' /etc/mpreg/server.toml
    inside test -e /var/lib/mpreg/kept
    call_answers
}

step_remove_rpm() {
    rpm_inside '-e mpreg'
    ! inside test -e /usr/bin/mpreg || fail "the program is still there"
    ! inside systemctl is-active mpreg || fail "it still runs"
    inside test -e /var/lib/mpreg/kept
    inside test -e /etc/mpreg/server.toml.rpmsave
    echo "!! Debian's rpm has no dnf and no presets: dependencies and their resolution are NOT tested"
}

# The same files under an older version, with a configuration file that differs.
make_older_packages() {
    say "older packages"
    local older=$machine/older tree=$machine/older-tree
    rm -rf "${older:?}"/* "$tree"
    dpkg-deb -R "$packages"/mpreg_*.deb "$tree"
    sed -i 's/^Version: .*/Version: 0.0.9-1/' "$tree/DEBIAN/control"
    echo '# This comes from the older package.' >> "$tree/etc/mpreg/server.toml"
    rm -f "$tree/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -b "$tree" "$older/mpreg_0.0.9-1_amd64.deb" > /dev/null
    rm -rf "$tree"
    target/tools/bin/cargo-generate-rpm --auto-req disabled -s 'version = "0.0.9"' --output "$older/"
}

build_with_hooks() {
    say "a program that can be made to hang"
    cargo build --locked --features test-hooks
    install -m 755 target/debug/mpreg "$machine/hooks/mpreg"
}
