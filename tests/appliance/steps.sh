# What is done to the package, in order; each step ends at the first thing that is not as it should be.

steps="lint_deb lint_rpm install_deb verify_unit start_node call_node journal manual start_time control control_refused
    reload_good reload_bad reload_undone drain start_with_bad_configuration port_taken state_missing state_of_others
    disk_full disk_full_while_running certificate_expired clock_far_off kill watchdog restart_with_socket
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

# Every start since `fresh_journal` that went wrong has told one fault, and that is it.
one_fault() {
    inside systemctl stop mpreg
    local said
    said=$(journal -p err -o json | python3 -c '
import collections, json, sys
told = collections.defaultdict(list)
for line in sys.stdin:
    entry = json.loads(line)
    # Of a process that has just ended the journal may not know the invocation, but always the number.
    if entry.get("_SYSTEMD_UNIT") == "mpreg.service":
        told[entry["_PID"]].append(entry["MESSAGE"])
print(*({" // ".join(lines) for lines in told.values()} or ["nothing was told"]), sep="\n")')
    echo "told: $said"
    [ "$(wc -l <<< "$said")" = 1 ] && ! grep -q ' // ' <<< "$said" || fail "more than one line"
    expect "journal" "$said" "$1"
}

# How often the node has said this since `fresh_journal`.
told_times() { journal -o cat | grep -cE -- "$1" || true; }

# exits STATUS COMMAND...: in the machine; what it writes is in $said.
exits() {
    local status=0
    said=$(inside "${@:2}" 2>&1) || status=$?
    [ "$status" = "$1" ] || fail "status $status instead of $1 of: ${*:2}: $said"
}

step_lint_deb() {
    local accepted=error,warning
    if [ -z "$(has_manual)" ]; then
        accepted=error
        echo "!! THE PACKAGE HAS NO MANUAL PAGES YET: warnings of lintian are shown, but NOT counted"
    fi
    lintian --fail-on "$accepted" --tag-display-limit 0 "$packages"/mpreg_*.deb
    measured "$(cd "$packages" && stat -c '%n %s bytes' -- *.deb *.rpm | paste -sd' ')"
}

step_lint_rpm() {
    command -v rpmlint > /dev/null || { echo "!! NO rpmlint HERE: the .rpm is NOT checked"; return; }
    rpmlint -c tests/appliance/rpmlint.toml "$packages"/mpreg-*.rpm
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

# Every verb that only looks, for people and as JSON; then a function that comes with a reload.
step_control() {
    local verb said
    for verb in status peers links routes catalog functions log; do
        said=$(inside mpreg ctl "$verb")
        [ -n "$said" ] || fail "mpreg ctl $verb says nothing"
        inside mpreg ctl "$verb" --json | python3 -c 'import json, sys; assert isinstance(json.load(sys.stdin), dict)' \
            || fail "mpreg ctl $verb --json is no JSON"
    done
    said=$(inside mpreg ctl status)
    echo "$said"
    expect "status" "$said" '^  health +ready$'
    expect "status" "$said" '127.0.0.1:7000'
    expect "status" "$said" 'started, version '
    expect "catalog" "$(inside mpreg ctl catalog echo --type function)" 'echo .*127.0.0.1:7000|127.0.0.1:7000.*echo'
    configure "$slow_function"
    expect "reload" "$(inside mpreg ctl reload)" '^live +function: '
    until_inside 'mpreg ctl functions | grep -q t.slow'
    expect "a call" "$(inside mpreg client call t.slow 0 --url ws://127.0.0.1:7000)" '^"?done'
    inside mpreg ctl log node=debug --for 10m
    expect "log" "$(inside mpreg ctl log)" 'node=debug for (9|10) min'
    inside mpreg ctl log node=default
    unconfigure
    inside mpreg ctl reload
    expect "functions" "$(inside mpreg ctl functions)" '0 functions'
}

# Who may not, what is not, and nobody there: each with its exit status.
step_control_refused() {
    local said
    expect "mpreg ctl as the user of the node" "$(inside runuser -u mpreg -- mpreg ctl status)" '127.0.0.1:7000'
    exits 77 runuser -u nobody -- mpreg ctl status
    expect "refusal" "$said" 'only root and the user of the node'
    exits 77 runuser -u nobody -- mpreg ctl reload
    exits 2 mpreg ctl catalog --type nothing
    exits 2 mpreg ctl log nowhere=debug
    expect "scopes" "$said" 'node::control'
    exits 1 mpreg ctl confirm
    exits 69 mpreg ctl status --socket /run/mpreg/nobody.sock
    inside systemctl stop mpreg
    exits 69 mpreg ctl status
    inside systemctl start mpreg
}

# A worker in plain shell: each call takes as many seconds as its first argument says.
slow_function='[[function]]
name = "t.slow"
in_flight_max = 1
command = ["/bin/sh", "-c", """
while IFS= read -r line; do
    case $line in *\\"id\\":*) ;; *) continue ;; esac
    id=${line##*\\"id\\":}; id=${id%\\}}
    seconds=${line#*\\"args\\":[}; seconds=${seconds%%]*}
    sleep "$seconds"
    echo "{\\"jsonrpc\\":\\"2.0\\",\\"id\\":$id,\\"result\\":\\"done $seconds\\"}"
done"""]'

# A call that takes four seconds, begun now; what becomes of it is in $machine/slow.
begin_slow_call() {
    inside mpreg client call t.slow 4 --timeout 60 --url ws://127.0.0.1:7000 > "$machine/slow" 2>&1 &
    slow_call=$!
    until_inside 'mpreg ctl functions --json | grep -q "\"in_flight\": *1"'
}

slow_call_answered() {
    wait "$slow_call" || fail "the call that was under way fails: $(cat "$machine/slow")"
    expect "the call that was under way" "$(cat "$machine/slow")" 'done 4'
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
    expect "systemctl status" "$(inside systemctl status --no-pager --full mpreg)" 'Status: "reload refused.*listen.port'
    expect "journal" "$(journal -p err -o cat)" 'nothing changed: .*listen.port.*node.nonsense'
    local said
    exits 78 mpreg ctl reload
    expect "mpreg ctl reload" "$said" 'node.nonsense'
    expect "mpreg ctl status" "$(inside mpreg ctl status)" '^! reload .*refused'
    call_answers
    unconfigure
    inside systemctl reload mpreg
    expect "status" "$(property mpreg StatusText)" '^serving as'
}

# What nobody confirms goes back by itself, what is confirmed stays.
step_reload_undone() {
    local shows='mpreg ctl log | grep -q "^level *debug"'
    configure '[log]
level = "debug"'
    inside mpreg ctl reload --confirm 2s
    inside sh -c "$shows" || fail "it is not in force"
    expect "mpreg ctl status" "$(inside mpreg ctl status)" '^! confirm '
    until_inside "! { $shows; }"
    expect "systemctl status" "$(property mpreg StatusText)" 'was undone because nobody confirmed'
    inside mpreg ctl reload --confirm 5m
    inside mpreg ctl confirm
    expect "mpreg ctl status" "$(inside mpreg ctl status)" 'the reload was confirmed'
    inside sh -c "$shows" || fail "it is not in force any more"
    unconfigure
    inside mpreg ctl reload
}

step_drain() {
    local said page="exec 3<>/dev/tcp/127.0.0.1/7080; printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3; cat <&3"
    inside mpreg ctl drain
    expect "mpreg ctl status" "$(inside mpreg ctl status)" '^! health +not ready|^! health +draining'
    expect "readyz" "$(inside bash -c "$page")" '^HTTP/1.[01] 503'
    exits 75 mpreg client call echo hello --url ws://127.0.0.1:7000
    expect "the refusal" "$said" 'takes no more connections at the moment'
    inside mpreg ctl resume
    expect "readyz" "$(inside bash -c "$page")" '^HTTP/1.[01] 200'
    call_answers
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
    one_fault '^listen.port: cannot listen on 127.0.0.1:7000: .*stop what listens there or choose another$'
    # It is tried again and again, and comes as soon as the port is free.
    inside_sh 'systemctl start mpreg || true; systemctl stop taken'
    until_inside 'systemctl is-active mpreg'
    call_answers
}

# The unit makes its directory and takes it over; nothing is to be mended by hand.
step_state_missing() {
    configure '[persistence]
mode = "fjall"'
    inside_sh 'systemctl stop mpreg; rm -rf /var/lib/mpreg; systemctl start mpreg'
    expect "state directory" "$(inside stat -c '%U:%G %a' /var/lib/mpreg)" '^mpreg:mpreg 750$'
    inside_sh 'systemctl stop mpreg; chown -R root:root /var/lib/mpreg; systemctl start mpreg'
    expect "state directory" "$(inside stat -c '%U:%G %a' /var/lib/mpreg)" '^mpreg:mpreg 750$'
    call_answers
    unconfigure
    inside_sh 'systemctl stop mpreg; rm -r /var/lib/mpreg/store; systemctl start mpreg'
}

step_state_of_others() {
    inside systemctl stop mpreg
    configure '[persistence]
mode = "fjall"'
    inside_sh 'mkdir -p /var/lib/mpreg/store; chown root:root /var/lib/mpreg/store; chmod 700 /var/lib/mpreg/store'
    fresh_journal
    ! inside systemctl start mpreg 2>&1 || fail "it starts"
    one_fault '^persistence.dir: /var/lib/mpreg.*Permission denied.*; let the user of the node own'
    inside_sh 'systemctl start mpreg || true; rmdir /var/lib/mpreg/store'
    until_inside 'systemctl is-active mpreg'
    configure '[persistence]
mode = "fjall"
dir = "/nowhere/mpreg"'
    fresh_journal
    ! inside systemctl restart mpreg 2>&1 || fail "it starts"
    one_fault '^persistence.dir: /nowhere/mpreg.*; .*choose another directory'
    unconfigure
    inside systemctl start mpreg
}

step_disk_full() {
    inside systemctl stop mpreg
    inside_sh 'rm -rf /var/lib/mpreg/*; mount -t tmpfs -o size=64k,mode=750 full /var/lib/mpreg
        chown mpreg:mpreg /var/lib/mpreg; dd if=/dev/zero of=/var/lib/mpreg/ballast 2> /dev/null || true'
    configure '[persistence]
mode = "fjall"'
    fresh_journal
    ! inside systemctl start mpreg 2>&1 || fail "it starts"
    one_fault '^persistence.dir: /var/lib/mpreg.*No space left.*; make room'
    inside_sh 'umount /var/lib/mpreg'
    unconfigure
    inside systemctl start mpreg
}

# The node goes on without its store, says so once, and writes again when there is room.
step_disk_full_while_running() {
    local pid
    inside_sh 'systemctl stop mpreg; mount -t tmpfs -o size=48m,mode=750 full /var/lib/mpreg
        chown mpreg:mpreg /var/lib/mpreg'
    configure '[persistence]
mode = "fjall"
snapshot_interval = "100ms"
[fabric]
gossip_interval = "200ms"
catalog_ttl = "2s"'
    inside systemctl start mpreg
    pid=$(main_pid)
    fresh_journal
    inside_sh 'dd if=/dev/zero of=/var/lib/mpreg/ballast 2> /dev/null || true'
    until_inside 'mpreg ctl status | grep -q "^! health .*store cannot be written"'
    call_answers
    inside rm /var/lib/mpreg/ballast
    until_inside 'mpreg ctl status | grep -q "^  health *ready"'
    [ "$(main_pid)" = "$pid" ] || fail "another process"
    expect "journal" "$(journal -p warning -o cat)" '^persistence.dir: the store cannot be written: .*No space left.*; make room'
    [ "$(journal -p err -o cat | wc -l)" = 1 ] || fail "more than one line: $(journal -p err -o cat)"
    expect "journal" "$(journal -o cat)" '^the store works again$'
    unconfigure
    inside_sh 'systemctl stop mpreg; umount /var/lib/mpreg; systemctl start mpreg'
}

# A certificate in the machine that holds from 2020 until this time; false where it cannot be made.
certificate() {
    command -v openssl > /dev/null || return 1
    local place=$machine/certificate
    rm -rf "$place"
    mkdir -p "$place"
    touch "$place/index"
    echo 01 > "$place/serial"
    openssl req -new -newkey ed25519 -nodes -keyout "$place/key.pem" -subj /CN=localhost -out "$place/request.pem" 2> /dev/null
    printf '%s\n' '[ca]' 'default_ca = own' '[own]' "database = $place/index" "serial = $place/serial" \
        "new_certs_dir = $place" '[any]' 'commonName = supplied' > "$place/config"
    openssl ca -batch -notext -selfsign -md default -policy any -config "$place/config" -keyfile "$place/key.pem" \
        -in "$place/request.pem" -out "$place/cert.pem" -startdate 20200101000000Z -enddate "$1" \
        -extfile <(echo subjectAltName=DNS:localhost) 2> /dev/null
    inside_sh 'install -d -o mpreg -m 700 /etc/mpreg/tls; cat > /etc/mpreg/tls/cert.pem' < "$place/cert.pem"
    inside_sh 'install -o mpreg -m 600 /dev/stdin /etc/mpreg/tls/key.pem' < "$place/key.pem"
}

step_certificate_expired() {
    certificate 20200201000000Z || { echo "!! NO openssl HERE: an expired certificate is NOT tested"; return; }
    configure '[tls]
cert_file = "/etc/mpreg/tls/cert.pem"
key_file = "/etc/mpreg/tls/key.pem"
[[listen.endpoint]]
protocol = "wss"
port = 7443'
    fresh_journal
    inside systemctl restart mpreg
    until_inside 'systemctl show mpreg -p StatusText | grep -q tls.cert_file'
    journal -p err -o cat
    expect "journal" "$(journal -p err -o cat)" '^tls.cert_file: .*/cert.pem.*expired.*; '
    [ "$(told_times '^tls.cert_file')" = 1 ] || fail "not one line"
    expect "status" "$(property mpreg StatusText)" 'tls.cert_file.*serving as'
    call_answers
    certificate 20990101000000Z
    inside systemctl reload mpreg
    until_inside '! systemctl show mpreg -p StatusText | grep -q tls.cert_file'
    unconfigure
    inside_sh 'rm -r /etc/mpreg/tls; systemctl restart mpreg'
}

# A peer whose clock is an hour ahead; then a clock of our own that is decades behind.
step_clock_far_off() {
    if ! inside /hooks/mpreg --version; then
        echo "!! A PROGRAM OF THIS MACHINE DOES NOT RUN IN THE ROOT: clocks are NOT tested"
        return
    fi
    hooked
    inside systemctl restart mpreg
    fresh_journal
    inside systemd-run --quiet --unit=ahead --setenv=MPREG_TEST_CLOCK_AHEAD=3600 /hooks/mpreg server start --port 7100 \
        --no-monitoring --connect ws://127.0.0.1:7000 --set fabric.gossip_interval=1s --set node.state_dir=/run/ahead
    until_inside "journalctl -u mpreg --no-pager -o cat | grep -q 'the clock of this machine is 3[56][0-9][0-9] s behind'"
    expect "remedy" "$(journal -p err -o cat)" 'behind that of ws://127.0.0.1:7100: .*; set the clock that is wrong'
    expect "status" "$(property mpreg StatusText)" 'the clock of this machine'
    expect "mpreg ctl status" "$(inside mpreg ctl status)" '^! clock '
    [ "$(told_times '^the clock of this machine')" = 1 ] || fail "not one line"
    # What is refused because of it is told once for each link, and counted.
    [ "$(told_times 'reason=clock_skew')" = 1 ] || fail "not one line: $(journal -p warning -o cat)"
    expect "mpreg ctl status" "$(inside mpreg ctl status)" 'clock_skew x([2-9]|[1-9][0-9])'
    call_answers
    inside systemctl stop ahead
    until_inside '! systemctl show mpreg -p StatusText | grep -q "the clock"'
    hooked MPREG_TEST_CLOCK_AHEAD=-1700000000
    fresh_journal
    inside systemctl restart mpreg
    until_inside "journalctl -u mpreg --no-pager -o cat | grep -q 'years behind'"
    [ "$(told_times 'the clock of this machine is years behind: .*; set it')" = 1 ] || fail "not one line"
    call_answers
    unhooked
}

# The program that can be broken instead of that of the package, with these variables.
hooked() {
    inside_sh "mkdir -p /run/systemd/system/mpreg.service.d
        printf '[Service]\nExecStart=\nExecStart=/hooks/mpreg server start-config /etc/mpreg/server.toml\n%s' \
            '${1:+Environment=$1}' > /run/systemd/system/mpreg.service.d/hooks.conf
        systemctl daemon-reload"
}

unhooked() { inside_sh 'rm -r /run/systemd/system/mpreg.service.d; systemctl daemon-reload; systemctl restart mpreg'; }

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
    hooked
    inside systemctl restart mpreg
    call_answers
    pid=$(main_pid)
    start=$(date +%s%N)
    inside kill -USR1 "$pid"
    until_inside "[ \$(systemctl show mpreg --value -p MainPID) != $pid ] && systemctl is-active mpreg"
    measured "a core that is stuck: restarted after $((($(date +%s%N) - start) / 1000000)) ms"
    [ $((($(date +%s%N) - start) / 1000000000)) -lt 30 ] || fail "that takes too long"
    expect "journal" "$(inside journalctl -u mpreg --no-pager -o cat -n 30)" 'Watchdog timeout'
    call_answers
    unhooked
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
    configure "[node]
name = \"mine\"
$slow_function"
    inside systemctl enable --now mpreg.socket mpreg 2>&1
    inside mpreg client namespace-policy apply --enabled --default-allow --rules-file /appliance/rules.json \
        --url ws://127.0.0.1:7000
    pid=$(main_pid)
    fresh_journal
    # Behind the socket nobody is refused meanwhile, and what is under way is finished.
    beside python3 tests/appliance/load.py 7000 12 4 > "$machine/load" &
    local load=$!
    begin_slow_call
    inside sh -c 'dpkg -i /packages/mpreg_*.deb' 2>&1
    until_inside 'systemctl is-active mpreg'
    slow_call_answered
    wait "$load" || fail "connections were refused: $(cat "$machine/load")"
    measured "an upgrade with the socket, under load: $(cat "$machine/load")"
    [ "$(main_pid)" != "$pid" ] || fail "the old program still runs"
    expect "an orderly end" "$(journal -o cat)" '^stopped$'
    ! inside grep -q 'This comes from the older package' /etc/mpreg/server.toml || fail "the file of the old package is left"
    expect "own configuration" "$(inside mpreg config show /etc/mpreg/server.toml)" 'name = "mine"'
    expect "policy" "$(inside mpreg client namespace-policy export --url ws://127.0.0.1:7000)" 'svc.appliance'
    expect "enabled" "$(inside systemctl is-enabled mpreg.service)" '^enabled$'
    # A file that was changed is not touched.
    inside_sh 'systemctl disable --now mpreg.socket; systemctl start mpreg; echo "# mine" >> /etc/mpreg/server.toml; dpkg --force-confold -i /older/mpreg_*.deb'
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
    configure "$slow_function"
    inside_sh 'echo "# mine" >> /etc/mpreg/server.toml; systemctl restart mpreg'
    inside mpreg client namespace-policy apply --enabled --default-allow --rules-file /appliance/rules.json \
        --url ws://127.0.0.1:7000
    inside touch /var/lib/mpreg/kept
    pid=$(main_pid)
    begin_slow_call
    rpm_inside '-U /packages/mpreg-*.rpm'
    until_inside 'systemctl is-active mpreg'
    slow_call_answered
    expect "policy" "$(inside mpreg client namespace-policy export --url ws://127.0.0.1:7000)" 'svc.appliance'
    [ "$(main_pid)" != "$pid" ] || fail "the old program still runs"
    inside grep -q '^# mine$' /etc/mpreg/server.toml
    inside test -e /var/lib/mpreg/kept
    call_answers
    unconfigure
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
