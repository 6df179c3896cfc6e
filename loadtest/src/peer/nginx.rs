//! The configuration of nginx.

use std::fmt::Write as _;
use std::path::Path;

use super::{Command, Setup, files_max, words, write};

/// See [`super::Proxy::prepare`].
pub fn prepare(setup: &Setup, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("nginx.conf");
    write(&file, &text(setup, dir))?;
    let common = format!("-p {} -c {} -e stderr", dir.display(), file.display());
    Ok(Command {
        run: words(&common),
        check: words(&format!("-t -q {common}")),
        ..Command::default()
    })
}

fn text(setup: &Setup, dir: &Path) -> String {
    let connections = files_max() - 100;
    let dir = dir.display();
    // Lines are written in blocks, as ours are; its default would be a write for each.
    let log = match setup.logs {
        true => format!("{dir}/access.log combined buffer=32k flush=1s"),
        false => "off".to_owned(),
    };
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes {};\nworker_rlimit_nofile {};\npid {dir}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections {connections}; }}\nhttp {{\n\
         access_log {log};\nserver_tokens off;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\nuwsgi_temp_path {dir}/uwsgi;\nscgi_temp_path {dir}/scgi;\n\
         keepalive_timeout 75s;\nkeepalive_requests 1000000000;\n\
         client_max_body_size 0;\nproxy_request_buffering off;\nproxy_max_temp_file_size 0;\n\
         proxy_http_version 1.1;\nproxy_read_timeout 1h;\ngrpc_read_timeout 1h;\ngrpc_send_timeout 1h;\n\
         map $http_upgrade $connection_header {{ default upgrade; '' ''; }}\n\
         ssl_certificate {};\nssl_certificate_key {};\nssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:10m;\n\
         server {{ listen 127.0.0.1:{}; access_log off; location / {{ stub_status; }} }}\n",
        setup.threads,
        files_max(),
        setup.certificate.chain.display(),
        setup.certificate.key.display(),
        setup.admin,
    );
    for pool in &setup.pools {
        let _ = write!(text, "upstream {} {{", pool.name);
        for port in pool.range() {
            let cap = setup
                .in_flight_max
                .map_or_else(String::new, |most| format!(" max_conns={most}"));
            let _ = write!(text, " server 127.0.0.1:{port}{cap};");
        }
        text.push_str(" keepalive 1024; keepalive_requests 1000000000; }\n");
    }
    for (name, port) in [("echo", setup.echo), ("silent", setup.silent)] {
        let _ = writeln!(
            text,
            "upstream {name} {{ server 127.0.0.1:{port}; keepalive 1024; keepalive_requests 1000000000; }}"
        );
    }
    let fields = |directive: &str| {
        format!(
            "{directive} Host $http_host; {directive} X-Forwarded-For $proxy_add_x_forwarded_for; \
             {directive} X-Forwarded-Proto $scheme; {directive} X-Forwarded-Host $http_host; \
             {directive} X-Forwarded-Port $server_port; {directive} X-Request-ID $request_id;"
        )
    };
    let deny = "location ~* ^/metrics(/|$) { return 403; } location ~* /metrics/?$ { return 403; }";
    for listen in [
        format!("{}", setup.plain),
        format!("{} ssl http2", setup.tls),
    ] {
        let _ = writeln!(
            text,
            "server {{ listen 127.0.0.1:{listen} backlog=4096; {deny}\n{} \
             proxy_set_header Connection $connection_header; proxy_set_header Upgrade $http_upgrade;",
            fields("proxy_set_header")
        );
        for pool in &setup.pools {
            let (prefix, name) = (pool.prefix, pool.name);
            let _ = writeln!(text, "location {prefix} {{ proxy_pass http://{name}; }}");
        }
        text.push_str("}\n");
    }
    let _ = writeln!(
        text,
        "server {{ listen 127.0.0.1:{} ssl http2 backlog=4096; {deny}\n{}\n\
         location /bench.Silent/ {{ grpc_pass grpc://silent; }} location / {{ grpc_pass grpc://echo; }} }}\n}}",
        setup.grpc,
        fields("grpc_set_header")
    );
    text
}
