//! Pools for tests.

use std::time::Duration;

use crate::config::model::{
    Balance, Check, Discovery, Health, Hold, Host, Outlier, Pool, PortRange, Queue, Retry,
    WorkerProtocol,
};

/// A pool of `127.0.0.1:9001` and so on, with the defaults.
pub(crate) fn model(ports: u16) -> Pool {
    Pool {
        name: "api".into(),
        hosts: vec![Host {
            address: [127, 0, 0, 1].into(),
            weight: 100,
        }],
        ports: vec![PortRange {
            first: 9001,
            last: 9000 + ports,
        }],
        protocol: WorkerProtocol::Http1,
        balance: Balance::LeastLoaded,
        discovery: Discovery::Auto,
        health: None,
        outlier: Outlier {
            consecutive_failures: 5,
            rest: Duration::from_secs(10),
            rest_max: Duration::from_secs(300),
            ejected_share_max: 50,
        },
        hold: Hold {
            time: Duration::from_secs(30),
            requests_max: 10_000,
        },
        queue: Queue {
            time: Duration::from_secs(30),
            requests_max: 1_000,
        },
        worker_in_flight_max: None,
        slow_start: Duration::ZERO,
        connect_timeout: Duration::from_secs(3),
        response_timeout: Duration::from_secs(305),
        body_timeout: Duration::from_secs(305),
        idle_timeout: Duration::from_secs(30),
        retry: Retry {
            attempts_max: 3,
            budget_percent: 20,
            budget_min_per_second: 10,
            body_bytes_max: 65_536,
        },
        head_bytes_max: 65_536,
        streams_max: 100,
        send_proxy: None,
        sticky: None,
        maintenance: None,
        abort_on_close: false,
        tls: None,
    }
}

/// Checks with these counts.
pub(crate) fn health(check: Check, rise: u32, fall: u32) -> Health {
    Health {
        check,
        interval: Duration::from_secs(5),
        interval_failing: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        rise,
        fall,
    }
}
