//! The configuration of Portcullis: every limit, deadline and policy is its default.

use std::fmt::Write as _;
use std::path::Path;

use super::{Command, Setup, words, write};

/// See [`super::Proxy::prepare`].
pub fn prepare(setup: &Setup, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("routes.yaml");
    write(&file, &text(setup, dir))?;
    Ok(Command {
        run: words(&format!("run -c {}", file.display())),
        check: words(&format!("check {}", file.display())),
        ..Command::default()
    })
}

fn text(setup: &Setup, dir: &Path) -> String {
    let log = match setup.logs {
        true => format!("{{ file: {}/access.log }}", dir.display()),
        false => "off".to_owned(),
    };
    let Setup {
        plain,
        tls,
        grpc,
        admin,
        echo,
        silent,
        threads,
        ..
    } = setup;
    let certificate = setup.certificate.both.display();
    let mut text = format!(
        "threads: {threads}\n\
         admin: {{ bind: \"127.0.0.1:{admin}\" }}\n\
         access_log: {log}\n\
         listeners:\n\
         \x20 plain: {{ bind: \"127.0.0.1:{plain}\", redirect_https: none }}\n\
         \x20 tls: {{ bind: \"127.0.0.1:{tls}\", tls: {{ certificates: [{certificate}] }} }}\n\
         \x20 grpc: {{ bind: \"127.0.0.1:{grpc}\", tls: {{ certificates: [{certificate}] }}, protocol: grpc }}\n\
         pools:\n\
         \x20 echo: {{ ports: {echo}, protocol: h2c }}\n\
         \x20 silent: {{ ports: {silent}, protocol: h2c }}\n"
    );
    let mut routes = String::from(
        "routes:\n\
         \x20 - { path: /, to: echo, on: [grpc] }\n\
         \x20 - { path: /bench.Silent, to: silent, on: [grpc] }\n",
    );
    for pool in &setup.pools {
        let (first, last) = pool.ports;
        let cap = setup.in_flight_max.map_or_else(String::new, |most| {
            format!(", worker_in_flight_max: {most}")
        });
        let _ = writeln!(text, "  {}: {{ ports: {first}-{last}{cap} }}", pool.name);
        let _ = writeln!(
            routes,
            "  - {{ path: {}, to: {}, on: [plain, tls] }}",
            pool.prefix, pool.name
        );
    }
    text + &routes
}
