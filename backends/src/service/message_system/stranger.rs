//! What is said to somebody without an identity, and who gets one?

use tracing::{info, warn};

use super::keys::Keys;
use super::tally::Tally;
use crate::bpickle::Value;
use crate::domain::exchange::{Request, Said, say};
use crate::domain::register::{Decision, Register, decide};
use crate::domain::types;
use crate::error::Error;
use crate::settings::MessageSystem;
use crate::store::{self, Tx};

/// From this message API on an agent understands that too many wait.
const MAX_PENDING_API: (u32, u32) = (3, 8);

/// Somebody without an identity: only a registration is taken, and only one, so that nobody makes many computers in one
/// request, nor holds their account for long. Reports of an identity that is lost may come here, too; nobody knows whose they
/// are.
pub(super) async fn stranger(
    tx: &Tx<'_>,
    settings: &MessageSystem,
    keys: &Keys,
    request: &Request,
    tally: &mut Tally,
) -> Result<Vec<Value>, Error> {
    let mut messages = Vec::new();
    let said = request.registration(settings.messages_max);
    tally.beside(request, said);
    match said.map(registration) {
        None => {}
        Some(Ok(register)) => {
            tally.stored += 1;
            let (message, decision) = registered(tx, keys, request, &register).await?;
            tally.decisions.push(decision);
            messages.push(message);
        }
        Some(Err(why)) => {
            warn!(why, "a registration that cannot be read");
            tally.invalid += 1;
            tally.decisions.push("invalid");
        }
    }
    let wanted = types::digest(types::taken(false));
    let differs = request.types_digest.as_deref() != Some(wanted.as_slice());
    // The set-up program does not compare types, and wants its identity alone.
    if differs && request.sequence.is_some() && messages.is_empty() {
        messages.push(say::accepted_types(types::taken(false)));
    }
    Ok(messages)
}

/// A registration, or why it is none.
pub(super) fn registration(said: &Said) -> Result<Register, String> {
    let value = said.as_ref().map_err(ToString::to_string)?;
    Register::read(value).map_err(|invalid| invalid.to_string())
}

async fn registered(
    tx: &Tx<'_>,
    keys: &Keys,
    request: &Request,
    register: &Register,
) -> Result<(Value, &'static str), Error> {
    let account = keys.locked(tx, register).await?;
    let decision = decide(account.as_ref(), register.key.as_deref());
    let accepted = decision == Decision::Accept;
    let account = match account {
        Some(account) if decision != Decision::UnknownAccount => account,
        _ => {
            info!(account = register.account, "registration refused");
            return Ok((say::registration("unknown-account"), "unknown_account"));
        }
    };
    let repeated = store::computer::repeated(tx, &account, register, accepted).await?;
    if !accepted && repeated.is_none() {
        let pending = store::computer::pending(tx, account.id).await?;
        if pending >= account.pending_max.into() {
            warn!(pending, "registration refused: too many wait");
            // Older agents do not know the word.
            let known = understands_max_pending(request.client_api.as_deref());
            let info = if known {
                "max-pending-computers"
            } else {
                "unknown-account"
            };
            return Ok((say::registration(info), "max_pending"));
        }
    }
    let ids = store::computer::register(tx, &account, register, accepted, repeated).await?;
    info!(
        computer = ids.id,
        accepted,
        again = repeated.is_some(),
        "registered"
    );
    let decision = if accepted { "accepted" } else { "pending" };
    Ok((say::set_id(ids.secure, ids.insecure), decision))
}

/// The set-up program names no version; it is of the time when the word was known.
fn understands_max_pending(api: Option<&str>) -> bool {
    let Some((major, minor)) = api.and_then(|api| api.split_once('.')) else {
        return true;
    };
    let version = (
        major.parse().unwrap_or(0),
        minor.parse::<u32>().unwrap_or(0),
    );
    version >= MAX_PENDING_API
}

#[cfg(test)]
mod tests {
    use super::understands_max_pending;

    #[test]
    fn an_old_agent_is_not_told_a_word_it_does_not_know() {
        for (api, known) in [
            (None, true),
            (Some("3.8"), true),
            (Some("3.10"), true),
            (Some("4.0"), true),
            (Some("3.7"), false),
            (Some("x.y"), false),
        ] {
            assert_eq!(understands_max_pending(api), known, "{api:?}");
        }
    }
}
