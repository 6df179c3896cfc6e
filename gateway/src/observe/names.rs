//! Which metrics are there? Every name, with its type, labels and meaning: the one place to add one.
//!
//! Promises: whatever is counted or told under a name is in this table, because both ask for a [`Family`]; names and
//! labels are stable; no label comes from a request. docs/metrics.md is made of this table.
//!
//! To add one: a row here, then either a handle in `observe::metrics` (counted as it happens) or a few lines in `scrape`
//! (read when somebody asks), then its row in docs/metrics.md, which `UPDATE_DOCS=1 cargo test -p gateway names` writes.

/// A metric, whatever its labels.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Name; the unit is in its ending.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, with its unit.
    pub help: &'static str,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process or what it belongs to begins anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order of the documentation.
        pub static ALL: &[(&str, &Family)] = &[$((stringify!($id), &$id)),*];
    };
}

pub mod haproxy;

families! {
    // Requests.
    REQUESTS = Counter "portcullis_requests_total" ["listener", "route", "pool", "class", "protocol"]
        "Exchanges that have ended, by listener, route and pool (empty where none was chosen), class of the status (none: the client saw none) and protocol.";
    REQUEST_DURATION = Histogram "portcullis_request_duration_seconds" ["listener", "pool"]
        "From the request's head to the end of the response, by listener and pool, in seconds.";
    REQUESTS_FAILED = Counter "portcullis_requests_failed_total" ["listener", "end"]
        "Exchanges that did not end well, by listener and the word that the access log has for it; refused ones count.";
    REQUESTS_REFUSED = Counter "portcullis_requests_refused_total" ["listener", "route", "limit"]
        "Requests refused by a limit of their route, by listener, route and limit.";
    RATE_LIMITED = Counter "portcullis_rate_limited_total" ["listener", "route"]
        "Requests refused because their client asked too often, by listener and route (empty: the listener's own rate).";
    BODY_BYTES = Counter "portcullis_body_bytes_total" ["listener", "pool", "direction"]
        "Bytes of bodies and tunnels, counted when they end, by listener, pool and direction (in: from clients, out: to clients).";
    GRPC_RESPONSES = Counter "portcullis_grpc_responses_total" ["pool", "code"]
        "gRPC calls that ended with a status, by pool and name of the code (other: no code that gRPC knows).";
    COMPRESSIONS_SKIPPED = Counter "portcullis_compressions_skipped_total" []
        "Responses sent as they are because too many were being compressed.";
    IN_FLIGHT = Gauge "portcullis_exchanges_in_flight" []
        "Exchanges that have not ended, tunnels and streams included.";
    STREAMS = Gauge "portcullis_streams_open" ["listener"]
        "Open HTTP/2 streams of clients, by listener.";
    TUNNELS = Gauge "portcullis_tunnels_open" ["listener"]
        "Open tunnels (WebSocket), by listener.";

    // Connections.
    CONNECTIONS = Counter "portcullis_connections_total" ["listener"]
        "Connections accepted, by listener.";
    CONNECTIONS_REFUSED = Counter "portcullis_connections_refused_total" ["listener", "limit"]
        "Connections closed before they were served, by listener and the limit they met.";
    CONNECTIONS_OPEN = Gauge "portcullis_connections_open" ["listener"]
        "Open client connections, by listener.";
    CONNECTIONS_MAX = Gauge "portcullis_connections_max" ["listener"]
        "Client connections that may be open at once, by listener.";
    HANDSHAKES = Counter "portcullis_tls_handshakes_total" ["listener", "version", "resumed"]
        "TLS handshakes done, by listener, version and whether a session was resumed.";
    HANDSHAKE_FAILURES = Counter "portcullis_tls_handshake_failures_total" ["listener", "reason"]
        "TLS handshakes that failed, by listener and reason; docs/tls.md has the reasons.";
    CERTIFICATE_EXPIRY = Gauge "portcullis_certificate_expiry_timestamp_seconds" ["listener", "certificate"]
        "When the first certificate of a chain ends, by listener and file, in seconds since 1970.";
    CRL_EXPIRY = Gauge "portcullis_crl_expiry_timestamp_seconds" ["listener", "crl"]
        "When the first list of revoked certificates of a file runs out, by listener and file, in seconds since 1970.";
    CERTIFICATE_PICKUPS = Counter "portcullis_certificate_pickups_total" ["listener", "result"]
        "Certificates and lists that were replaced on the disk, by listener and result (done, refused).";

    // Pools.
    POOL_CERTIFICATE_EXPIRY = Gauge "portcullis_pool_certificate_expiry_timestamp_seconds" ["pool", "certificate"]
        "When the certificate ends that workers of a pool are shown, by pool and file, in seconds since 1970.";
    POOL_TLS_PICKUPS = Counter "portcullis_pool_tls_pickups_total" ["pool", "result"]
        "Authorities, certificates and keys towards workers that were replaced on the disk, by pool and result (done, refused).";
    POOL_SLOTS = Gauge "portcullis_pool_slots" ["pool"]
        "Hosts and ports on which workers may be, by pool.";
    POOL_LIVE = Gauge "portcullis_pool_workers_live" ["pool"]
        "Workers that get traffic, by pool.";
    POOL_WORKERS = Gauge "portcullis_pool_workers" ["pool", "state"]
        "Workers by pool and state; absent ones are not counted.";
    POOL_IN_FLIGHT = Gauge "portcullis_pool_in_flight" ["pool", "kind"]
        "Exchanges at workers, by pool and kind (request, stream).";
    POOL_WAITING = Gauge "portcullis_pool_waiting" ["pool", "reason"]
        "Requests that wait for a worker, by pool and reason (hold: none is up, queue: all are full).";
    POOL_WAIT = Histogram "portcullis_pool_wait_duration_seconds" ["pool", "reason"]
        "How long requests waited for a worker, of those that had to and got one, by pool and reason (hold: none was up, queue: all were full; one may wait for both), in seconds.";
    POOL_CONNECT = Histogram "portcullis_pool_connect_duration_seconds" ["pool"]
        "How long a new connection to a worker took, by pool, in seconds; requests on kept connections do not count.";
    POOL_FIRST_BYTE = Histogram "portcullis_pool_first_byte_duration_seconds" ["pool"]
        "From the request on its way to a worker to the head of the response, by pool, in seconds; waiting and connecting are not in it.";
    POOL_FAILURES = Counter "portcullis_pool_attempts_failed_total" ["pool", "reason"]
        "Attempts that a worker failed, those that were tried again included, by pool and reason.";
    POOL_PICKS = Counter "portcullis_pool_picks_total" ["pool"]
        "Workers picked, retries included, by pool.";
    POOL_RETRIES = Counter "portcullis_pool_retries_total" ["pool"]
        "Attempts after the first, by pool.";
    POOL_RETRIES_DENIED = Counter "portcullis_pool_retries_denied_total" ["pool"]
        "Retries that the budget did not allow, by pool.";
    POOL_HELD = Counter "portcullis_pool_held_total" ["pool"]
        "Requests held because no worker was up, by pool.";
    POOL_HOLD_REFUSED = Counter "portcullis_pool_hold_refused_total" ["pool"]
        "Requests that could not be held, by pool.";
    POOL_HOLD_EXPIRED = Counter "portcullis_pool_hold_expired_total" ["pool"]
        "Held requests whose time ran out, by pool.";
    POOL_QUEUED = Counter "portcullis_pool_queued_total" ["pool"]
        "Requests queued because every worker was at its cap, by pool.";
    POOL_QUEUE_REFUSED = Counter "portcullis_pool_queue_refused_total" ["pool"]
        "Requests that could not be queued, by pool.";
    POOL_QUEUE_EXPIRED = Counter "portcullis_pool_queue_expired_total" ["pool"]
        "Queued requests whose time ran out, by pool.";
    POOL_BACKED_UP = Counter "portcullis_pool_backed_up_total" ["pool"]
        "Requests that a backup took because too few workers were up, by the pool it stood in for.";
    POOL_CLOSED = Gauge "portcullis_pool_maintenance" ["pool"]
        "Whether a pool is in maintenance, by pool.";
    POOL_MAINTENANCE = Counter "portcullis_pool_maintenance_refused_total" ["pool"]
        "Requests turned away because of maintenance, by pool.";
    POOL_STICKY_KEPT = Counter "portcullis_pool_sticky_kept_total" ["pool"]
        "Requests whose cookie named a worker that then got them, by pool.";
    POOL_STICKY_MOVED = Counter "portcullis_pool_sticky_moved_total" ["pool"]
        "Requests whose cookie named a worker that could not get them, by pool.";
    POOL_EJECTIONS = Counter "portcullis_pool_ejections_total" ["pool"]
        "Ejections after failures in a row, by pool.";
    POOL_UPS = Counter "portcullis_pool_workers_up_total" ["pool"]
        "Workers that began to get traffic, by pool.";
    POOL_DOWNS = Counter "portcullis_pool_workers_down_total" ["pool"]
        "Workers that ceased to get traffic, by pool.";
    POOL_SCANS = Counter "portcullis_pool_scans_total" ["pool"]
        "Looks into the kernel's listen table, by pool.";
    POOL_PROBES = Counter "portcullis_pool_probes_total" ["pool"]
        "Connections made to find workers, by pool.";
    POOL_CHECKS = Counter "portcullis_pool_checks_total" ["pool"]
        "Active checks, by pool.";
    POOL_CHECKS_FAILED = Counter "portcullis_pool_checks_failed_total" ["pool"]
        "Active checks that failed, by pool.";

    // Workers, where `metrics: { per_worker: true }`.
    WORKER_UP = Gauge "portcullis_worker_up" ["pool", "worker"]
        "1 for a worker that gets traffic, 0 for one that listens and gets none; only with per_worker.";
    WORKER_IN_FLIGHT = Gauge "portcullis_worker_in_flight" ["pool", "worker", "kind"]
        "Exchanges at a worker, by kind (request, stream); only with per_worker.";
    WORKER_FAILURES = Gauge "portcullis_worker_failures_in_a_row" ["pool", "worker"]
        "Failures of a worker since its last good answer; only with per_worker.";

    // What the services need besides workers.
    DEPENDENCY_UP = Gauge "portcullis_dependency_up" ["dependency", "kind"]
        "1 for a dependency that is there, 0 for one that is not, or was not looked at yet, by name and kind (postgres, amqp, vault, tcp).";
    DEPENDENCY_CHECK = Gauge "portcullis_dependency_last_check_seconds" ["dependency", "kind"]
        "How long the last check of a dependency took, by name and kind, in seconds; not before the first has ended.";
    DEPENDENCY_CHECKS = Counter "portcullis_dependency_checks_total" ["dependency", "kind"]
        "Checks of a dependency, by name and kind.";
    DEPENDENCY_CHECKS_FAILED = Counter "portcullis_dependency_checks_failed_total" ["dependency", "kind"]
        "Checks of a dependency that failed, by name and kind.";

    // Copies of requests, and bodies that are kept.
    MIRROR_SENT = Counter "portcullis_mirror_sent_total" ["route"]
        "Copies of requests that a worker of the other pool has answered, by route.";
    MIRROR_DROPPED = Counter "portcullis_mirror_dropped_total" ["route", "reason"]
        "Copies of requests that were given up, by route and reason (in_flight_max, body_bytes_max, no_worker, worker, timeout).";
    BUFFERS = Gauge "portcullis_buffers_bytes" []
        "Bytes of request bodies that are kept, by buffer_request and for retries above 16 KiB each.";
    BUFFERS_REFUSED = Counter "portcullis_buffers_refused_total" []
        "How often there was no room to keep more of a request body.";
    STREAMS_REFUSED = Counter "portcullis_streams_refused_total" ["listener"]
        "HTTP/2 streams over streams_max, which clients may open again, by listener.";
    MEMORY_MAX = Gauge "portcullis_memory_max_bytes" []
        "Memory of the process above which requests are refused (memory_max); 0 for no limit.";
    MEMORY_FULL = Gauge "portcullis_memory_full" []
        "1 while requests are refused because of memory_max.";
    CONNECTIONS_ENDED = Counter "portcullis_connections_ended_total" ["listener", "reason"]
        "HTTP/2 connections that the gateway ended for their client's fault, by listener and reason (enhance_your_calm: a flood).";

    // The gateway itself.
    BUILD = Gauge "portcullis_build_info" ["version"]
        "1, with the version as a label.";
    DRAINING = Gauge "portcullis_draining" []
        "1 while the gateway takes no new work, else 0.";
    RELOADS = Counter "portcullis_reloads_total" ["result"]
        "Reloads of the configuration, by result (done, refused).";
    RELOAD_REFUSED = Gauge "portcullis_reload_refused" []
        "1 while the last reload was refused, so that the file is not what runs, else 0.";
    UPGRADES_FAILED = Counter "portcullis_upgrades_failed_total" []
        "Upgrades after which the old process serves on.";
    LOG_DROPPED = Counter "portcullis_access_log_lines_dropped_total" []
        "Lines of the access log lost because its destination did not follow.";
    TRACES_EXPORTED = Counter "portcullis_trace_spans_exported_total" []
        "Spans that the collector has taken.";
    TRACES_DROPPED = Counter "portcullis_trace_spans_dropped_total" []
        "Spans that were lost: the exporter could not follow, or the collector did not take them.";
    LOG_LEFT_OUT = Counter "portcullis_access_log_lines_left_out_total" []
        "Lines about refusals that were not written because there were more than refused_per_second.";

    // The process, as Prometheus' own libraries name it.
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "Processor time spent, user and system, in seconds.";
    PROCESS_FDS = Gauge "process_open_fds" []
        "Open file descriptors.";
    PROCESS_FDS_MAX = Gauge "process_max_fds" []
        "File descriptors that may be open.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" []
        "Resident memory, in bytes.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Virtual memory, in bytes.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the process began, in seconds since 1970.";
    PROCESS_THREADS = Gauge "process_threads" []
        "Threads.";
}

#[cfg(test)]
mod tests;
