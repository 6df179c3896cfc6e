//! Does `portcullis certs` tell beforehand what clients would say?

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::gateway::command;
use e2e::{Authority, Leaf, TempDir};
use serde_json::Value;

/// What was said: exit code, standard output and standard error.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn certs(dir: &Path, arguments: &[&str]) -> Said {
    let output = command()
        .current_dir(dir)
        .env_remove("SSL_CERT_FILE")
        .arg("certs")
        .args(arguments)
        .output()
        .expect("the binary can be started");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn json(dir: &Path, arguments: &[&str]) -> (i32, Value) {
    let said = certs(dir, &[arguments, &["--json"]].concat());
    let parsed = serde_json::from_str(&said.out);
    let value = parsed.unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err));
    (said.code, value)
}

/// Which clients trust the first bundle.
fn trusting(found: &Value) -> Vec<String> {
    let clients = found["bundles"][0]["clients"].as_array().unwrap();
    let trusting = clients.iter().filter(|client| client["trusted"] == true);
    trusting
        .map(|client| client["client"].as_str().unwrap().to_owned())
        .collect()
}

/// A server's, valid from the beginning of this year to that of the next: no client minds.
fn leaf<'n>(names: &'n [&'n str]) -> Leaf<'n> {
    let days = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400;
    let year =
        (rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(days * 86_400)).year();
    Leaf {
        from: year,
        until: (year + 1, 2, 1),
        ..Leaf::server(names)
    }
}

struct World {
    dir: TempDir,
    root: Authority,
}

impl World {
    fn new() -> World {
        let (dir, root) = (TempDir::new(), Authority::new("Test Root"));
        dir.write("ca.pem", &root.pem);
        World { dir, root }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

const ALL: [&str; 3] = ["landscape-client", "Go agent", "browser"];

#[test]
fn a_good_bundle_is_trusted_by_everybody() {
    let world = World::new();
    let between = world.root.below("Test Intermediate");
    let good = between.issue(&leaf(&["a.test", "*.b.test", "127.0.0.1"]));
    let bundle = format!("{}{}{}", good.chain, between.pem, good.key);
    world.dir.write("good.pem", &bundle);
    for name in ["a.test", "x.b.test", "127.0.0.1"] {
        let (code, found) = json(
            world.path(),
            &["good.pem", "--ca", "ca.pem", "--name", name],
        );
        assert_eq!(
            (code, trusting(&found)),
            (0, ALL.map(str::to_owned).into()),
            "{found:#}"
        );
        let bundle = &found["bundles"][0];
        assert_eq!(
            (&found["trusted"], &bundle["key_matches"]),
            (&true.into(), &true.into())
        );
        assert_eq!(bundle["chain"][0]["subject"], "CN=a.test");
        assert_eq!(bundle["chain"][1]["authority"], true);
        assert_eq!(bundle["chain"][0]["key"]["ecdsa"], 256);
    }
    let said = certs(world.path(), &["good.pem", "--ca", "ca.pem"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for part in [
        "CN=a.test",
        "a.test *.b.test 127.0.0.1",
        "days left",
        "ECDSA P-256",
        "belongs to certificate 1",
        "ends at `CN=Test Root`, which is in ca.pem",
        "asked for `a.test`",
        "every client would trust it",
    ] {
        assert!(said.out.contains(part), "{part} in\n{}", said.out);
    }
    let (code, found) = json(
        world.path(),
        &["good.pem", "--ca", "ca.pem", "--name", "c.test"],
    );
    assert_eq!((code, trusting(&found)), (1, vec![]), "{found:#}");
}

#[test]
fn what_is_wrong_with_a_bundle_is_told_with_its_fix() {
    let world = World::new();
    let between = world.root.below("Test Intermediate");
    let issued = |leaf: &Leaf<'_>| {
        let issued = world.root.issue(leaf);
        format!("{}{}", issued.chain, issued.key)
    };
    let good = between.issue(&leaf(&["a.test"]));
    let nameless = Leaf {
        common_name: "a.test",
        ..leaf(&[])
    };
    let named = leaf(&["a.test"]);
    let another = world.root.issue(&named);
    for (what, bundle, trusted_by, why) in [
        (
            "no intermediate",
            format!("{}{}", good.chain, good.key),
            &[][..],
            "the certificate of `CN=Test Intermediate` is missing: append it to the file",
        ),
        (
            "the wrong order",
            format!(
                "{}{}{}{}",
                good.chain, world.root.pem, between.pem, good.key
            ),
            &ALL,
            "did not issue certificate 1",
        ),
        (
            "another key",
            format!("{}{}", another.chain, good.key),
            &ALL,
            "does not belong to the certificate",
        ),
        (
            "the end",
            issued(&Leaf {
                from: 2020,
                until: (2021, 1, 1),
                ..named
            }),
            &[],
            "`CN=a.test` has expired",
        ),
        (
            "a client's",
            issued(&Leaf {
                client: true,
                ..named
            }),
            &[],
            "extended key usage serverAuth",
        ),
        (
            "no name but the common one",
            issued(&nameless),
            &ALL[..1],
            "its common name is not looked at",
        ),
        (
            "three years",
            issued(&Leaf {
                from: named.from - 1,
                until: (named.from + 2, 1, 1),
                ..named
            }),
            &ALL[..2],
            "at most 825 are taken",
        ),
    ] {
        world.dir.write("bundle.pem", &bundle);
        let arguments = ["bundle.pem", "--ca", "ca.pem", "--name", "a.test"];
        let (code, found) = json(world.path(), &arguments);
        let text = certs(world.path(), &arguments).out;
        assert_eq!(code, 1, "{what}: {text}");
        assert_eq!(trusting(&found), trusted_by, "{what}: {text}");
        assert!(text.contains(why), "{what}: {why} in\n{text}");
        assert!(
            text.contains("not every client would trust it"),
            "{what}: {text}"
        );
    }
}

#[test]
fn who_signs_himself_is_told_what_to_do_instead() {
    let world = World::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap();
    world
        .dir
        .write("own.pem", &format!("{}{}", own.pem(), key.serialize_pem()));
    let said = certs(world.path(), &["own.pem", "--ca", "ca.pem"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("make an authority of your own"),
        "{}",
        said.out
    );
}

#[test]
fn the_key_may_lie_elsewhere_or_not_be_there() {
    let world = World::new();
    let good = world.root.issue(&leaf(&["a.test"]));
    world.dir.write("chain.pem", &good.chain);
    world.dir.write("the.key", &good.key);
    let arguments = ["chain.pem", "--ca", "ca.pem"];
    let said = certs(world.path(), &arguments);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(
        said.out.contains("not looked at: name it with --key"),
        "{}",
        said.out
    );
    let (code, found) = json(
        world.path(),
        &[&arguments[..], &["--key", "the.key"]].concat(),
    );
    assert_eq!(
        (code, &found["bundles"][0]["key_matches"]),
        (0, &true.into())
    );
}

#[test]
fn a_configuration_stands_for_all_that_it_names() {
    let world = World::new();
    for name in ["a", "b"] {
        let host = format!("{name}.test");
        let issued = world.root.issue(&leaf(&[&host]));
        world.dir.write(
            &format!("{name}.pem"),
            &format!("{}{}", issued.chain, issued.key),
        );
    }
    let yaml = r#"
listeners:
  one: { bind: ":1", tls: { certificates: [a.pem, b.pem] } }
  two: { bind: ":2", tls: { certificates: [a.pem] } }
pools: {}
routes: [{ path: /, deny: 403 }]
"#;
    world.dir.write("routes.yaml", yaml);
    let (code, found) = json(world.path(), &["routes.yaml", "--ca", "ca.pem"]);
    assert_eq!(code, 0, "{found:#}");
    let names: Vec<_> = found["bundles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bundle| &bundle["name"])
        .collect();
    assert_eq!(names, ["a.test", "b.test"]);
    world.dir.write("b.pem", "");
    assert_eq!(
        certs(world.path(), &["routes.yaml", "--ca", "ca.pem"]).code,
        1
    );
}

#[test]
fn the_system_s_authorities_are_asked_where_no_other_is_named() {
    let world = World::new();
    let good = world.root.issue(&leaf(&["a.test"]));
    world
        .dir
        .write("good.pem", &format!("{}{}", good.chain, good.key));
    let run = |file: &str| {
        let mut command = command();
        command.current_dir(world.path()).env("SSL_CERT_FILE", file);
        let output = command.args(["certs", "good.pem"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = run("ca.pem");
    assert_eq!(code, Some(0), "{said}");
    world.dir.write("other.pem", &Authority::new("Another").pem);
    let (code, said) = run("other.pem");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("neither in the file nor in other.pem"),
        "{said}"
    );
    let (code, said) = run("nowhere.pem");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nowhere.pem"), "{said}");
}
