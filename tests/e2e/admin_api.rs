//! Can an operator ask and act over the socket, and nobody else?

use std::os::unix::fs::PermissionsExt;

use e2e::scripts::replying;
use e2e::{Edge, Gateway, Message, Raw, Worker};
use serde_json::Value;

fn json(reply: &Message) -> Value {
    let text = reply.text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn edge() -> (Gateway, Worker) {
    let worker = Worker::start(replying(200)).await;
    (Edge::to(&worker).start().await, worker)
}

/// The usual configuration with another `admin`.
async fn with_admin(admin: &str) -> (Gateway, Worker) {
    let worker = Worker::start(replying(200)).await;
    let yaml = format!(
        "admin: {admin}\nlisteners:\n  http: {{ bind: \"127.0.0.1:0\", redirect_https: none }}\npools:\n  app: {{ ports: <app> }}\nroutes:\n  - {{ path: /, to: app }}\n"
    );
    let gateway = Gateway::with(&yaml)
        .ports("app", [worker.port()])
        .start()
        .await;
    (gateway, worker)
}

#[tokio::test]
async fn status_pools_and_workers_are_told_over_the_socket_and_over_tcp() {
    let (gateway, worker) = edge().await;
    let address = format!("127.0.0.1:{}", worker.port());
    for path in ["/v1/status", "/v1/pools", "/v1/workers", "/status"] {
        let over_socket = json(&gateway.ask("GET", path, "", "").await);
        let over_tcp = json(&gateway.admin(path).await);
        for told in [&over_socket, &over_tcp] {
            assert!(told.to_string().contains("app"), "{path}: {told}");
        }
    }
    let workers = json(&gateway.ask("GET", "/v1/workers?pool=app", "", "").await);
    assert_eq!(workers["workers"][0]["address"], address.as_str());
    assert_eq!(workers["workers"][0]["state"], "up");
    assert_eq!(workers["workers"][0]["pool"], "app");
}

#[tokio::test]
async fn refusals_are_json_with_a_fix() {
    let (gateway, _worker) = edge().await;
    for (method, path, status, fix) in [
        ("GET", "/v1/nothing", 404, "/v1/status"),
        ("POST", "/v1/status", 405, "GET"),
        ("GET", "/v1/reload", 405, "POST"),
        ("GET", "/v1/workers?pool=none", 404, "app"),
    ] {
        let reply = gateway.ask(method, path, "", "").await;
        assert_eq!(reply.status(), status, "{method} {path}");
        let told = json(&reply);
        assert!(told["error"].is_string(), "{told}");
        assert!(told["fix"].as_str().unwrap().contains(fix), "{told}");
    }
    let reply = gateway.ask("GET", "/v1/reload", "", "").await;
    assert_eq!(reply.field("allow"), Some("POST"));
}

#[tokio::test]
async fn without_a_token_changes_are_taken_over_the_socket_alone() {
    let (gateway, _worker) = edge().await;
    assert_eq!(
        gateway.ask("POST", "/v1/reload", "", "").await.status(),
        200
    );
    let over_tcp = gateway.admin_with("POST", "/v1/reload", "").await;
    assert_eq!(over_tcp.status(), 403);
    assert!(
        over_tcp.text().contains("token_file"),
        "{}",
        over_tcp.text()
    );
    assert_eq!(
        gateway
            .metric(r#"portcullis_reloads_total{result="done"}"#)
            .await,
        Some(1.0),
        "what was refused was not done"
    );
}

#[tokio::test]
async fn with_a_token_changes_need_it_over_every_door_and_a_reload_takes_a_new_one() {
    let (gateway, _worker) =
        with_admin("{ bind: \"127.0.0.1:0\", token: first-token-of-all }").await;
    let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let post = async |fields: &str| {
        (
            gateway.ask("POST", "/v1/reload", fields, "").await.status(),
            gateway
                .admin_with("POST", "/v1/reload", fields)
                .await
                .status(),
        )
    };
    assert_eq!(post("").await, (401, 401));
    assert_eq!(post(&with("wrong-token-of-all")).await, (401, 401));
    assert_eq!(post(&with("first-token-of-all")).await, (200, 200));
    let reply = gateway.ask("POST", "/v1/reload", "", "").await;
    assert_eq!(reply.field("www-authenticate"), Some("Bearer"));
    assert_eq!(gateway.admin("/v1/status").await.status(), 200);

    let file = gateway.file("token");
    std::fs::write(&file, "second-token-of-all\n").unwrap();
    let named = format!("token_file: {}", file.display());
    gateway
        .reload(|text| text.replace("token: first-token-of-all", &named))
        .await;
    assert_eq!(post(&with("first-token-of-all")).await, (401, 401));
    assert_eq!(post(&with("second-token-of-all")).await, (200, 200));
    std::fs::write(&file, "third-token-of-all\n").unwrap();
    gateway.reload(|text| text).await;
    assert_eq!(post(&with("third-token-of-all")).await, (200, 200));

    std::fs::write(&file, "short\n").unwrap();
    let told = gateway.reload(|text| text).await;
    assert!(told.contains("reload refused"), "{told}");
    assert_eq!(post(&with("short")).await, (401, 401));
    let third = with("third-token-of-all");
    let refused = gateway.ask("POST", "/v1/reload", &third, "").await;
    assert_eq!(refused.status(), 422, "the old token holds");
}

#[tokio::test]
async fn pages_in_a_browser_are_kept_out() {
    let (gateway, _worker) = edge().await;
    let from = "Origin: https://elsewhere.example\r\n";
    let reply = gateway.admin_with("GET", "/v1/status", from).await;
    assert_eq!(reply.status(), 403);
    let mut client = Raw::tcp(gateway.port("admin")).await;
    client
        .send("GET /v1/status HTTP/1.1\r\nHost: rebound.example\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 403);
    // Monitoring asks under whatever name it knows.
    let mut client = Raw::tcp(gateway.port("admin")).await;
    client
        .send("GET /metrics HTTP/1.1\r\nHost: scraped.example\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn the_socket_has_its_permissions_and_goes_with_the_gateway() {
    let (mut gateway, _worker) =
        with_admin("{ socket: <dir>/own.sock, socket_mode: 0600, bind: off }").await;
    let path = gateway.file("own.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!gateway.socket().exists(), "there is no other");
    gateway.terminate();
    assert!(gateway.exit().await.success());
    assert!(!path.exists(), "a gateway that ends removes its socket");
}

#[tokio::test]
async fn a_socket_that_a_killed_gateway_left_is_taken_over_a_live_one_is_not() {
    let dir = e2e::TempDir::new();
    let path = dir.path().join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let admin = format!("{{ socket: {}, bind: off }}", path.display());
    let (_first, _worker) = with_admin(&admin).await;
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    assert_eq!(Raw::over(stream).get("/healthz").await.status(), 200);

    let file = dir.write(
        "second.yaml",
        &format!("admin: {admin}\nlisteners:\n  http: {{ bind: \"127.0.0.1:0\" }}\npools:\n  app: {{ ports: 1025 }}\nroutes:\n  - {{ path: /, to: app }}\n"),
    );
    let mut command = e2e::gateway::command();
    command.arg("run").arg("-c").arg(file);
    let told = e2e::gateway::tell(command).await;
    assert_eq!(told.code, 1);
    assert!(told.err.contains("another process answers"), "{}", told.err);
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    assert_eq!(Raw::over(stream).get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_stranger_makes_nobody_read_a_large_body() {
    let (gateway, _worker) = edge().await;
    let large = "Content-Length: 1000000000\r\n";
    let reply = gateway.admin_with("POST", "/v1/reload", large).await;
    assert_eq!(reply.status(), 403, "before a byte of it came");
    assert_eq!(reply.field("connection"), Some("close"));
}
