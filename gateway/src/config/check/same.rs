//! Could two routes claim the same request?
//!
//! The most specific route wins. Two that are equally specific and can match the same request
//! would need an order, and the order of the file has no meaning: so they are an error.

use std::collections::HashMap;

use super::routes::Draft;
use crate::config::model::{HeaderMatch, HostMatch, PathMatch, Route};
use crate::config::read::Reader;

/// Most routes of one host and path; they are compared with each other.
const SAME_PATH_MAX: usize = 500;

pub(super) fn check(drafts: &[Draft], reader: &mut Reader) {
    let mut groups: HashMap<(&HostMatch, &PathMatch), Vec<&Route>> = HashMap::new();
    for Draft { route, .. } in drafts {
        let group = groups.entry((&route.host, &route.path)).or_default();
        if group.len() == SAME_PATH_MAX {
            reader.error(
                route.place,
                format!("more than {SAME_PATH_MAX} routes have this host and path"),
                "tell them apart by path",
            );
            return;
        }
        if let Some(other) = group.iter().find(|other| rivals(other, route)) {
            tell(other, route, reader);
        }
        group.push(route);
    }
}

fn tell(first: &Route, later: &Route, reader: &mut Reader) {
    let same = first.methods == later.methods && first.headers == later.headers;
    if same {
        let what = format!(
            "this route is equal to the one on line {}",
            first.place.line
        );
        reader.error(
            later.place,
            what,
            "remove one, or tell them apart by `host`, `method`, `header` or `on`",
        );
    } else {
        let what = format!(
            "a request can match this route and the one on line {} equally well",
            first.place.line
        );
        reader.error(
            later.place,
            what,
            "the order of the file has no meaning: give one of them a further condition",
        );
    }
}

/// Same host and path are given.
fn rivals(one: &Route, other: &Route) -> bool {
    rank(one) == rank(other)
        && one.on.iter().any(|id| other.on.contains(id))
        && (one.methods.is_empty()
            || one
                .methods
                .iter()
                .any(|method| other.methods.contains(method)))
        && compatible(&one.headers, &other.headers)
}

/// How `route::table` orders routes of the same host and path.
fn rank(route: &Route) -> (bool, usize, usize) {
    let exact = route
        .headers
        .iter()
        .filter(|header| header.value.is_some())
        .count();
    (!route.methods.is_empty(), route.headers.len(), exact)
}

/// Can one request meet both sets of conditions?
fn compatible(one: &[HeaderMatch], other: &[HeaderMatch]) -> bool {
    let differs = |a: &HeaderMatch, b: &HeaderMatch| {
        a.name == b.name && a.value.is_some() && b.value.is_some() && a.value != b.value
    };
    !one.iter().any(|a| other.iter().any(|b| differs(a, b)))
}
