//! What is said to a computer now, and under which number?

use tracing::warn;

use super::exchange::{Wishes, count};
use crate::bpickle::{self, Limits, Value, write};
use crate::domain::exchange::{Request, say};
use crate::domain::message::type_of;
use crate::domain::types;
use crate::error::Error;
use crate::store::computer::Ids;
use crate::store::exchange::{Kept, State};
use crate::store::{self, Tx};

/// Most messages that are handed out and not acknowledged.
const KEPT_MAX: usize = 100;

/// Where messages to one computer get their numbers.
pub(super) struct Counter<'a, 'tx> {
    pub(super) tx: &'a Tx<'tx>,
    pub(super) ids: Ids,
    /// What was handed out and is not acknowledged yet, in the order of the numbers.
    pub(super) kept: Vec<Kept>,
    /// The number of the next message.
    pub(super) next: i64,
}

impl Counter<'_, '_> {
    /// Decides what is said now, beyond what is kept.
    pub(super) async fn say(
        &mut self,
        state: &State,
        request: &Request,
        wishes: &Wishes,
    ) -> Result<(), Error> {
        if wishes.set_id {
            let Ids {
                secure, insecure, ..
            } = self.ids;
            self.say_once(&say::set_id(secure, insecure)).await?;
        }
        let taken = types::taken(wishes.accepted);
        let digest = types::digest(taken);
        let told = request.types_digest.as_deref();
        let differs = told.is_some_and(|told| told != digest.as_slice());
        if told.is_none() || differs {
            self.say_once(&say::accepted_types(taken)).await?;
        }
        for reply in &wishes.replies {
            if self.kept.len() >= KEPT_MAX {
                // It asks again for what it was not told.
                warn!(computer = self.ids.id, "not answered: it takes nothing");
                break;
            }
            self.hand_out(reply, None).await?;
        }
        let understood = request
            .client_types
            .as_deref()
            .or(state.client_types.as_deref());
        match understood {
            // Parts of an agent that have just heard that they may tell something do so at once. An order to tell all
            // again, in the same answer, has that thrown away while they believe that it was told.
            Some(understood) if wishes.accepted && !differs => self.deliver(understood).await,
            // It tells its types before it is given orders.
            _ => Ok(()),
        }
    }

    /// Says what is not kept already: whoever acknowledges nothing does not have it kept again and again.
    async fn say_once(&mut self, message: &Value) -> Result<(), Error> {
        let body = write(message);
        match self.kept.iter().any(|kept| kept.body == body) {
            true => Ok(()),
            false => self.hand_out(message, None).await,
        }
    }

    async fn deliver(&mut self, understood: &[String]) -> Result<(), Error> {
        let (tx, id) = (self.tx, self.ids.id);
        let room = KEPT_MAX.saturating_sub(self.kept.len());
        for due in store::activity::due(tx, id, count(room)).await? {
            if !understood.contains(&due.message_type) {
                let why = "the agent does not understand this kind of order";
                store::activity::failed(tx, due.id, why).await?;
                continue;
            }
            let Value::Dict(mut fields) = decoded(&due.fields)? else {
                store::activity::failed(tx, due.id, "the order cannot be read").await?;
                continue;
            };
            fields.insert("type".into(), due.message_type.into());
            fields.insert("operation-id".into(), due.id.into());
            store::activity::delivered(tx, due.id).await?;
            self.hand_out(&Value::Dict(fields), Some(due.id)).await?;
        }
        Ok(())
    }

    async fn hand_out(&mut self, message: &Value, activity: Option<i64>) -> Result<(), Error> {
        let kept = Kept {
            number: self.next,
            message_type: type_of(message).to_owned(),
            body: write(message),
        };
        store::exchange::hand_out(self.tx, self.ids.id, &kept, activity).await?;
        self.kept.push(kept);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    pub(super) fn messages(&self) -> Result<Vec<Value>, Error> {
        self.kept.iter().map(|kept| decoded(&kept.body)).collect()
    }
}

fn decoded(body: &[u8]) -> Result<Value, Error> {
    bpickle::read(body, Limits::default())
        .map_err(|refusal| Error::Malformed(format!("what we stored ourselves: {refusal}")))
}
