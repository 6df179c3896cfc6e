//! How is a rehearsal told to people?

use std::fmt::Write as _;

use super::{Bundle, Rehearsal};

/// The whole.
pub(super) fn text(rehearsal: &Rehearsal) -> String {
    let mut out = String::new();
    for found in &rehearsal.bundles {
        bundle(&mut out, found, &rehearsal.authorities);
    }
    for list in &rehearsal.lists {
        let left = match list.hours_left {
            hours if hours < 0 => "run out".to_owned(),
            hours => format!("{} days {} hours left", hours / 24, hours % 24),
        };
        let _ = writeln!(
            out,
            "{}\n   list of what `{}` has revoked ({left})",
            list.file, list.issuer
        );
        if let Some(warning) = &list.warning {
            let kind = if list.refuses { "error" } else { "warning" };
            let _ = writeln!(out, "   {kind}: {warning}");
        }
    }
    let all = if rehearsal.trusted {
        "every client would trust it"
    } else if rehearsal.bundles.iter().all(Bundle::is_good) {
        "clients with certificates would be refused"
    } else {
        "not every client would trust it"
    };
    let _ = writeln!(out, "{all}");
    out
}

fn bundle(out: &mut String, bundle: &Bundle, authorities: &str) {
    let _ = writeln!(out, "{}", bundle.file);
    for (at, facts) in bundle.chain.iter().enumerate() {
        let mut line = |what: &str, value: &str| {
            let _ = writeln!(out, "     {what:<12} {value}");
        };
        let left = match facts.days_left {
            days if days < 0 => "expired".to_owned(),
            days => format!("{days} days left"),
        };
        line(&format!("{}. subject", at + 1), &facts.subject);
        line("   issuer", &facts.issuer);
        if at == 0 {
            let names = if facts.names.is_empty() {
                "none".to_owned()
            } else {
                facts.names.join(" ")
            };
            line("   names", &names);
        }
        line(
            "   valid",
            &format!("{} to {} ({left})", facts.from, facts.until),
        );
        line(
            "   key",
            &format!("{}, signed with {}", facts.key, facts.signature),
        );
        line("   SHA-256", &facts.fingerprint);
    }
    let key = match bundle.key_matches {
        Some(true) => "belongs to certificate 1",
        Some(false) => "does not belong to certificate 1",
        None if !bundle.problems.is_empty() => "not looked at, because of the error",
        None => "not looked at: name it with --key",
    };
    let _ = writeln!(out, "   key   {key}");
    let _ = writeln!(out, "   chain {}", bundle.end);
    for problem in &bundle.problems {
        let _ = writeln!(out, "   error: the gateway does not show it: {problem}");
    }
    for warning in &bundle.warnings {
        let _ = writeln!(out, "   warning: {warning}");
    }
    let _ = writeln!(
        out,
        "   asked for `{}` by clients that trust {authorities}",
        bundle.name
    );
    for verdict in &bundle.clients {
        let said = if verdict.trusted {
            "trusts it"
        } else {
            "refuses"
        };
        let _ = writeln!(out, "     {:<17} {said}", verdict.client);
        for objection in &verdict.objections {
            let _ = writeln!(
                out,
                "       - {}\n         ({})",
                objection.what, objection.rule
            );
        }
    }
    let _ = writeln!(out);
}
