//! The configuration of Apache httpd (event MPM). It has no gRPC here: `mod_proxy_http2` is experimental in 2.4.

use std::fmt::Write as _;
use std::path::Path;

use super::{Command, Setup, words, write};

const MODULES: &[&str] = &[
    "mpm_event",
    "authz_core",
    "headers",
    "http2",
    "log_config",
    "lbmethod_byrequests",
    "proxy",
    "proxy_balancer",
    "proxy_http",
    "proxy_wstunnel",
    "setenvif",
    "slotmem_shm",
    "socache_shmcb",
    "ssl",
    "status",
    "unique_id",
];
const MODULES_DIR: &str = "/usr/lib/apache2/modules";

/// See [`super::Proxy::prepare`].
pub fn prepare(setup: &Setup, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("apache.conf");
    write(&file, &text(setup, dir))?;
    Ok(Command {
        run: words(&format!("-DFOREGROUND -f {}", file.display())),
        check: words(&format!("-t -f {}", file.display())),
        ..Command::default()
    })
}

fn text(setup: &Setup, dir: &Path) -> String {
    let at = dir.display();
    let mut text = String::new();
    // What is a module in one build is built into another.
    for module in MODULES {
        let _ = writeln!(
            text,
            "<IfModule !mod_{module}.c>\nLoadModule {module}_module {MODULES_DIR}/mod_{module}.so\n</IfModule>"
        );
    }
    let _ = write!(
        text,
        "ServerRoot {at}\nDefaultRuntimeDir {at}\nPidFile {at}/apache.pid\nServerName bench.example\n\
         User www-data\nGroup www-data\n\
         ErrorLog {at}/error.log\nLogLevel error\nServerTokens Prod\n\
         ServerLimit 1\nStartServers 1\nThreadLimit 128\nThreadsPerChild 128\nMaxRequestWorkers 128\n\
         AsyncRequestWorkerFactor 200\nMinSpareThreads 1\nMaxSpareThreads 128\nMaxConnectionsPerChild 0\n\
         ListenBacklog 4096\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 75\nTimeout 3600\n\
         ExtendedStatus On\nSSLSessionCache shmcb:{at}/sessions(512000)\nProxyPreserveHost On\n\
         RequestHeader set X-Request-ID %{{UNIQUE_ID}}e\n"
    );
    if setup.logs {
        let _ = write!(
            text,
            "LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O \\\"%{{Referer}}i\\\" \\\"%{{User-Agent}}i\\\"\" combined\n\
             CustomLog {at}/access.log combined\nBufferedLogs On\n"
        );
    }
    for pool in &setup.pools {
        let _ = writeln!(text, "<Proxy balancer://{}>", pool.name);
        for port in pool.range() {
            let _ = writeln!(
                text,
                "BalancerMember http://127.0.0.1:{port} connectiontimeout=3"
            );
        }
        text.push_str("</Proxy>\n");
    }
    let _ = writeln!(
        text,
        "Listen 127.0.0.1:{0}\n<VirtualHost 127.0.0.1:{0}>\n<Location />\nSetHandler server-status\n\
         </Location>\n</VirtualHost>",
        setup.admin
    );
    let tls = format!(
        "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\nProtocols h2 http/1.1\n",
        setup.certificate.chain.display(),
        setup.certificate.key.display()
    );
    for (port, scheme, tls) in [(setup.plain, "http", ""), (setup.tls, "https", &tls)] {
        let _ = write!(
            text,
            "Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n{tls}\
             <LocationMatch \"(?i)(^/metrics(/|$)|/metrics/?$)\">\nRequire all denied\n</LocationMatch>\n\
             RequestHeader set X-Forwarded-Proto {scheme}\nRequestHeader set X-Forwarded-Port {port}\n"
        );
        for pool in &setup.pools {
            let slash = if pool.prefix == "/" { "/" } else { "" };
            let _ = writeln!(
                text,
                "ProxyPass {} balancer://{}{}{slash}",
                pool.prefix,
                pool.name,
                pool.prefix.trim_end_matches('/')
            );
        }
        text.push_str("</VirtualHost>\n");
    }
    text
}
