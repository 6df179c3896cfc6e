//! Which registration keys does an exchange need? They are asked for before its transaction begins.
//!
//! A key that nobody moved behind the secrets yet still stands beside its account, and counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::exchange::Request;
use crate::domain::message::type_of;
use crate::domain::register::{Account, Register};
use crate::error::Error;
use crate::secret::Secrets;
use crate::store::{self, Tx};

/// Accounts of one exchange; more are of somebody who guesses.
const ACCOUNTS_MAX: usize = 4;

/// The registration keys of the accounts that an exchange names along with a key.
#[derive(Default)]
pub struct Keys(BTreeMap<String, Arc<str>>);

impl Keys {
    /// Looks at the registrations of a request, and asks where one shows a key.
    ///
    /// # Errors
    ///
    /// A secret cannot be told now: nobody may be let in or refused.
    pub async fn of(request: &Request, secrets: &Secrets) -> Result<Self, Error> {
        let mut keys = BTreeMap::new();
        let registers = request.messages.iter().flatten();
        let registers = registers.filter(|value| type_of(value) == "register");
        for value in registers.take(ACCOUNTS_MAX) {
            let Ok(register) = Register::read(value) else {
                continue;
            };
            if register.key.is_none() || keys.contains_key(&register.account) {
                continue;
            }
            if let Some(key) = secrets.registration_key(&register.account).await? {
                keys.insert(register.account, key);
            }
        }
        Ok(Self(keys))
    }

    /// The account of this name with its key, locked.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn account(&self, tx: &Tx<'_>, name: &str) -> Result<Option<Account>, Error> {
        let mut account = store::account::lock(tx, name).await?;
        if let (Some(account), Some(key)) = (&mut account, self.0.get(name)) {
            account.key = Some(key.to_string());
        }
        Ok(account)
    }
}
