//! As whom do we run? From root to a user without rights.
//!
//! Promises: groups go before the user, nothing of root's is left but the right to low ports where it is asked for, and no
//! program that we start gets more. Who is that user already stays as he is.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use super::ConfineError;

/// Becomes the user; its name, or `None` where we are that user already.
pub(super) fn become_user(
    name: &str,
    group: Option<&str>,
    low_ports: bool,
) -> Result<Option<String>, ConfineError> {
    let found = User::from_name(name).map_err(call("looking the user up"))?;
    let user = found.ok_or_else(|| ConfineError::NoUser(name.to_owned()))?;
    let gid = match group {
        None => user.gid,
        Some(group) => group_of(group)?,
    };
    if Uid::effective() == user.uid {
        return Ok(None);
    }
    if !Uid::effective().is_root() {
        return Err(ConfineError::NotRoot(name.to_owned()));
    }
    let keeps = |on| set_keep_capabilities(on).map_err(call("PR_SET_KEEPCAPS"));
    keeps(low_ports)?;
    let c_name = CString::new(name).map_err(|_| ConfineError::NoUser(name.to_owned()))?;
    initgroups(&c_name, gid).map_err(call("initgroups"))?;
    setgid(gid).map_err(call("setgid"))?;
    setuid(user.uid).map_err(call("setuid"))?;
    if low_ports {
        keep_low_ports().map_err(call("capabilities"))?;
        keeps(false)?;
    }
    set_no_new_privs(true).map_err(call("PR_SET_NO_NEW_PRIVS"))?;
    Ok(Some(name.to_owned()))
}

fn group_of(name: &str) -> Result<Gid, ConfineError> {
    let found = Group::from_name(name).map_err(call("looking the group up"))?;
    let group = found.ok_or_else(|| ConfineError::NoGroup(name.to_owned()))?;
    Ok(group.gid)
}

/// Of all that root may, this alone; a program that we start in our place may, too.
fn keep_low_ports() -> rustix::io::Result<()> {
    let bind = CapabilitySet::NET_BIND_SERVICE;
    set_capabilities(
        None,
        CapabilitySets {
            effective: bind,
            permitted: bind,
            inheritable: bind,
        },
    )?;
    configure_capability_in_ambient_set(bind, true)
}

fn call<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> ConfineError {
    move |error| ConfineError::Call(what, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_by_name() {
        let user = become_user("nobody-of-that-name", None, false).unwrap_err();
        assert!(matches!(user, ConfineError::NoUser(name) if name == "nobody-of-that-name"));
        let group = group_of("no-such-group").unwrap_err();
        assert!(matches!(group, ConfineError::NoGroup(_)));
    }
}
