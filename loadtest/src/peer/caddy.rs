//! The configuration of Caddy.

use std::fmt::Write as _;
use std::path::Path;

use super::{Command, Setup, words, write};

/// See [`super::Proxy::prepare`].
pub fn prepare(setup: &Setup, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("Caddyfile");
    write(&file, &text(setup, dir))?;
    let common = format!("--config {} --adapter caddyfile", file.display());
    Ok(Command {
        run: words(&format!("run {common}")),
        check: words(&format!("validate {common}")),
        env: vec![
            ("GOMAXPROCS".to_owned(), setup.threads.to_string()),
            ("HOME".to_owned(), dir.display().to_string()),
            ("XDG_DATA_HOME".to_owned(), dir.display().to_string()),
            ("XDG_CONFIG_HOME".to_owned(), dir.display().to_string()),
        ],
        ..Command::default()
    })
}

fn text(setup: &Setup, dir: &Path) -> String {
    let mut text = format!(
        "{{\n  admin 127.0.0.1:{}\n  auto_https off\n  skip_install_trust\n  servers {{\n    metrics\n  }}\n\
         \x20 log {{\n    output stderr\n    level ERROR\n  }}\n}}\n",
        setup.admin
    );
    let log = match setup.logs {
        true => format!(
            "  log {{\n    output file {}/access.log {{\n      roll_disabled\n    }}\n    level INFO\n  }}\n",
            dir.display()
        ),
        false => String::new(),
    };
    let tls = format!(
        "  tls {} {}\n",
        setup.certificate.chain.display(),
        setup.certificate.key.display()
    );
    let fields = "header_up X-Forwarded-Port {http.request.port}\n    header_up X-Request-ID {http.request.uuid}";
    let deny = "  @metrics path_regexp (?i)(^/metrics(/|$)|/metrics/?$)\n  respond @metrics 403\n";
    for (scheme, port, tls) in [("http", setup.plain, ""), ("https", setup.tls, &tls)] {
        let _ = write!(
            text,
            "{scheme}://:{port} {{\n  bind 127.0.0.1\n{tls}{log}{deny}"
        );
        for pool in &setup.pools {
            let matcher = match pool.prefix {
                "/" => String::new(),
                prefix => {
                    let name = pool.name;
                    let _ = writeln!(text, "  @{name} path {prefix} {prefix}/*");
                    format!("@{name}")
                }
            };
            let _ = write!(text, "  handle {matcher} {{\n  reverse_proxy");
            for port in pool.range() {
                let _ = write!(text, " 127.0.0.1:{port}");
            }
            let _ = write!(
                text,
                " {{\n    lb_policy round_robin\n    {fields}\n    transport http {{\n      keepalive 75s\n      \
                 keepalive_idle_conns_per_host 1024\n    }}\n  }}\n  }}\n"
            );
        }
        text.push_str("}\n");
    }
    let _ = write!(
        text,
        "https://:{} {{\n  bind 127.0.0.1\n{tls}{log}{deny}  @silent path /bench.Silent/*\n\
         \x20 handle @silent {{\n    reverse_proxy h2c://127.0.0.1:{} {{\n    {fields}\n    }}\n  }}\n\
         \x20 handle {{\n    reverse_proxy h2c://127.0.0.1:{} {{\n    {fields}\n    }}\n  }}\n}}\n",
        setup.grpc, setup.silent, setup.echo
    );
    text
}
