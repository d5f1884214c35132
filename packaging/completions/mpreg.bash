# bash completion for mpreg. Made by `mpreg docs completions`; do not edit.

# The verbs of a group.
_mpreg_verbs() {
    case "$1" in
        '') echo 'server client discovery explain bench config ctl' ;;
        'server') echo 'start start-config' ;;
        'client') echo 'call functions list-peers subscribe publish dns-register dns-unregister dns-list dns-describe dns-node-encode dns-node-decode namespace-policy resolver-cache-stats resolver-resync' ;;
        'client namespace-policy') echo 'validate apply export audit' ;;
        'discovery') echo 'query summary watch access-audit' ;;
        'explain') echo 'call topic route' ;;
        'bench') echo 'rpc pubsub connections' ;;
        'config') echo 'check show plan convert example' ;;
        'ctl') echo 'status peers links routes catalog functions log reload confirm drain resume' ;;
    esac
}

# The options of a verb.
_mpreg_options() {
    case "$1" in
        '') echo '--version --verbose --help' ;;
        'server') echo '--verbose --help' ;;
        'server start') echo '--host --port --name --resource --peer --connect --cluster-id --advertised-url --enable-cache --enable-queue --enable-cache-federation --cache-region --cache-latitude --cache-longitude --cache-capacity-mb --monitoring-port --monitoring-host --monitoring --no-monitoring --monitoring-cors --no-monitoring-cors --persistence-mode --persistence-dir --persistence-sqlite-filename --set --verbose --help' ;;
        'server start-config') echo '--set --legacy-ignore-unknown --verbose --help' ;;
        'client') echo '--verbose --help' ;;
        'client call') echo '--locs --function-id --version-constraint --target-cluster --timeout --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client functions') echo '--namespace --scope --cluster-id --node-id --function-name --version-constraint --resource --tag --capability --limit --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client list-peers') echo '--scope --cluster-id --target-cluster --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client subscribe') echo '--backlog --count --duration --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client publish') echo '--header --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client dns-register') echo '--name --namespace --protocol --port --target --tag --capability --metadata --priority --weight --scope --ttl --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client dns-unregister') echo '--name --namespace --protocol --port --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client dns-list') echo '--namespace --name --protocol --port --scope --tag --capability --limit --page-token --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client dns-describe') echo '--namespace --name --protocol --port --scope --tag --capability --limit --page-token --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client dns-node-encode') echo '--json --verbose --help' ;;
        'client dns-node-decode') echo '--json --verbose --help' ;;
        'client namespace-policy') echo '--verbose --help' ;;
        'client namespace-policy validate') echo '--rules-file --actor --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client namespace-policy apply') echo '--rules-file --actor --enabled --no-enabled --default-allow --default-deny --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client namespace-policy export') echo '--url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client namespace-policy audit') echo '--limit --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client resolver-cache-stats') echo '--url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'client resolver-resync') echo '--url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'discovery') echo '--verbose --help' ;;
        'discovery query') echo '--entry-type --namespace --scope --viewer-cluster-id --viewer-tenant-id --capability --resource --tag --cluster-id --node-id --function-name --function-id --version-constraint --queue-name --topic --limit --page-token --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'discovery summary') echo '--namespace --service-id --scope --viewer-cluster-id --viewer-tenant-id --include-ingress --no-include-ingress --ingress-limit --ingress-scope --ingress-capability --ingress-tag --limit --page-token --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'discovery watch') echo '--summary --delta --scope --namespace --cluster-id --viewer-tenant-id --duration --count --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'discovery access-audit') echo '--limit --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'explain') echo '--verbose --help' ;;
        'explain call') echo '--locs --function-id --version-constraint --target-cluster --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'explain topic') echo '--url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'explain route') echo '--avoid --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'bench') echo '--verbose --help' ;;
        'bench rpc') echo '--function --target-cluster --connections --window --payload --seconds --rate --threads --any-answer --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'bench pubsub') echo '--subscribers --window --payload --seconds --rate --threads --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'bench connections') echo '--connections --seconds --pid --url --token --token-file --api-key --ca-file --cert-file --key-file --insecure --json --verbose --help' ;;
        'config') echo '--verbose --help' ;;
        'config check') echo '--set --legacy-ignore-unknown --verbose --help' ;;
        'config show') echo '--effective --redact --set --legacy-ignore-unknown --verbose --help' ;;
        'config plan') echo '--running --socket --json --verbose --help' ;;
        'config convert') echo '--legacy-ignore-unknown --verbose --help' ;;
        'config example') echo '--verbose --help' ;;
        'ctl') echo '--verbose --help' ;;
        'ctl status') echo '--socket --config --json --verbose --help' ;;
        'ctl peers') echo '--socket --config --json --verbose --help' ;;
        'ctl links') echo '--socket --config --json --verbose --help' ;;
        'ctl routes') echo '--limit --socket --config --json --verbose --help' ;;
        'ctl catalog') echo '--type --limit --socket --config --json --verbose --help' ;;
        'ctl functions') echo '--socket --config --json --verbose --help' ;;
        'ctl log') echo '--for --socket --config --json --verbose --help' ;;
        'ctl reload') echo '--confirm --socket --config --json --verbose --help' ;;
        'ctl confirm') echo '--socket --config --json --verbose --help' ;;
        'ctl drain') echo '--socket --config --json --verbose --help' ;;
        'ctl resume') echo '--socket --config --json --verbose --help' ;;
    esac
}

# What stands behind an option that takes a value: words, or one of @files, @key, @any.
_mpreg_values() {
    case "$1" in
        'server start --host') echo @any ;;
        'server start --port') echo @any ;;
        'server start --name') echo @any ;;
        'server start --resource') echo @any ;;
        'server start --peer') echo @any ;;
        'server start --connect') echo @any ;;
        'server start --cluster-id') echo @any ;;
        'server start --advertised-url') echo @any ;;
        'server start --cache-region') echo @any ;;
        'server start --cache-latitude') echo @any ;;
        'server start --cache-longitude') echo @any ;;
        'server start --cache-capacity-mb') echo @any ;;
        'server start --monitoring-port') echo @any ;;
        'server start --monitoring-host') echo @any ;;
        'server start --persistence-mode') echo 'off memory fjall' ;;
        'server start --persistence-dir') echo @files ;;
        'server start --persistence-sqlite-filename') echo @any ;;
        'server start --set') echo @key ;;
        'server start-config --set') echo @key ;;
        'client call --locs') echo @any ;;
        'client call --function-id') echo @any ;;
        'client call --version-constraint') echo @any ;;
        'client call --target-cluster') echo @any ;;
        'client call --timeout') echo @any ;;
        'client call --url') echo @any ;;
        'client call --token') echo @any ;;
        'client call --token-file') echo @files ;;
        'client call --api-key') echo @any ;;
        'client call --ca-file') echo @files ;;
        'client call --cert-file') echo @files ;;
        'client call --key-file') echo @files ;;
        'client functions --namespace') echo @any ;;
        'client functions --scope') echo 'local zone region global' ;;
        'client functions --cluster-id') echo @any ;;
        'client functions --node-id') echo @any ;;
        'client functions --function-name') echo @any ;;
        'client functions --version-constraint') echo @any ;;
        'client functions --resource') echo @any ;;
        'client functions --tag') echo @any ;;
        'client functions --capability') echo @any ;;
        'client functions --limit') echo @any ;;
        'client functions --url') echo @any ;;
        'client functions --token') echo @any ;;
        'client functions --token-file') echo @files ;;
        'client functions --api-key') echo @any ;;
        'client functions --ca-file') echo @files ;;
        'client functions --cert-file') echo @files ;;
        'client functions --key-file') echo @files ;;
        'client list-peers --scope') echo 'local zone region global' ;;
        'client list-peers --cluster-id') echo @any ;;
        'client list-peers --target-cluster') echo @any ;;
        'client list-peers --url') echo @any ;;
        'client list-peers --token') echo @any ;;
        'client list-peers --token-file') echo @files ;;
        'client list-peers --api-key') echo @any ;;
        'client list-peers --ca-file') echo @files ;;
        'client list-peers --cert-file') echo @files ;;
        'client list-peers --key-file') echo @files ;;
        'client subscribe --backlog') echo @any ;;
        'client subscribe --count') echo @any ;;
        'client subscribe --duration') echo @any ;;
        'client subscribe --url') echo @any ;;
        'client subscribe --token') echo @any ;;
        'client subscribe --token-file') echo @files ;;
        'client subscribe --api-key') echo @any ;;
        'client subscribe --ca-file') echo @files ;;
        'client subscribe --cert-file') echo @files ;;
        'client subscribe --key-file') echo @files ;;
        'client publish --header') echo @any ;;
        'client publish --url') echo @any ;;
        'client publish --token') echo @any ;;
        'client publish --token-file') echo @files ;;
        'client publish --api-key') echo @any ;;
        'client publish --ca-file') echo @files ;;
        'client publish --cert-file') echo @files ;;
        'client publish --key-file') echo @files ;;
        'client dns-register --name') echo @any ;;
        'client dns-register --namespace') echo @any ;;
        'client dns-register --protocol') echo 'tcp udp' ;;
        'client dns-register --port') echo @any ;;
        'client dns-register --target') echo @any ;;
        'client dns-register --tag') echo @any ;;
        'client dns-register --capability') echo @any ;;
        'client dns-register --metadata') echo @any ;;
        'client dns-register --priority') echo @any ;;
        'client dns-register --weight') echo @any ;;
        'client dns-register --scope') echo 'local zone region global' ;;
        'client dns-register --ttl') echo @any ;;
        'client dns-register --url') echo @any ;;
        'client dns-register --token') echo @any ;;
        'client dns-register --token-file') echo @files ;;
        'client dns-register --api-key') echo @any ;;
        'client dns-register --ca-file') echo @files ;;
        'client dns-register --cert-file') echo @files ;;
        'client dns-register --key-file') echo @files ;;
        'client dns-unregister --name') echo @any ;;
        'client dns-unregister --namespace') echo @any ;;
        'client dns-unregister --protocol') echo 'tcp udp' ;;
        'client dns-unregister --port') echo @any ;;
        'client dns-unregister --url') echo @any ;;
        'client dns-unregister --token') echo @any ;;
        'client dns-unregister --token-file') echo @files ;;
        'client dns-unregister --api-key') echo @any ;;
        'client dns-unregister --ca-file') echo @files ;;
        'client dns-unregister --cert-file') echo @files ;;
        'client dns-unregister --key-file') echo @files ;;
        'client dns-list --namespace') echo @any ;;
        'client dns-list --name') echo @any ;;
        'client dns-list --protocol') echo 'tcp udp' ;;
        'client dns-list --port') echo @any ;;
        'client dns-list --scope') echo 'local zone region global' ;;
        'client dns-list --tag') echo @any ;;
        'client dns-list --capability') echo @any ;;
        'client dns-list --limit') echo @any ;;
        'client dns-list --page-token') echo @any ;;
        'client dns-list --url') echo @any ;;
        'client dns-list --token') echo @any ;;
        'client dns-list --token-file') echo @files ;;
        'client dns-list --api-key') echo @any ;;
        'client dns-list --ca-file') echo @files ;;
        'client dns-list --cert-file') echo @files ;;
        'client dns-list --key-file') echo @files ;;
        'client dns-describe --namespace') echo @any ;;
        'client dns-describe --name') echo @any ;;
        'client dns-describe --protocol') echo 'tcp udp' ;;
        'client dns-describe --port') echo @any ;;
        'client dns-describe --scope') echo 'local zone region global' ;;
        'client dns-describe --tag') echo @any ;;
        'client dns-describe --capability') echo @any ;;
        'client dns-describe --limit') echo @any ;;
        'client dns-describe --page-token') echo @any ;;
        'client dns-describe --url') echo @any ;;
        'client dns-describe --token') echo @any ;;
        'client dns-describe --token-file') echo @files ;;
        'client dns-describe --api-key') echo @any ;;
        'client dns-describe --ca-file') echo @files ;;
        'client dns-describe --cert-file') echo @files ;;
        'client dns-describe --key-file') echo @files ;;
        'client namespace-policy validate --rules-file') echo @files ;;
        'client namespace-policy validate --actor') echo @any ;;
        'client namespace-policy validate --url') echo @any ;;
        'client namespace-policy validate --token') echo @any ;;
        'client namespace-policy validate --token-file') echo @files ;;
        'client namespace-policy validate --api-key') echo @any ;;
        'client namespace-policy validate --ca-file') echo @files ;;
        'client namespace-policy validate --cert-file') echo @files ;;
        'client namespace-policy validate --key-file') echo @files ;;
        'client namespace-policy apply --rules-file') echo @files ;;
        'client namespace-policy apply --actor') echo @any ;;
        'client namespace-policy apply --url') echo @any ;;
        'client namespace-policy apply --token') echo @any ;;
        'client namespace-policy apply --token-file') echo @files ;;
        'client namespace-policy apply --api-key') echo @any ;;
        'client namespace-policy apply --ca-file') echo @files ;;
        'client namespace-policy apply --cert-file') echo @files ;;
        'client namespace-policy apply --key-file') echo @files ;;
        'client namespace-policy export --url') echo @any ;;
        'client namespace-policy export --token') echo @any ;;
        'client namespace-policy export --token-file') echo @files ;;
        'client namespace-policy export --api-key') echo @any ;;
        'client namespace-policy export --ca-file') echo @files ;;
        'client namespace-policy export --cert-file') echo @files ;;
        'client namespace-policy export --key-file') echo @files ;;
        'client namespace-policy audit --limit') echo @any ;;
        'client namespace-policy audit --url') echo @any ;;
        'client namespace-policy audit --token') echo @any ;;
        'client namespace-policy audit --token-file') echo @files ;;
        'client namespace-policy audit --api-key') echo @any ;;
        'client namespace-policy audit --ca-file') echo @files ;;
        'client namespace-policy audit --cert-file') echo @files ;;
        'client namespace-policy audit --key-file') echo @files ;;
        'client resolver-cache-stats --url') echo @any ;;
        'client resolver-cache-stats --token') echo @any ;;
        'client resolver-cache-stats --token-file') echo @files ;;
        'client resolver-cache-stats --api-key') echo @any ;;
        'client resolver-cache-stats --ca-file') echo @files ;;
        'client resolver-cache-stats --cert-file') echo @files ;;
        'client resolver-cache-stats --key-file') echo @files ;;
        'client resolver-resync --url') echo @any ;;
        'client resolver-resync --token') echo @any ;;
        'client resolver-resync --token-file') echo @files ;;
        'client resolver-resync --api-key') echo @any ;;
        'client resolver-resync --ca-file') echo @files ;;
        'client resolver-resync --cert-file') echo @files ;;
        'client resolver-resync --key-file') echo @files ;;
        'discovery query --entry-type') echo 'functions nodes queues topics services caches cache_profiles' ;;
        'discovery query --namespace') echo @any ;;
        'discovery query --scope') echo 'local zone region global' ;;
        'discovery query --viewer-cluster-id') echo @any ;;
        'discovery query --viewer-tenant-id') echo @any ;;
        'discovery query --capability') echo @any ;;
        'discovery query --resource') echo @any ;;
        'discovery query --tag') echo @any ;;
        'discovery query --cluster-id') echo @any ;;
        'discovery query --node-id') echo @any ;;
        'discovery query --function-name') echo @any ;;
        'discovery query --function-id') echo @any ;;
        'discovery query --version-constraint') echo @any ;;
        'discovery query --queue-name') echo @any ;;
        'discovery query --topic') echo @any ;;
        'discovery query --limit') echo @any ;;
        'discovery query --page-token') echo @any ;;
        'discovery query --url') echo @any ;;
        'discovery query --token') echo @any ;;
        'discovery query --token-file') echo @files ;;
        'discovery query --api-key') echo @any ;;
        'discovery query --ca-file') echo @files ;;
        'discovery query --cert-file') echo @files ;;
        'discovery query --key-file') echo @files ;;
        'discovery summary --namespace') echo @any ;;
        'discovery summary --service-id') echo @any ;;
        'discovery summary --scope') echo 'local zone region global' ;;
        'discovery summary --viewer-cluster-id') echo @any ;;
        'discovery summary --viewer-tenant-id') echo @any ;;
        'discovery summary --ingress-limit') echo @any ;;
        'discovery summary --ingress-scope') echo 'local zone region global' ;;
        'discovery summary --ingress-capability') echo @any ;;
        'discovery summary --ingress-tag') echo @any ;;
        'discovery summary --limit') echo @any ;;
        'discovery summary --page-token') echo @any ;;
        'discovery summary --url') echo @any ;;
        'discovery summary --token') echo @any ;;
        'discovery summary --token-file') echo @files ;;
        'discovery summary --api-key') echo @any ;;
        'discovery summary --ca-file') echo @files ;;
        'discovery summary --cert-file') echo @files ;;
        'discovery summary --key-file') echo @files ;;
        'discovery watch --scope') echo 'local zone region global' ;;
        'discovery watch --namespace') echo @any ;;
        'discovery watch --cluster-id') echo @any ;;
        'discovery watch --viewer-tenant-id') echo @any ;;
        'discovery watch --duration') echo @any ;;
        'discovery watch --count') echo @any ;;
        'discovery watch --url') echo @any ;;
        'discovery watch --token') echo @any ;;
        'discovery watch --token-file') echo @files ;;
        'discovery watch --api-key') echo @any ;;
        'discovery watch --ca-file') echo @files ;;
        'discovery watch --cert-file') echo @files ;;
        'discovery watch --key-file') echo @files ;;
        'discovery access-audit --limit') echo @any ;;
        'discovery access-audit --url') echo @any ;;
        'discovery access-audit --token') echo @any ;;
        'discovery access-audit --token-file') echo @files ;;
        'discovery access-audit --api-key') echo @any ;;
        'discovery access-audit --ca-file') echo @files ;;
        'discovery access-audit --cert-file') echo @files ;;
        'discovery access-audit --key-file') echo @files ;;
        'explain call --locs') echo @any ;;
        'explain call --function-id') echo @any ;;
        'explain call --version-constraint') echo @any ;;
        'explain call --target-cluster') echo @any ;;
        'explain call --url') echo @any ;;
        'explain call --token') echo @any ;;
        'explain call --token-file') echo @files ;;
        'explain call --api-key') echo @any ;;
        'explain call --ca-file') echo @files ;;
        'explain call --cert-file') echo @files ;;
        'explain call --key-file') echo @files ;;
        'explain topic --url') echo @any ;;
        'explain topic --token') echo @any ;;
        'explain topic --token-file') echo @files ;;
        'explain topic --api-key') echo @any ;;
        'explain topic --ca-file') echo @files ;;
        'explain topic --cert-file') echo @files ;;
        'explain topic --key-file') echo @files ;;
        'explain route --avoid') echo @any ;;
        'explain route --url') echo @any ;;
        'explain route --token') echo @any ;;
        'explain route --token-file') echo @files ;;
        'explain route --api-key') echo @any ;;
        'explain route --ca-file') echo @files ;;
        'explain route --cert-file') echo @files ;;
        'explain route --key-file') echo @files ;;
        'bench rpc --function') echo @any ;;
        'bench rpc --target-cluster') echo @any ;;
        'bench rpc --connections') echo @any ;;
        'bench rpc --window') echo @any ;;
        'bench rpc --payload') echo @any ;;
        'bench rpc --seconds') echo @any ;;
        'bench rpc --rate') echo @any ;;
        'bench rpc --threads') echo @any ;;
        'bench rpc --url') echo @any ;;
        'bench rpc --token') echo @any ;;
        'bench rpc --token-file') echo @files ;;
        'bench rpc --api-key') echo @any ;;
        'bench rpc --ca-file') echo @files ;;
        'bench rpc --cert-file') echo @files ;;
        'bench rpc --key-file') echo @files ;;
        'bench pubsub --subscribers') echo @any ;;
        'bench pubsub --window') echo @any ;;
        'bench pubsub --payload') echo @any ;;
        'bench pubsub --seconds') echo @any ;;
        'bench pubsub --rate') echo @any ;;
        'bench pubsub --threads') echo @any ;;
        'bench pubsub --url') echo @any ;;
        'bench pubsub --token') echo @any ;;
        'bench pubsub --token-file') echo @files ;;
        'bench pubsub --api-key') echo @any ;;
        'bench pubsub --ca-file') echo @files ;;
        'bench pubsub --cert-file') echo @files ;;
        'bench pubsub --key-file') echo @files ;;
        'bench connections --connections') echo @any ;;
        'bench connections --seconds') echo @any ;;
        'bench connections --pid') echo @any ;;
        'bench connections --url') echo @any ;;
        'bench connections --token') echo @any ;;
        'bench connections --token-file') echo @files ;;
        'bench connections --api-key') echo @any ;;
        'bench connections --ca-file') echo @files ;;
        'bench connections --cert-file') echo @files ;;
        'bench connections --key-file') echo @files ;;
        'config check --set') echo @key ;;
        'config show --set') echo @key ;;
        'config plan --socket') echo @files ;;
        'ctl status --socket') echo @files ;;
        'ctl status --config') echo @files ;;
        'ctl peers --socket') echo @files ;;
        'ctl peers --config') echo @files ;;
        'ctl links --socket') echo @files ;;
        'ctl links --config') echo @files ;;
        'ctl routes --limit') echo @any ;;
        'ctl routes --socket') echo @files ;;
        'ctl routes --config') echo @files ;;
        'ctl catalog --type') echo @any ;;
        'ctl catalog --limit') echo @any ;;
        'ctl catalog --socket') echo @files ;;
        'ctl catalog --config') echo @files ;;
        'ctl functions --socket') echo @files ;;
        'ctl functions --config') echo @files ;;
        'ctl log --for') echo @any ;;
        'ctl log --socket') echo @files ;;
        'ctl log --config') echo @files ;;
        'ctl reload --confirm') echo @any ;;
        'ctl reload --socket') echo @files ;;
        'ctl reload --config') echo @files ;;
        'ctl confirm --socket') echo @files ;;
        'ctl confirm --config') echo @files ;;
        'ctl drain --socket') echo @files ;;
        'ctl drain --config') echo @files ;;
        'ctl resume --socket') echo @files ;;
        'ctl resume --config') echo @files ;;
    esac
}

# What stands in the place of an argument.
_mpreg_arguments() {
    case "$1" in
        'server start-config') echo @files ;;
        'config check') echo @files ;;
        'config show') echo @files ;;
        'config plan') echo @files ;;
        'config convert') echo @files ;;
    esac
}

# The values of a key that has few.
_mpreg_values_of_key() {
    case "$1" in
        node.role) echo 'ingress resolver summary-resolver dns-gateway hub' ;;
        node.scope) echo 'local zone region global' ;;
        node.standalone) echo 'false true' ;;
        tls.client_auth) echo 'none optional required' ;;
        tls.min_version) echo '1.2 1.3' ;;
        tls.verify_peers) echo 'false true' ;;
        fabric.routing) echo 'false true' ;;
        fabric.rpc_spec.mode) echo 'summary full' ;;
        route.security.require_signatures) echo 'false true' ;;
        route.security.allow_unsigned) echo 'false true' ;;
        route.security.algorithm) echo 'ed25519' ;;
        route.security.provider.type) echo 'none file directory http exec' ;;
        link_state.mode) echo 'disabled prefer only' ;;
        link_state.areas.allow_unmapped_neighbors) echo 'false true' ;;
        federation.mode) echo 'strict_isolation explicit_bridging permissive_bridging' ;;
        federation.emit_metrics) echo 'false true' ;;
        federation.log.attempts) echo 'false true' ;;
        federation.log.warnings) echo 'false true' ;;
        federation.log.rejections) echo 'false true' ;;
        federation.security.require_mutual_auth) echo 'false true' ;;
        federation.security.require_encryption) echo 'false true' ;;
        discovery.resolver.enabled) echo 'false true' ;;
        discovery.resolver.seed_on_start) echo 'false true' ;;
        discovery.resolver.cache.enabled) echo 'false true' ;;
        discovery.summary.export) echo 'false true' ;;
        discovery.summary.scope) echo 'local zone region global' ;;
        discovery.summary.include_unscoped) echo 'false true' ;;
        discovery.summary.include_builtins) echo 'false true' ;;
        discovery.summary.include_foreign) echo 'false true' ;;
        discovery.summary.resolver.enabled) echo 'false true' ;;
        discovery.summary.resolver.scopes) echo 'local zone region global' ;;
        discovery.policy.enabled) echo 'false true' ;;
        discovery.policy.default) echo 'allow deny' ;;
        discovery.policy.persist) echo 'false true' ;;
        discovery.rate_limit.per) echo 'connection tenant cluster' ;;
        discovery.rate_limit.namespace_in_key) echo 'false true' ;;
        tenants.enabled) echo 'false true' ;;
        tenants.allow_claimed) echo 'false true' ;;
        tenants.reject_unknown) echo 'false true' ;;
        admin.mode) echo 'open loopback tenants mtls' ;;
        control.enabled) echo 'false true' ;;
        dns.enabled) echo 'false true' ;;
        dns.external_names) echo 'false true' ;;
        dns.compat) echo 'standard reference' ;;
        dns.any) echo 'minimal full' ;;
        dns.dns_sd) echo 'false true' ;;
        pubsub.slow_subscriber) echo 'drop_oldest drop_newest disconnect' ;;
        cache.enabled) echo 'false true' ;;
        cache.federation) echo 'false true' ;;
        cache.eviction) echo 's4lru lru lfu cost' ;;
        queue.enabled) echo 'false true' ;;
        queue.auto_create) echo 'false true' ;;
        persistence.mode) echo 'off memory fjall' ;;
        persistence.sync) echo 'commit interval' ;;
        persistence.persist_services) echo 'false true' ;;
        limits.routes_action) echo 'refuse warn drop_link' ;;
        monitoring.enabled) echo 'false true' ;;
        monitoring.port_fallback) echo 'false true' ;;
        monitoring.prometheus) echo 'false true' ;;
        monitoring.cors.enabled) echo 'false true' ;;
        monitoring.alerts.auto_resolve) echo 'false true' ;;
        log.level) echo 'error warning info debug trace' ;;
        log.diagnostics) echo 'peer_dial peer_dial_policy discovery_loop summary_ingress discovery_summary catalog_snapshot peer_snapshot gossip_sched raft' ;;
        log.format) echo 'text json' ;;
    esac
}

_mpreg() {
    local keys='config_version node.name node.cluster_id node.role node.id node.resources node.tags node.scope node.region node.latitude node.longitude node.standalone node.state_dir node.stop_timeout listen.host listen.port listen.port_file listen.port_range listen.advertised_urls listen.max_message listen.max_connections listen.idle_timeout tls.cert_file tls.key_file tls.ca_file tls.client_auth tls.min_version tls.verify_peers tls.server_name peers.static peers.connect peers.goodbye_grace peers.connect_timeout peers.max_dial_parallelism fabric.gossip_interval fabric.routing fabric.max_hops fabric.catalog_ttl fabric.queue_catalog_ttl fabric.rpc_timeout fabric.raft_request_timeout fabric.consensus_threshold fabric.page_default fabric.page_max fabric.rpc_spec.mode fabric.rpc_spec.namespaces fabric.rpc_spec.max_bytes route.ttl route.announce_interval route.tags route.max_routes_per_destination route.stability.hold_down route.stability.flap_threshold route.stability.suppression_window route.security.require_signatures route.security.allow_unsigned route.security.algorithm route.security.signing_key route.security.signing_key_file route.security.signing_key_env route.security.signing_key_id route.security.rotation_overlap route.security.key_ttl route.security.key_announce_interval route.security.provider.type route.security.provider.source route.security.provider.refresh_interval link_state.mode link_state.ttl link_state.announce_interval link_state.ecmp_paths link_state.area link_state.areas.local link_state.areas.default link_state.areas.allow_unmapped_neighbors federation.mode federation.allowed_clusters federation.connection_timeout federation.retry_attempts federation.health_check_interval federation.emit_metrics federation.log.attempts federation.log.warnings federation.log.rejections federation.security.require_mutual_auth federation.security.require_encryption federation.security.allow_functions federation.security.deny_functions federation.security.max_requests_per_minute federation.security.max_connections_per_cluster discovery.resolver.enabled discovery.resolver.namespaces discovery.resolver.seed_on_start discovery.resolver.prune_interval discovery.resolver.resync_interval discovery.resolver.cache.enabled discovery.resolver.cache.ttl discovery.resolver.cache.stale discovery.resolver.cache.negative_ttl discovery.resolver.cache.max_entries discovery.summary.export discovery.summary.interval discovery.summary.namespaces discovery.summary.scope discovery.summary.include_unscoped discovery.summary.hold_down discovery.summary.include_builtins discovery.summary.include_foreign discovery.summary.store_forward.window discovery.summary.store_forward.max_messages discovery.summary.resolver.enabled discovery.summary.resolver.namespaces discovery.summary.resolver.scopes discovery.summary.resolver.prune_interval discovery.policy.enabled discovery.policy.default discovery.policy.persist discovery.policy.audit_max_entries discovery.rate_limit.requests discovery.rate_limit.window discovery.rate_limit.max_keys discovery.rate_limit.per discovery.rate_limit.namespace_in_key discovery.audit.max_entries tenants.enabled tenants.allow_claimed tenants.default tenants.header tenants.reject_unknown admin.mode admin.tenants admin.register_namespaces control.enabled control.socket dns.enabled dns.host dns.port dns.udp_port dns.tcp_port dns.port_file dns.zones dns.min_ttl dns.max_ttl dns.external_names dns.external_suffixes dns.compat dns.udp_max dns.tcp_idle_timeout dns.tcp_max_connections dns.any dns.dns_sd dns.rate_limit_per_client dns.allow_networks dns.viewer.cluster dns.viewer.tenant dns.soa.mname dns.soa.rname dns.soa.refresh dns.soa.retry dns.soa.expire dns.soa.negative_ttl dns.soa.ns pubsub.slow_subscriber pubsub.outbound_per_subscription pubsub.backlog_window cache.enabled cache.federation cache.capacity cache.disk_capacity cache.value_max cache.eviction cache.sync_interval cache.gossip_interval queue.enabled queue.auto_create queue.queues_max queue.message_max persistence.mode persistence.dir persistence.sync persistence.sync_interval persistence.cache_size persistence.memtable_size persistence.snapshot_interval persistence.persist_services limits.memory limits.outbound_per_link limits.pending_calls_max limits.subscriptions_per_connection limits.catalog_entries_per_cluster limits.routes_per_neighbor limits.routes_action limits.peer_gossip_per_second limits.peer_gossip_bytes_per_second limits.peer_publications_per_second limits.peer_publication_bytes_per_second limits.backlog monitoring.enabled monitoring.host monitoring.port monitoring.port_file monitoring.port_fallback monitoring.prometheus monitoring.token monitoring.token_file monitoring.token_env monitoring.admin_token monitoring.admin_token_file monitoring.admin_token_env monitoring.sample_interval monitoring.history monitoring.cors.enabled monitoring.cors.origins monitoring.alerts.latency_warning monitoring.alerts.latency_error monitoring.alerts.latency_critical monitoring.alerts.error_rate monitoring.alerts.health_score monitoring.alerts.throughput_drop monitoring.alerts.auto_resolve log.level log.debug_scopes log.diagnostics log.format'
    local line=${COMP_LINE:0:COMP_POINT} path='' before='' lead='' kind word cur=''
    local -a words
    # Split at blanks alone: bash itself cuts words at = and : as well.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] || { cur=${words[-1]}; unset 'words[-1]'; }
    COMPREPLY=()
    local only_arguments='' expects=''
    for word in "${words[@]:1}"; do
        before=$word
        if [[ -n $expects ]]; then
            expects=''
            before=''
        elif [[ $word == -- ]]; then
            only_arguments=1
        elif [[ -z $only_arguments && $word == -* ]]; then
            [[ -n $(_mpreg_values "$path $word") ]] && expects=1
        elif [[ " $(_mpreg_verbs "$path") " == *" $word "* ]]; then
            path=${path:+$path }$word
        fi
    done
    if [[ -n $expects ]]; then
        kind=$(_mpreg_values "$path $before")
    elif [[ -z $only_arguments && $cur == --*=* ]]; then
        kind=$(_mpreg_values "$path ${cur%%=*}")
        # Where bash does not cut words at =, the whole word is replaced.
        [[ $COMP_WORDBREAKS == *=* ]] || lead=${cur%%=*}=
        cur=${cur#*=}
    elif [[ -z $only_arguments && $cur == -* ]]; then
        kind=$(_mpreg_options "$path")
    else
        kind=$(_mpreg_verbs "$path")
        [[ -n $kind ]] || kind=$(_mpreg_arguments "$path")
    fi
    case $kind in
        @files)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            ;;
        @key)
            if [[ $cur == *=* ]]; then
                local of_key=${cur#*=} key=${cur%%=*}
                mapfile -t COMPREPLY < <(compgen -W "$(_mpreg_values_of_key "$key")" -- "$of_key")
                [[ $COMP_WORDBREAKS == *=* ]] || lead+=$key=
            else
                compopt -o nospace 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -S = -W "$keys" -- "$cur")
            fi
            ;;
        @any | '') ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
    esac
    COMPREPLY=("${COMPREPLY[@]/#/$lead}")
}

complete -F _mpreg mpreg
