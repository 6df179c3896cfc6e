//! Configurations: a text, as an operator may have left it.
//!
//! Promises: nothing panics or takes long, a text is refused with a problem that can be shown or gives a
//! configuration that routes can be built from.
#![no_main]

use gateway_fuzz::config::model::ListenerId;
use gateway_fuzz::config::{Severity, Source, parse, render};
use gateway_fuzz::route::table::{Query, RouteTable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let source = Source {
        name: "routes.yaml".to_owned(),
        text: text.to_owned(),
    };
    let env = |name: &str| match name {
        "HTTP_PORT" => Some("8080".to_owned()),
        "EMPTY" => Some(String::new()),
        "LIST" => Some("[1, 2]".to_owned()),
        _ => None,
    };
    let checked = parse(&source, &env);
    let failed = checked
        .problems
        .iter()
        .any(|p| p.severity == Severity::Error);
    assert_eq!(
        checked.config.is_none(),
        failed,
        "refused without a word, or taken with an error"
    );
    let shown = render(&source, &checked.problems, false);
    assert_eq!(shown.is_empty(), checked.problems.is_empty());
    let Some(config) = checked.config else {
        return;
    };
    let table = RouteTable::build(&config);
    for listener in 0..config.listeners.len() {
        let on = ListenerId(listener as u16);
        for path in ["/", "/ping", "/api/x"] {
            let query = Query {
                host: "example.com",
                path,
                method: "GET",
                header: &|_, _| false,
            };
            if let Some(route) = table.find(on, &query) {
                assert!(config.routes[route.0 as usize].on.contains(&on));
            }
        }
    }
});
