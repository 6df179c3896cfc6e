//! The configuration of HAProxy.

use std::fmt::Write as _;
use std::path::Path;

use super::{Command, Setup, files_max, words, write};

/// See [`super::Proxy::prepare`].
pub fn prepare(setup: &Setup, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("haproxy.cfg");
    write(&file, &text(setup, dir))?;
    Ok(Command {
        run: words(&format!("-db -f {}", file.display())),
        check: words(&format!("-c -q -f {}", file.display())),
        // The log goes to standard output: the cheapest way it has to a file.
        stdout: setup.logs.then(|| dir.join("access.log")),
        ..Command::default()
    })
}

fn text(setup: &Setup, dir: &Path) -> String {
    // Of clients. Half of the files would do for connections to workers, but idle clients have none.
    let connections = files_max() - 500;
    let (threads, admin) = (setup.threads, setup.admin);
    let log = if setup.logs {
        "    log stdout format raw local0\n"
    } else {
        ""
    };
    let logs = if setup.logs {
        "    log global\n    option httplog\n"
    } else {
        ""
    };
    // Who gave up is not served any more: without it an overloaded HAProxy works for nobody.
    let abandoned = match setup.in_flight_max {
        Some(_) => "    option abortonclose\n",
        None => "",
    };
    let mut text = format!(
        "global\n    nbthread {threads}\n    maxconn {connections}\n    no strict-limits\n\
         {log}    stats socket {}/stats.sock\n\
         defaults\n    mode http\n{logs}{abandoned}\
         \x20   timeout connect 3s\n    timeout http-request 10s\n    timeout http-keep-alive 75s\n\
         \x20   timeout client 1h\n    timeout server 1h\n    timeout tunnel 1h\n    timeout queue 30s\n\
         \x20   option forwardfor\n    http-reuse always\n\
         \x20   unique-id-format %[uuid()]\n    unique-id-header X-Request-ID\n\
         frontend operators\n    bind 127.0.0.1:{admin}\n    stats enable\n    stats uri /\n    no log\n",
        dir.display()
    );
    let certificate = setup.certificate.both.display();
    for (name, bind, scheme) in [
        ("plain", format!("127.0.0.1:{}", setup.plain), "http"),
        (
            "tls",
            format!(
                "127.0.0.1:{} ssl crt {certificate} alpn h2,http/1.1",
                setup.tls
            ),
            "https",
        ),
    ] {
        let _ = write!(
            text,
            "frontend {name}\n    bind {bind}\n{}",
            headers(scheme)
        );
        for pool in setup.pools.iter().filter(|pool| pool.prefix != "/") {
            let (name, prefix) = (pool.name, pool.prefix);
            let _ = writeln!(
                text,
                "    use_backend {name} if {{ path {prefix} }} || {{ path_beg {prefix}/ }}"
            );
        }
        for pool in setup.pools.iter().filter(|pool| pool.prefix == "/") {
            let _ = writeln!(text, "    default_backend {}", pool.name);
        }
    }
    let _ = write!(
        text,
        "frontend grpc\n    bind 127.0.0.1:{} ssl crt {certificate} alpn h2\n{}\
         \x20   use_backend silent if {{ path_beg /bench.Silent/ }}\n    default_backend echo\n",
        setup.grpc,
        headers("https")
    );
    for (name, port) in [("echo", setup.echo), ("silent", setup.silent)] {
        let _ = write!(
            text,
            "backend {name}\n    server w0 127.0.0.1:{port} proto h2 check\n"
        );
    }
    for pool in &setup.pools {
        let cap = setup
            .in_flight_max
            .map_or_else(String::new, |most| format!(" maxconn {most}"));
        let _ = writeln!(text, "backend {}", pool.name);
        for port in pool.range() {
            let _ = writeln!(text, "    server w{port} 127.0.0.1:{port} check{cap}");
        }
    }
    text
}

fn headers(scheme: &str) -> String {
    format!(
        "    http-request deny if {{ path_beg -i /metrics }} || {{ path_end -i /metrics }}\n\
         \x20   http-request set-header X-Forwarded-Proto {scheme}\n\
         \x20   http-request set-header X-Forwarded-Host %[req.hdr(host)]\n\
         \x20   http-request set-header X-Forwarded-Port %[dst_port]\n"
    )
}
