# fish completion for mpreg. Made by `mpreg docs completions`; do not edit.

# Whether the verbs on the command line so far are exactly these.
function __mpreg_at
    set -l known 'server' \
        'server start' \
        'server start-config' \
        'client' \
        'client call' \
        'client functions' \
        'client list-peers' \
        'client subscribe' \
        'client publish' \
        'client dns-register' \
        'client dns-unregister' \
        'client dns-list' \
        'client dns-describe' \
        'client dns-node-encode' \
        'client dns-node-decode' \
        'client namespace-policy' \
        'client namespace-policy validate' \
        'client namespace-policy apply' \
        'client namespace-policy export' \
        'client namespace-policy audit' \
        'client resolver-cache-stats' \
        'client resolver-resync' \
        'discovery' \
        'discovery query' \
        'discovery summary' \
        'discovery watch' \
        'discovery access-audit' \
        'explain' \
        'explain call' \
        'explain topic' \
        'explain route' \
        'bench' \
        'bench rpc' \
        'bench pubsub' \
        'bench connections' \
        'config' \
        'config check' \
        'config show' \
        'config plan' \
        'config convert' \
        'config example' \
        'ctl' \
        'ctl status' \
        'ctl peers' \
        'ctl links' \
        'ctl routes' \
        'ctl catalog' \
        'ctl functions' \
        'ctl log' \
        'ctl reload' \
        'ctl confirm' \
        'ctl drain' \
        'ctl resume'
    set -l path
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        set -l longer (string join ' ' $path $word)
        if contains -- $longer $known
            set path $longer
        else
            break
        end
    end
    test "$path" = "$argv[1]"
end

# KEY=VALUE of the configuration: the keys, and the values of those that have few.
function __mpreg_assignment
    printf '%s=\n' config_version node.name node.cluster_id node.role node.id node.resources node.tags node.scope node.region node.latitude node.longitude node.standalone node.state_dir node.stop_timeout listen.host listen.port listen.port_file listen.port_range listen.advertised_urls listen.max_message listen.max_connections listen.idle_timeout tls.cert_file tls.key_file tls.ca_file tls.client_auth tls.min_version tls.verify_peers tls.server_name peers.static peers.connect peers.goodbye_grace peers.connect_timeout peers.max_dial_parallelism fabric.gossip_interval fabric.routing fabric.max_hops fabric.catalog_ttl fabric.queue_catalog_ttl fabric.rpc_timeout fabric.raft_request_timeout fabric.consensus_threshold fabric.page_default fabric.page_max fabric.rpc_spec.mode fabric.rpc_spec.namespaces fabric.rpc_spec.max_bytes route.ttl route.announce_interval route.tags route.max_routes_per_destination route.stability.hold_down route.stability.flap_threshold route.stability.suppression_window route.security.require_signatures route.security.allow_unsigned route.security.algorithm route.security.signing_key route.security.signing_key_file route.security.signing_key_env route.security.signing_key_id route.security.rotation_overlap route.security.key_ttl route.security.key_announce_interval route.security.provider.type route.security.provider.source route.security.provider.refresh_interval link_state.mode link_state.ttl link_state.announce_interval link_state.ecmp_paths link_state.area link_state.areas.local link_state.areas.default link_state.areas.allow_unmapped_neighbors federation.mode federation.allowed_clusters federation.connection_timeout federation.retry_attempts federation.health_check_interval federation.emit_metrics federation.log.attempts federation.log.warnings federation.log.rejections federation.security.require_mutual_auth federation.security.require_encryption federation.security.allow_functions federation.security.deny_functions federation.security.max_requests_per_minute federation.security.max_connections_per_cluster discovery.resolver.enabled discovery.resolver.namespaces discovery.resolver.seed_on_start discovery.resolver.prune_interval discovery.resolver.resync_interval discovery.resolver.cache.enabled discovery.resolver.cache.ttl discovery.resolver.cache.stale discovery.resolver.cache.negative_ttl discovery.resolver.cache.max_entries discovery.summary.export discovery.summary.interval discovery.summary.namespaces discovery.summary.scope discovery.summary.include_unscoped discovery.summary.hold_down discovery.summary.include_builtins discovery.summary.include_foreign discovery.summary.store_forward.window discovery.summary.store_forward.max_messages discovery.summary.resolver.enabled discovery.summary.resolver.namespaces discovery.summary.resolver.scopes discovery.summary.resolver.prune_interval discovery.policy.enabled discovery.policy.default discovery.policy.persist discovery.policy.audit_max_entries discovery.rate_limit.requests discovery.rate_limit.window discovery.rate_limit.max_keys discovery.rate_limit.per discovery.rate_limit.namespace_in_key discovery.audit.max_entries tenants.enabled tenants.allow_claimed tenants.default tenants.header tenants.reject_unknown admin.mode admin.tenants admin.register_namespaces control.enabled control.socket dns.enabled dns.host dns.port dns.udp_port dns.tcp_port dns.port_file dns.zones dns.min_ttl dns.max_ttl dns.external_names dns.external_suffixes dns.compat dns.udp_max dns.tcp_idle_timeout dns.tcp_max_connections dns.any dns.dns_sd dns.rate_limit_per_client dns.allow_networks dns.viewer.cluster dns.viewer.tenant dns.soa.mname dns.soa.rname dns.soa.refresh dns.soa.retry dns.soa.expire dns.soa.negative_ttl dns.soa.ns pubsub.slow_subscriber pubsub.outbound_per_subscription pubsub.backlog_window cache.enabled cache.federation cache.capacity cache.disk_capacity cache.value_max cache.eviction cache.sync_interval cache.gossip_interval queue.enabled queue.auto_create queue.queues_max queue.message_max persistence.mode persistence.dir persistence.sync persistence.sync_interval persistence.cache_size persistence.memtable_size persistence.snapshot_interval persistence.persist_services limits.memory limits.outbound_per_link limits.pending_calls_max limits.subscriptions_per_connection limits.catalog_entries_per_cluster limits.routes_per_neighbor limits.routes_action limits.peer_gossip_per_second limits.peer_gossip_bytes_per_second limits.peer_publications_per_second limits.peer_publication_bytes_per_second limits.backlog monitoring.enabled monitoring.host monitoring.port monitoring.port_file monitoring.port_fallback monitoring.prometheus monitoring.token monitoring.token_file monitoring.token_env monitoring.admin_token monitoring.admin_token_file monitoring.admin_token_env monitoring.sample_interval monitoring.history monitoring.cors.enabled monitoring.cors.origins monitoring.alerts.latency_warning monitoring.alerts.latency_error monitoring.alerts.latency_critical monitoring.alerts.error_rate monitoring.alerts.health_score monitoring.alerts.throughput_drop monitoring.alerts.auto_resolve log.level log.debug_scopes log.diagnostics log.format
    switch (string replace -r '^--set=' '' -- (commandline -ct) | string replace -r '=.*' '')
        case node.role
            printf '%s\n' node.role={ingress,resolver,summary-resolver,dns-gateway,hub}
        case node.scope
            printf '%s\n' node.scope={local,zone,region,global}
        case node.standalone
            printf '%s\n' node.standalone={false,true}
        case tls.client_auth
            printf '%s\n' tls.client_auth={none,optional,required}
        case tls.min_version
            printf '%s\n' tls.min_version={1.2,1.3}
        case tls.verify_peers
            printf '%s\n' tls.verify_peers={false,true}
        case fabric.routing
            printf '%s\n' fabric.routing={false,true}
        case fabric.rpc_spec.mode
            printf '%s\n' fabric.rpc_spec.mode={summary,full}
        case route.security.require_signatures
            printf '%s\n' route.security.require_signatures={false,true}
        case route.security.allow_unsigned
            printf '%s\n' route.security.allow_unsigned={false,true}
        case route.security.algorithm
            printf '%s\n' route.security.algorithm={ed25519}
        case route.security.provider.type
            printf '%s\n' route.security.provider.type={none,file,directory,http,exec}
        case link_state.mode
            printf '%s\n' link_state.mode={disabled,prefer,only}
        case link_state.areas.allow_unmapped_neighbors
            printf '%s\n' link_state.areas.allow_unmapped_neighbors={false,true}
        case federation.mode
            printf '%s\n' federation.mode={strict_isolation,explicit_bridging,permissive_bridging}
        case federation.emit_metrics
            printf '%s\n' federation.emit_metrics={false,true}
        case federation.log.attempts
            printf '%s\n' federation.log.attempts={false,true}
        case federation.log.warnings
            printf '%s\n' federation.log.warnings={false,true}
        case federation.log.rejections
            printf '%s\n' federation.log.rejections={false,true}
        case federation.security.require_mutual_auth
            printf '%s\n' federation.security.require_mutual_auth={false,true}
        case federation.security.require_encryption
            printf '%s\n' federation.security.require_encryption={false,true}
        case discovery.resolver.enabled
            printf '%s\n' discovery.resolver.enabled={false,true}
        case discovery.resolver.seed_on_start
            printf '%s\n' discovery.resolver.seed_on_start={false,true}
        case discovery.resolver.cache.enabled
            printf '%s\n' discovery.resolver.cache.enabled={false,true}
        case discovery.summary.export
            printf '%s\n' discovery.summary.export={false,true}
        case discovery.summary.scope
            printf '%s\n' discovery.summary.scope={local,zone,region,global}
        case discovery.summary.include_unscoped
            printf '%s\n' discovery.summary.include_unscoped={false,true}
        case discovery.summary.include_builtins
            printf '%s\n' discovery.summary.include_builtins={false,true}
        case discovery.summary.include_foreign
            printf '%s\n' discovery.summary.include_foreign={false,true}
        case discovery.summary.resolver.enabled
            printf '%s\n' discovery.summary.resolver.enabled={false,true}
        case discovery.summary.resolver.scopes
            printf '%s\n' discovery.summary.resolver.scopes={local,zone,region,global}
        case discovery.policy.enabled
            printf '%s\n' discovery.policy.enabled={false,true}
        case discovery.policy.default
            printf '%s\n' discovery.policy.default={allow,deny}
        case discovery.policy.persist
            printf '%s\n' discovery.policy.persist={false,true}
        case discovery.rate_limit.per
            printf '%s\n' discovery.rate_limit.per={connection,tenant,cluster}
        case discovery.rate_limit.namespace_in_key
            printf '%s\n' discovery.rate_limit.namespace_in_key={false,true}
        case tenants.enabled
            printf '%s\n' tenants.enabled={false,true}
        case tenants.allow_claimed
            printf '%s\n' tenants.allow_claimed={false,true}
        case tenants.reject_unknown
            printf '%s\n' tenants.reject_unknown={false,true}
        case admin.mode
            printf '%s\n' admin.mode={open,loopback,tenants,mtls}
        case control.enabled
            printf '%s\n' control.enabled={false,true}
        case dns.enabled
            printf '%s\n' dns.enabled={false,true}
        case dns.external_names
            printf '%s\n' dns.external_names={false,true}
        case dns.compat
            printf '%s\n' dns.compat={standard,reference}
        case dns.any
            printf '%s\n' dns.any={minimal,full}
        case dns.dns_sd
            printf '%s\n' dns.dns_sd={false,true}
        case pubsub.slow_subscriber
            printf '%s\n' pubsub.slow_subscriber={drop_oldest,drop_newest,disconnect}
        case cache.enabled
            printf '%s\n' cache.enabled={false,true}
        case cache.federation
            printf '%s\n' cache.federation={false,true}
        case cache.eviction
            printf '%s\n' cache.eviction={s4lru,lru,lfu,cost}
        case queue.enabled
            printf '%s\n' queue.enabled={false,true}
        case queue.auto_create
            printf '%s\n' queue.auto_create={false,true}
        case persistence.mode
            printf '%s\n' persistence.mode={off,memory,fjall}
        case persistence.sync
            printf '%s\n' persistence.sync={commit,interval}
        case persistence.persist_services
            printf '%s\n' persistence.persist_services={false,true}
        case limits.routes_action
            printf '%s\n' limits.routes_action={refuse,warn,drop_link}
        case monitoring.enabled
            printf '%s\n' monitoring.enabled={false,true}
        case monitoring.port_fallback
            printf '%s\n' monitoring.port_fallback={false,true}
        case monitoring.prometheus
            printf '%s\n' monitoring.prometheus={false,true}
        case monitoring.cors.enabled
            printf '%s\n' monitoring.cors.enabled={false,true}
        case monitoring.alerts.auto_resolve
            printf '%s\n' monitoring.alerts.auto_resolve={false,true}
        case log.level
            printf '%s\n' log.level={error,warning,info,debug,trace}
        case log.diagnostics
            printf '%s\n' log.diagnostics={peer_dial,peer_dial_policy,discovery_loop,summary_ingress,discovery_summary,catalog_snapshot,peer_snapshot,gossip_sched,raft}
        case log.format
            printf '%s\n' log.format={text,json}
    end
end

complete -c mpreg -f
complete -c mpreg -n "__mpreg_at ''" -a server -d 'run a node'
complete -c mpreg -n "__mpreg_at ''" -a client -d 'talk to a node: call functions, publish and subscribe, look at what it knows'
complete -c mpreg -n "__mpreg_at ''" -a discovery -d 'ask what the fabric knows, and watch it change'
complete -c mpreg -n "__mpreg_at ''" -a explain -d 'say why a call or a message goes where it goes, hop by hop, without executing anything'
complete -c mpreg -n "__mpreg_at ''" -a bench -d 'measure a node, beside the ceiling of the same machine'
complete -c mpreg -n "__mpreg_at ''" -a config -d 'Look at the configuration of a node without starting one'
complete -c mpreg -n "__mpreg_at ''" -a ctl -d 'ask the running node of this machine, and tell it what to do'
complete -c mpreg -n "__mpreg_at ''" -l version -d 'print the version and end'
complete -c mpreg -n "__mpreg_at ''" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at ''" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'server'" -a start -d 'run a node that is described by options alone'
complete -c mpreg -n "__mpreg_at 'server'" -a start-config -d 'run a node that is described by a file'
complete -c mpreg -n "__mpreg_at 'server'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'server'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'server start'" -l host -x -d 'address to listen on; default 127.0.0.1'
complete -c mpreg -n "__mpreg_at 'server start'" -l port -x -d 'port to listen on; default: a free one is chosen and printed'
complete -c mpreg -n "__mpreg_at 'server start'" -l name -x -d 'name of the node in logs and answers'
complete -c mpreg -n "__mpreg_at 'server start'" -l resource -x -d 'resource that the node carries'
complete -c mpreg -n "__mpreg_at 'server start'" -l peer -x -d 'node to hold a link with'
complete -c mpreg -n "__mpreg_at 'server start'" -l connect -x -d 'one more node to hold a link with'
complete -c mpreg -n "__mpreg_at 'server start'" -l cluster-id -x -d 'cluster that the node belongs to'
complete -c mpreg -n "__mpreg_at 'server start'" -l advertised-url -x -d 'address under which others reach the node'
complete -c mpreg -n "__mpreg_at 'server start'" -l enable-cache -d 'offer a cache'
complete -c mpreg -n "__mpreg_at 'server start'" -l enable-queue -d 'offer queues'
complete -c mpreg -n "__mpreg_at 'server start'" -l enable-cache-federation -d 'share the cache with other nodes'
complete -c mpreg -n "__mpreg_at 'server start'" -l cache-region -x -d 'region of the node'
complete -c mpreg -n "__mpreg_at 'server start'" -l cache-latitude -x -d 'latitude of the node in degrees'
complete -c mpreg -n "__mpreg_at 'server start'" -l cache-longitude -x -d 'longitude of the node in degrees'
complete -c mpreg -n "__mpreg_at 'server start'" -l cache-capacity-mb -x -d 'size of the cache in MiB'
complete -c mpreg -n "__mpreg_at 'server start'" -l monitoring-port -x -d 'port of the monitoring pages; default: a free one is chosen and printed'
complete -c mpreg -n "__mpreg_at 'server start'" -l monitoring-host -x -d 'address of the monitoring pages'
complete -c mpreg -n "__mpreg_at 'server start'" -l monitoring -d 'serve the monitoring pages (the default)'
complete -c mpreg -n "__mpreg_at 'server start'" -l no-monitoring -d 'do not serve the monitoring pages'
complete -c mpreg -n "__mpreg_at 'server start'" -l monitoring-cors -d 'let pages of other sites read them (the default)'
complete -c mpreg -n "__mpreg_at 'server start'" -l no-monitoring-cors -d 'do not let pages of other sites read them'
complete -c mpreg -n "__mpreg_at 'server start'" -l persistence-mode -x -a 'off memory fjall' -d 'off, memory or fjall'
complete -c mpreg -n "__mpreg_at 'server start'" -l persistence-dir -r -F -d 'directory for what is kept'
complete -c mpreg -n "__mpreg_at 'server start'" -l persistence-sqlite-filename -x -d 'accepted for old scripts: the store has no such file, which is said at start'
complete -c mpreg -n "__mpreg_at 'server start'" -l set -x -a '(__mpreg_assignment)' -d 'any other key of the configuration, as in --set dns.udp_port=5353'
complete -c mpreg -n "__mpreg_at 'server start'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'server start'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'server start-config'" -l set -x -a '(__mpreg_assignment)' -d 'key of the configuration that wins over the file'
complete -c mpreg -n "__mpreg_at 'server start-config'" -l legacy-ignore-unknown -d 'warn about unknown keys of a file in the old flat form instead of refusing it'
complete -c mpreg -n "__mpreg_at 'server start-config'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'server start-config'" -F
complete -c mpreg -n "__mpreg_at 'server start-config'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client'" -a call -d 'call a function and print its value'
complete -c mpreg -n "__mpreg_at 'client'" -a functions -d 'list what is callable, and from where'
complete -c mpreg -n "__mpreg_at 'client'" -a list-peers -d 'list the other nodes that a node knows'
complete -c mpreg -n "__mpreg_at 'client'" -a subscribe -d 'print messages as they are published, one a line'
complete -c mpreg -n "__mpreg_at 'client'" -a publish -d 'publish one message'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-register -d 'register a service at a node'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-unregister -d 'take a registered service back'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-list -d 'list registered services, one a line'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-describe -d 'show registered services in full'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-node-encode -d 'write the id of a node as a label that may stand in a DNS name'
complete -c mpreg -n "__mpreg_at 'client'" -a dns-node-decode -d 'read the id of a node from its DNS label'
complete -c mpreg -n "__mpreg_at 'client'" -a namespace-policy -d 'check, set and show the rules of who sees which namespace'
complete -c mpreg -n "__mpreg_at 'client'" -a resolver-cache-stats -d 'show what a resolver holds in its cache and how often it helped'
complete -c mpreg -n "__mpreg_at 'client'" -a resolver-resync -d 'let a resolver fill its cache anew from the node\'s catalog'
complete -c mpreg -n "__mpreg_at 'client'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client call'" -l locs -x -d 'resource that the function must carry'
complete -c mpreg -n "__mpreg_at 'client call'" -l function-id -x -d 'id that the function must have'
complete -c mpreg -n "__mpreg_at 'client call'" -l version-constraint -x -d 'version that the function must have, as in \'>=1.2,<2\''
complete -c mpreg -n "__mpreg_at 'client call'" -l target-cluster -x -d 'cluster that must run it'
complete -c mpreg -n "__mpreg_at 'client call'" -l timeout -x -d 'seconds to wait for the value'
complete -c mpreg -n "__mpreg_at 'client call'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client call'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client call'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client call'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client call'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client call'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client call'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client call'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client call'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client call'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client call'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client functions'" -l namespace -x -d 'namespace (the name up to its last dot), with everything below it'
complete -c mpreg -n "__mpreg_at 'client functions'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'client functions'" -l cluster-id -x -d 'cluster that offers it'
complete -c mpreg -n "__mpreg_at 'client functions'" -l node-id -x -d 'node that offers it'
complete -c mpreg -n "__mpreg_at 'client functions'" -l function-name -x -d 'exact name'
complete -c mpreg -n "__mpreg_at 'client functions'" -l version-constraint -x -d 'version it must have, as in \'>=1.2,<2\''
complete -c mpreg -n "__mpreg_at 'client functions'" -l resource -x -d 'resource it must carry'
complete -c mpreg -n "__mpreg_at 'client functions'" -l tag -x -d 'tag it must carry'
complete -c mpreg -n "__mpreg_at 'client functions'" -l capability -x -d 'capability its node must have'
complete -c mpreg -n "__mpreg_at 'client functions'" -l limit -x -d 'stop after so many'
complete -c mpreg -n "__mpreg_at 'client functions'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client functions'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client functions'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client functions'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client functions'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client functions'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client functions'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client functions'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client functions'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client functions'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client functions'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l cluster-id -x -d 'only nodes of this cluster'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l target-cluster -x -d 'ask a node of this cluster instead'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client list-peers'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l backlog -x -d 'also what was published in the last so many seconds'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l count -x -d 'end after so many messages'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l duration -x -d 'end after so many seconds'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client subscribe'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client publish'" -l header -x -d 'header of the message'
complete -c mpreg -n "__mpreg_at 'client publish'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client publish'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client publish'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client publish'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client publish'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client publish'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client publish'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client publish'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client publish'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client publish'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client publish'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l name -x -d 'name of the service'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l namespace -x -d 'namespace of the service'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l protocol -x -a 'tcp udp' -d 'tcp or udp; default tcp'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l port -x -d 'port of the service'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l target -x -d 'address or host name that serves it'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l tag -x -d 'tag for queries'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l capability -x -d 'capability for queries'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l metadata -x -d 'text that goes with it'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l priority -x -d 'SRV priority, lowest first; default 0'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l weight -x -d 'SRV weight among equals; default 0'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l ttl -x -d 'life of the catalog entry in seconds'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-register'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l name -x -d 'name of the service'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l namespace -x -d 'namespace of the service'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l protocol -x -a 'tcp udp' -d 'tcp or udp; default tcp'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l port -x -d 'port of the service'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-unregister'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l namespace -x -d 'exact namespace'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l name -x -d 'exact name'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l protocol -x -a 'tcp udp' -d 'tcp or udp'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l port -x -d 'port of the service'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l tag -x -d 'tag it must carry'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l capability -x -d 'capability it must have'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l limit -x -d 'entries of one page'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l page-token -x -d 'where the last page ended'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-list'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l namespace -x -d 'exact namespace'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l name -x -d 'exact name'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l protocol -x -a 'tcp udp' -d 'tcp or udp'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l port -x -d 'port of the service'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l tag -x -d 'tag it must carry'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l capability -x -d 'capability it must have'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l limit -x -d 'entries of one page'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l page-token -x -d 'where the last page ended'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-describe'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-node-encode'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-node-encode'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-node-encode'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client dns-node-decode'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client dns-node-decode'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client dns-node-decode'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -a validate -d 'let a node check rules without using them'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -a apply -d 'replace the rules of a node'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -a export -d 'show the rules of a node'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -a audit -d 'show who checked or replaced the rules of a node'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client namespace-policy'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l rules-file -r -F -d 'file with the rules'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l actor -x -d 'who asks, for the audit'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client namespace-policy validate'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l rules-file -r -F -d 'file with the rules, as for validate'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l actor -x -d 'who asks, for the audit'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l enabled -d 'use the policy'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l no-enabled -d 'do not use the policy'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l default-allow -d 'namespaces without a rule are visible'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l default-deny -d 'namespaces without a rule are hidden'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client namespace-policy apply'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client namespace-policy export'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l limit -x -d 'the newest so many; default all that are kept'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client namespace-policy audit'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client resolver-cache-stats'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'client resolver-resync'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'discovery'" -a query -d 'list entries of the catalog'
complete -c mpreg -n "__mpreg_at 'discovery'" -a summary -d 'list services in short: how many endpoints, in which cluster'
complete -c mpreg -n "__mpreg_at 'discovery'" -a watch -d 'print changes of the catalog as they happen, one a line'
complete -c mpreg -n "__mpreg_at 'discovery'" -a access-audit -d 'show who was denied what, and who asked too often'
complete -c mpreg -n "__mpreg_at 'discovery'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'discovery'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l entry-type -x -a 'functions nodes queues topics services caches cache_profiles' -d 'which kind of entries; default functions'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l namespace -x -d 'namespace, with everything below it'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l viewer-cluster-id -x -d 'cluster for which it is asked'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l viewer-tenant-id -x -d 'tenant for which it is asked'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l capability -x -d 'capability it must have'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l resource -x -d 'resource it must carry'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l tag -x -d 'tag it must carry'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l cluster-id -x -d 'cluster it belongs to'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l node-id -x -d 'node it belongs to'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l function-name -x -d 'exact name of a function'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l function-id -x -d 'exact id of a function'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l version-constraint -x -d 'version of a function, as in \'>=1.2,<2\''
complete -c mpreg -n "__mpreg_at 'discovery query'" -l queue-name -x -d 'exact name of a queue'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l topic -x -d 'topic whose subscriptions are wanted'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l limit -x -d 'entries of one page'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l page-token -x -d 'where the last page ended'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'discovery query'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'discovery query'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'discovery query'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l namespace -x -d 'namespace, with everything below it'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l service-id -x -d 'exact name of a service'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l scope -x -a 'local zone region global' -d 'local, zone, region or global'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l viewer-cluster-id -x -d 'cluster for which it is asked'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l viewer-tenant-id -x -d 'tenant for which it is asked'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l include-ingress -d 'also the addresses of nodes through which a cluster is entered'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l no-include-ingress -d 'without those addresses (the default)'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l ingress-limit -x -d 'addresses for each cluster'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l ingress-scope -x -a 'local zone region global' -d 'scope of those nodes'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l ingress-capability -x -d 'capability of those nodes'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l ingress-tag -x -d 'tag of those nodes'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l limit -x -d 'entries of one page'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l page-token -x -d 'where the last page ended'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'discovery summary'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l summary -d 'watch summaries of services'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l delta -d 'watch changes of the catalog (the default)'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l scope -x -a 'local zone region global' -d 'scope of the summaries'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l namespace -x -d 'only this namespace'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l cluster-id -x -d 'cluster to watch'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l viewer-tenant-id -x -d 'tenant for which it is watched'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l duration -x -d 'end after so many seconds'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l count -x -d 'end after so many messages'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'discovery watch'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l limit -x -d 'the newest so many; default all that are kept'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'discovery access-audit'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'explain'" -a call -d 'say which node would run a function, by which way, and why no other'
complete -c mpreg -n "__mpreg_at 'explain'" -a topic -d 'say which nodes a publication would reach, by which ways'
complete -c mpreg -n "__mpreg_at 'explain'" -a route -d 'say which way leads to a cluster, and what each node on it knows of others'
complete -c mpreg -n "__mpreg_at 'explain'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'explain'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'explain call'" -l locs -x -d 'resource that the function must carry'
complete -c mpreg -n "__mpreg_at 'explain call'" -l function-id -x -d 'id that the function must have'
complete -c mpreg -n "__mpreg_at 'explain call'" -l version-constraint -x -d 'version that the function must have, as in \'>=1.2,<2\''
complete -c mpreg -n "__mpreg_at 'explain call'" -l target-cluster -x -d 'cluster that must run it'
complete -c mpreg -n "__mpreg_at 'explain call'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'explain call'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'explain call'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'explain call'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'explain call'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'explain call'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'explain call'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'explain call'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'explain call'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'explain call'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'explain call'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'explain topic'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'explain topic'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'explain topic'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'explain route'" -l avoid -x -d 'cluster that the way must not enter'
complete -c mpreg -n "__mpreg_at 'explain route'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'explain route'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'explain route'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'explain route'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'explain route'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'explain route'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'explain route'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'explain route'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'explain route'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'explain route'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'explain route'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'bench'" -a rpc -d 'measure calls: how many per second, how long they take, whether the answers are right'
complete -c mpreg -n "__mpreg_at 'bench'" -a pubsub -d 'measure publishing: how many deliveries per second, how late they are, whether any is lost'
complete -c mpreg -n "__mpreg_at 'bench'" -a connections -d 'measure idle connections: how fast they open and how much memory each costs the node'
complete -c mpreg -n "__mpreg_at 'bench'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'bench'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l function -x -d 'function to call with one text; default echo'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l target-cluster -x -d 'cluster whose function is called, to measure the way there; default: the nearest that has it'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l connections -x -d 'connections; default 4'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l window -x -d 'calls under way on each connection; default 64'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l payload -x -d 'length of the text; default 128'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l seconds -x -d 'how long to measure the node; default 5'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l rate -x -d 'calls per second over all connections; default: as many as the window allows'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l threads -x -d 'threads of this program; default 1'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l any-answer -d 'do not compare answers, for functions that do not return their argument'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'bench rpc'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l subscribers -x -d 'subscribers, each with a connection of its own; default 4'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l window -x -d 'messages between the publisher and the slowest subscriber; default 256'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l payload -x -d 'length of the payload, at least 38; default 128'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l seconds -x -d 'how long to measure the node; default 5'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l rate -x -d 'messages published per second; default: as many as the window allows'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l threads -x -d 'threads of this program; default 1'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'bench pubsub'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l connections -x -d 'connections to open; default 1000'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l seconds -x -d 'how long to hold them; default 2'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l pid -x -d 'process of the node'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l url -x -d 'the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l token -x -d 'bearer token; default: environment MPREG_TOKEN'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l token-file -r -F -d 'file that holds the bearer token and that not everybody may read'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l api-key -x -d 'API key; default: environment MPREG_API_KEY'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l ca-file -r -F -d 'authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l cert-file -r -F -d 'certificate to show to the node, in PEM'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l key-file -r -F -d 'private key of that certificate, in PEM'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l insecure -d 'accept any certificate of the node: for tests only'
complete -c mpreg -n "__mpreg_at 'bench connections'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'bench connections'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'bench connections'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config'" -a check -d 'Tell everything that is wrong with a configuration'
complete -c mpreg -n "__mpreg_at 'config'" -a show -d 'Print the settings as TOML, with the origin of each'
complete -c mpreg -n "__mpreg_at 'config'" -a plan -d 'Tell key by key what a new configuration would change: at once, by closing links, or only with a restart'
complete -c mpreg -n "__mpreg_at 'config'" -a convert -d 'Print a file of the old flat format in the new form, with its secrets'
complete -c mpreg -n "__mpreg_at 'config'" -a example -d 'Print a file with every key, its meaning and its default'
complete -c mpreg -n "__mpreg_at 'config'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config check'" -l set -x -a '(__mpreg_assignment)' -d 'set a key, as in --set dns.port=5353'
complete -c mpreg -n "__mpreg_at 'config check'" -l legacy-ignore-unknown -d 'ignore unknown keys of the old flat format'
complete -c mpreg -n "__mpreg_at 'config check'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config check'" -F
complete -c mpreg -n "__mpreg_at 'config check'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config show'" -l effective -d 'print every key; otherwise only those that are set'
complete -c mpreg -n "__mpreg_at 'config show'" -l redact -d 'leave out where secrets are kept, too; the secrets themselves are never printed'
complete -c mpreg -n "__mpreg_at 'config show'" -l set -x -a '(__mpreg_assignment)' -d 'set a key, as in --set dns.port=5353'
complete -c mpreg -n "__mpreg_at 'config show'" -l legacy-ignore-unknown -d 'ignore unknown keys of the old flat format'
complete -c mpreg -n "__mpreg_at 'config show'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config show'" -F
complete -c mpreg -n "__mpreg_at 'config show'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config plan'" -l running -d 'compare with the running node; so it is done where no other file is named'
complete -c mpreg -n "__mpreg_at 'config plan'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'config plan'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'config plan'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config plan'" -F
complete -c mpreg -n "__mpreg_at 'config plan'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config convert'" -l legacy-ignore-unknown -d 'ignore unknown keys of the old flat format'
complete -c mpreg -n "__mpreg_at 'config convert'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config convert'" -F
complete -c mpreg -n "__mpreg_at 'config convert'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'config example'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'config example'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl'" -a status -d 'how the node is: health, links, refusals, limits, and what changed last'
complete -c mpreg -n "__mpreg_at 'ctl'" -a peers -d 'nodes that this one has or had a link with'
complete -c mpreg -n "__mpreg_at 'ctl'" -a links -d 'connections with other nodes, and addresses that none leads to'
complete -c mpreg -n "__mpreg_at 'ctl'" -a routes -d 'routes to other clusters, and which of them is taken'
complete -c mpreg -n "__mpreg_at 'ctl'" -a catalog -d 'entries of the catalog: who offers what'
complete -c mpreg -n "__mpreg_at 'ctl'" -a functions -d 'functions that workers of this node serve'
complete -c mpreg -n "__mpreg_at 'ctl'" -a log -d 'show what the log tells, and set it while the node runs'
complete -c mpreg -n "__mpreg_at 'ctl'" -a reload -d 'read the configuration again and put in force what can be changed while the node runs'
complete -c mpreg -n "__mpreg_at 'ctl'" -a confirm -d 'keep what `reload --confirm` has put in force'
complete -c mpreg -n "__mpreg_at 'ctl'" -a drain -d 'take no new connections and calls, and go on with what runs, until `resume`'
complete -c mpreg -n "__mpreg_at 'ctl'" -a resume -d 'take new work again after a drain'
complete -c mpreg -n "__mpreg_at 'ctl'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl status'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl status'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl status'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl status'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl status'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl peers'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl peers'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl peers'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl peers'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl peers'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl links'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl links'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl links'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl links'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl links'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -l limit -x -d 'most rows; default 1000'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl routes'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -l type -x -d 'only entries of this type'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -l limit -x -d 'most rows; default 1000'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl catalog'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl functions'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl functions'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl functions'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl functions'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl functions'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl log'" -l for -x -d 'take it back after this time, as in 10m'
complete -c mpreg -n "__mpreg_at 'ctl log'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl log'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl log'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl log'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl log'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -l confirm -x -d 'undo it after this time unless it is confirmed, as in 5m'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl reload'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl confirm'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl confirm'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl confirm'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl confirm'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl confirm'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl drain'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl drain'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl drain'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl drain'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl drain'" -s h -l help -d 'tell how it is used'
complete -c mpreg -n "__mpreg_at 'ctl resume'" -l socket -r -F -d 'control socket of the node; default: that of the only node that runs here'
complete -c mpreg -n "__mpreg_at 'ctl resume'" -l config -r -F -d 'configuration file that the node was started with'
complete -c mpreg -n "__mpreg_at 'ctl resume'" -l json -d 'print JSON and nothing else'
complete -c mpreg -n "__mpreg_at 'ctl resume'" -s v -l verbose -d 'say on stderr what is sent and received; a node logs at debug level'
complete -c mpreg -n "__mpreg_at 'ctl resume'" -s h -l help -d 'tell how it is used'
