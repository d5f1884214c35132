#!/bin/sh
# A worker for mpreg in plain POSIX shell: what the machine itself can tell, callable from every node of the fabric.
# Declare it as in functions.toml.
#
# A request is one line on stdin, an answer one line on stdout. mpreg writes the members of a request always in the
# same order, without blanks between them, and the id last:
#   {"jsonrpc":"2.0","method":"demo.hostname","params":{"args":[],"kwargs":{}},"id":7}
# so a worker without arguments needs no JSON parser. The loop ends with stdin, that is, with the node.

# Text as a JSON string: quotes and backslashes escaped, control characters left out.
quote() {
    printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"
}

result() {
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"
}

error() {
    printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":%s}}\n' "$id" "$(quote "$1")"
}

while IFS= read -r line; do
    id=${line##*'"id":'}
    id=${id%\}}
    case $line in
    '{"jsonrpc":"2.0","method":"$/cancel",'*)
        ;; # calls end sooner than a notice could come
    '{"jsonrpc":"2.0","method":"demo.hostname",'*)
        result "$(quote "$(uname -n)")"
        ;;
    '{"jsonrpc":"2.0","method":"demo.uptime",'*)
        if read -r seconds _ </proc/uptime; then
            result "$seconds"
        else
            error "the uptime cannot be read"
        fi
        ;;
    *)
        error "this worker has no such function"
        ;;
    esac
done
