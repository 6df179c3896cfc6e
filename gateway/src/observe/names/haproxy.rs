//! Which of HAProxy's names are answered? Those of its Prometheus exporter that boards ask for, where
//! `metrics: { haproxy_names: true }`.

use super::{Family, Kind};

families! {
    PROCESS_BUILD = Gauge "haproxy_process_build_info" ["version"]
        "1, with our version as a label.";
    PROCESS_CONNECTIONS = Gauge "haproxy_process_current_connections" []
        "Open client connections.";
    PROCESS_CONNECTIONS_MAX = Gauge "haproxy_process_max_connections" []
        "Client connections that may be open at once, all listeners together.";
    PROCESS_STOPPING = Gauge "haproxy_process_stopping" []
        "1 while the gateway drains, else 0.";
    FRONTEND_STATUS = Gauge "haproxy_frontend_status" ["proxy", "state"]
        "1 for the state of the listener (UP, DOWN), 0 for the other.";
    FRONTEND_SESSIONS = Gauge "haproxy_frontend_current_sessions" ["proxy"]
        "Open client connections of the listener.";
    FRONTEND_SESSIONS_MAX = Gauge "haproxy_frontend_limit_sessions" ["proxy"]
        "Client connections that may be open at once.";
    FRONTEND_SESSIONS_TOTAL = Counter "haproxy_frontend_sessions_total" ["proxy"]
        "Connections accepted.";
    FRONTEND_CONNECTIONS = Counter "haproxy_frontend_connections_total" ["proxy"]
        "Connections accepted.";
    FRONTEND_REQUESTS = Counter "haproxy_frontend_http_requests_total" ["proxy"]
        "Exchanges that have ended.";
    FRONTEND_RESPONSES = Counter "haproxy_frontend_http_responses_total" ["proxy", "code"]
        "Exchanges that have ended, by class of the status (other: the client saw none).";
    FRONTEND_BYTES_IN = Counter "haproxy_frontend_bytes_in_total" ["proxy"]
        "Bytes of bodies from clients; heads do not count.";
    FRONTEND_BYTES_OUT = Counter "haproxy_frontend_bytes_out_total" ["proxy"]
        "Bytes of bodies to clients; heads do not count.";
    FRONTEND_DENIED = Counter "haproxy_frontend_requests_denied_total" ["proxy"]
        "Requests that were denied or over a limit.";
    FRONTEND_ERRORS = Counter "haproxy_frontend_request_errors_total" ["proxy"]
        "Requests that could not be understood or did not arrive whole.";
    BACKEND_STATUS = Gauge "haproxy_backend_status" ["proxy", "state"]
        "1 for the state of the pool (UP: it has a worker, DOWN), 0 for the other.";
    BACKEND_ACTIVE = Gauge "haproxy_backend_active_servers" ["proxy"]
        "Workers that get traffic.";
    BACKEND_SESSIONS = Gauge "haproxy_backend_current_sessions" ["proxy"]
        "Exchanges at workers of the pool.";
    BACKEND_QUEUE = Gauge "haproxy_backend_current_queue" ["proxy"]
        "Requests that wait for a worker.";
    BACKEND_REQUESTS = Counter "haproxy_backend_http_requests_total" ["proxy"]
        "Exchanges that have ended.";
    BACKEND_RESPONSES = Counter "haproxy_backend_http_responses_total" ["proxy", "code"]
        "Exchanges that have ended, by class of the status (other: the client saw none).";
    BACKEND_BYTES_IN = Counter "haproxy_backend_bytes_in_total" ["proxy"]
        "Bytes of bodies from clients; heads do not count.";
    BACKEND_BYTES_OUT = Counter "haproxy_backend_bytes_out_total" ["proxy"]
        "Bytes of bodies to clients; heads do not count.";
    BACKEND_CONNECTION_ERRORS = Counter "haproxy_backend_connection_errors_total" ["proxy"]
        "Connections to workers that were refused or took too long.";
    BACKEND_RESPONSE_ERRORS = Counter "haproxy_backend_response_errors_total" ["proxy"]
        "Attempts that a worker failed after it had accepted the connection.";
    BACKEND_RETRIES = Counter "haproxy_backend_retry_warnings_total" ["proxy"]
        "Attempts after the first.";
    BACKEND_QUEUE_TIME = Gauge "haproxy_backend_queue_time_average_seconds" ["proxy"]
        "How long requests waited for a worker on average, those that did not wait included, in seconds.";
    BACKEND_CONNECT_TIME = Gauge "haproxy_backend_connect_time_average_seconds" ["proxy"]
        "How long new connections to workers took on average, in seconds.";
    BACKEND_RESPONSE_TIME = Gauge "haproxy_backend_response_time_average_seconds" ["proxy"]
        "How long workers took to the head of their response on average, in seconds.";
    BACKEND_TOTAL_TIME = Gauge "haproxy_backend_total_time_average_seconds" ["proxy"]
        "How long exchanges took on average, in seconds.";
    SERVER_STATUS = Gauge "haproxy_server_status" ["proxy", "server", "state"]
        "1 for the state of the worker (UP, DOWN, DRAIN), 0 for the others; absent ones are not told.";
    SERVER_SESSIONS = Gauge "haproxy_server_current_sessions" ["proxy", "server"]
        "Exchanges at the worker.";
}
