//! What may a route name?

use std::collections::HashMap;

use super::{listeners, pools};
use crate::config::model::{Changes, Listener, ListenerId, Protocol, RedirectHttps};

/// What routes may name.
pub(super) struct Known<'k> {
    pub listeners: &'k [listeners::Draft],
    pub pools: &'k [pools::Draft],
    pub deny_segments: &'k [String],
    /// What the file's top changes about requests and responses.
    pub request_changes: &'k Changes,
    pub response_changes: &'k Changes,
}

/// Names to positions, made once.
pub(super) struct Names<'k> {
    pub known: &'k Known<'k>,
    pub listeners: HashMap<&'k str, usize>,
    pub pools: HashMap<&'k str, usize>,
    /// What a route without `on` serves.
    pub everywhere: Vec<ListenerId>,
}

/// HTTPS listeners, and plain ones that do not redirect.
fn everywhere(listeners: &[listeners::Draft]) -> Vec<ListenerId> {
    let serves = |listener: &Listener| {
        listener.protocol == Protocol::Http
            && (listener.tls.is_some() || listener.redirect_https == RedirectHttps::None)
    };
    let found = listeners.iter().enumerate();
    let found = found.filter(|(_, draft)| draft.listener.as_ref().is_some_and(serves));
    found.map(|(at, _)| listener_id(at)).collect()
}

/// The id of the listener at a position.
pub(super) fn listener_id(at: usize) -> ListenerId {
    ListenerId(u16::try_from(at).expect("listeners are fewer than LISTENERS_MAX"))
}

impl<'k> Names<'k> {
    /// Looks every name up once.
    pub fn new(known: &'k Known<'k>) -> Names<'k> {
        let listeners = known.listeners.iter().enumerate();
        let pools = known.pools.iter().enumerate();
        Names {
            known,
            listeners: listeners
                .map(|(at, draft)| (draft.name.as_str(), at))
                .collect(),
            pools: pools.map(|(at, draft)| (draft.name.as_str(), at)).collect(),
            everywhere: everywhere(known.listeners),
        }
    }
}
