//! Does the command line say what is wrong with a file, where, and what to do about it?

use e2e::gateway::{check, command};

const GOOD: &str = r#"
listeners:
  http:  { bind: "127.0.0.1:0" }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: 8080-8089 }
routes:
  - { path: /, to: app }
"#;

#[test]
fn a_good_file_is_accepted() {
    let (code, said) = check(GOOD);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_bad_file_is_refused_with_place_reason_and_hint() {
    for (what, from, to, line, words) in [
        (
            "unknown key",
            "ports: 8080-8089",
            "port: 8080-8089",
            6,
            &["port", "ports"][..],
        ),
        (
            "misspelt key",
            "ports: 8080-8089",
            "ports: 8080-8089, balence: round-robin",
            6,
            &["balence", "balance"],
        ),
        ("unknown pool", "to: app", "to: apps", 8, &["apps", "app"]),
        ("range upside down", "8080-8089", "8089-8080", 6, &["8089"]),
        (
            "port beyond the last",
            "8080-8089",
            "8080-70000",
            6,
            &["70000"],
        ),
        (
            "unknown listener",
            "to: app }",
            "to: app, on: [htps] }",
            8,
            &["htps", "https"],
        ),
        (
            "unknown balance",
            "8080-8089 }",
            "8080-8089, balance: fair }",
            6,
            &["fair"],
        ),
        (
            "time without a unit",
            "8080-8089 }",
            "8080-8089, hold: 5 }",
            6,
            &["5"],
        ),
        ("path without a slash", "path: /", "path: x", 8, &["x"]),
        (
            "missing certificate",
            "<dir>/edge.pem",
            "<dir>/gone.pem",
            4,
            &["gone.pem"],
        ),
        (
            "key of another certificate",
            "<dir>/edge.key",
            "<dir>/other.key",
            4,
            &["key"],
        ),
        (
            "no address",
            "bind: \"127.0.0.1:0\" }\n  https",
            "bind: \"nowhere\" }\n  https",
            3,
            &["nowhere"],
        ),
    ] {
        assert!(GOOD.contains(from), "{what}");
        let (code, said) = check(&GOOD.replace(from, to));
        assert_eq!(code, 1, "{what}: {said}");
        assert!(
            said.contains(&format!(":{line}:")),
            "{what}: line {line} is not named:\n{said}"
        );
        for word in words {
            assert!(
                said.contains(word),
                "{what}: `{word}` is not named:\n{said}"
            );
        }
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let bad = GOOD
        .replace("to: app", "to: nowhere")
        .replace("8080-8089", "8089-8080");
    let (code, said) = check(&bad);
    assert_eq!(code, 1);
    assert!(said.contains(":6:") && said.contains(":8:"), "{said}");
}

#[test]
fn equal_routes_are_a_problem() {
    let (code, said) = check(&format!("{GOOD}  - {{ path: /, to: app }}\n"));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(":9:"), "{said}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    for text in [
        "listeners: [",
        "\t- x",
        "listeners: { http: { bind: \":80\" }",
        "",
        "42",
        "\u{0}",
    ] {
        let (code, said) = check(text);
        assert_eq!(code, 1, "{text:?}: {said}");
        assert!(
            !said.is_empty() && !said.contains("panicked"),
            "{text:?}: {said}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    for words in [
        &["check", "/nowhere/routes.yaml"][..],
        &["run", "-c", "/nowhere/routes.yaml"][..],
    ] {
        let output = command().args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("/nowhere/routes.yaml"), "{said}");
    }
}

#[test]
fn a_gateway_does_not_start_on_a_bad_file() {
    let dir = e2e::TempDir::new();
    let file = dir.write("routes.yaml", "listeners: {}\n");
    let output = command().args(["run", "-c"]).arg(file).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = e2e::TempDir::new();
    let text = format!(
        "listeners:\n  http: {{ bind: \"127.0.0.1:{port}\", redirect_https: none }}\npools:\n  app: {{ ports: 8080 }}\nroutes:\n  - {{ path: /, to: app }}\n"
    );
    let file = dir.write("routes.yaml", &text);
    let output = command().args(["run", "-c"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&port.to_string()), "{said}");
    assert!(said.contains("routes.yaml:2:17"), "its place: {said}");
    assert!(said.contains("ss -ltnp"), "who has it: {said}");
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for words in [&[][..], &["fly"][..], &["run"][..], &["check"][..]] {
        let output = command()
            .args(words)
            .env_remove("HOME")
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(1 | 2)), "{words:?}: {code:?}");
    }
}

#[test]
fn editors_get_a_schema_without_any_file() {
    let said = command()
        .args(["check", "--schema"])
        .current_dir(std::env::temp_dir())
        .output()
        .expect("portcullis");
    assert!(said.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let pool = &schema["properties"]["pools"]["additionalProperties"]["properties"];
    assert!(
        pool["hold"]["description"]
            .as_str()
            .is_some_and(|text| text.contains("Default: 30s")),
        "{pool}"
    );
}
