//! Which registration keys does an exchange need? They are asked for before its transaction begins.
//!
//! A key that nobody moved behind the secrets yet still stands beside its account, and counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bpickle::Value;
use crate::domain::exchange::Request;
use crate::domain::message::type_of;
use crate::domain::register::{Account, Register};
use crate::error::Error;
use crate::secret::Secrets;
use crate::store::{self, Tx};

/// Accounts of one exchange whose keys are asked for; more are of somebody who guesses.
const ACCOUNTS_MAX: usize = 4;

/// The registration keys of the accounts that an exchange names along with a key; None where one has none.
#[derive(Default)]
pub struct Keys(BTreeMap<String, Option<Arc<str>>>);

impl Keys {
    /// Looks at the registrations of a request, of a stranger's at the one that counts first, and asks where one shows a key.
    ///
    /// # Errors
    ///
    /// A secret cannot be told now: nobody may be let in or refused.
    pub async fn of(request: &Request, most: usize, secrets: &Secrets) -> Result<Self, Error> {
        let mut keys = BTreeMap::new();
        for value in registrations(request, most) {
            let Ok(register) = Register::read(value) else {
                continue;
            };
            if register.key.is_none() || keys.contains_key(&register.account) {
                continue;
            }
            let key = secrets.registration_key(&register.account).await?;
            keys.insert(register.account, key);
        }
        Ok(Self(keys))
    }

    /// The account that a registration names with its key, locked: it comes before any of its computers.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn locked(&self, tx: &Tx<'_>, register: &Register) -> Result<Option<Account>, Error> {
        let account = store::account::lock(tx, &register.account).await?;
        Ok(self.with_key(account, register))
    }

    /// As [`Keys::locked`], not locked: whoever holds a computer must not wait for its account, which a registration holds
    /// that waits for the computer.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn account(
        &self,
        tx: &Tx<'_>,
        register: &Register,
    ) -> Result<Option<Account>, Error> {
        let account = store::account::find(tx, &register.account).await?;
        Ok(self.with_key(account, register))
    }

    /// The account as whoever shows a key meets it. One whose key nobody asked for is none: no key could be told wrong.
    fn with_key(&self, account: Option<Account>, register: &Register) -> Option<Account> {
        if register.key.is_none() {
            return account;
        }
        let asked = self.0.get(&register.account)?;
        let mut account = account?;
        if let Some(key) = asked {
            account.key = Some(key.to_string());
        }
        Some(account)
    }
}

/// Those whose keys may count; the one that counts of a stranger first.
fn registrations(request: &Request, most: usize) -> Vec<&Value> {
    let first = request.registration(most);
    // Those that were taken before come first, so that those that are new may be any.
    let others = request.messages.iter().rev();
    let others = others.filter(|one| first.is_none_or(|first| !std::ptr::eq(*one, first)));
    let all = first.into_iter().chain(others).flatten();
    let registers = all.filter(|one| type_of(one) == "register");
    registers.take(1 + ACCOUNTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpickle::{Limits, write};
    use crate::domain::register::{Decision, decide};

    #[test]
    fn of_many_registrations_the_one_that_counts_and_the_newest_have_their_keys_asked_for() {
        let said = |account: &str| {
            Value::dict([
                ("type", "register".into()),
                ("account_name", account.into()),
            ])
        };
        let accounts = ["a", "b", "c", "d", "e", "f", "g"];
        let messages = Value::List(accounts.map(said).into());
        let whole = Value::dict([("messages", messages), ("sequence", Value::Int(0))]);
        let request = Request::read(&write(&whole), Limits::default()).expect("a request");
        let asked = |most: usize| -> String {
            let found = registrations(&request, most).into_iter();
            found
                .filter_map(|one| one.at("account_name").and_then(Value::as_text))
                .collect()
        };
        assert_eq!(asked(2), "bgfed", "some are beyond what one exchange takes");
        assert_eq!(asked(100), "gfedc");
    }

    #[test]
    fn a_key_that_was_not_compared_lets_nobody_in_and_nobody_wait() {
        let keys = Keys(BTreeMap::from([
            ("keyed".to_owned(), Some(Arc::from("right"))),
            ("open".to_owned(), None),
        ]));
        for (account, shown, decision) in [
            ("keyed", Some("right"), Decision::Accept),
            ("keyed", Some("wrong"), Decision::UnknownAccount),
            ("keyed", None, Decision::Wait),
            ("open", Some("any"), Decision::Wait),
            ("fifth", Some("any"), Decision::UnknownAccount),
            ("fifth", None, Decision::Wait),
        ] {
            let key = shown.map_or(Value::Null, Value::from);
            let value = Value::dict([
                ("account_name", account.into()),
                ("computer_title", "z".into()),
                ("registration_password", key),
            ]);
            let register = Register::read(&value).expect("valid");
            let found = Account {
                id: 1,
                key: None,
                auto_accept: true,
                pending_max: 10,
            };
            let found = keys.with_key(Some(found), &register);
            let decided = decide(found.as_ref(), register.key.as_deref());
            assert_eq!(decided, decision, "{account} {shown:?}");
        }
    }
}
