//! What may a person do? Three roles, each of which may what the one before it may.

/// The account that is always there. Its administrators may also do what concerns all accounts.
pub const FIRST_ACCOUNT: &str = "standalone";

/// A role. The order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes computers and orders what they do.
    Operator,
    /// Also decides who is let in.
    Administrator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Administrator];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// The role of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The person's number.
    pub id: i64,
    /// Names the person.
    pub email: String,
    /// For people.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// Number of the account.
    pub account: i64,
    /// Its name.
    pub account_name: String,
    /// Its title.
    pub account_title: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_a_name_and_an_order() {
        for role in Role::ALL {
            assert_eq!(Role::of(role.name()), Some(role));
        }
        assert!(Role::Administrator > Role::Operator && Role::Operator > Role::Viewer);
        assert_eq!(Role::of("root"), None);
    }
}
