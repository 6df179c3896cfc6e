//! What happens in one exchange? Everything in one transaction, committed before the answer.
//!
//! The order matters: who is it, what has arrived of ours, what is new of theirs, what do we say. The
//! computer's row is locked throughout, so that two exchanges of one computer (a repeat while the
//! first is still at work) come one after the other, and the second finds everything known.

use std::time::SystemTime;

use tracing::warn;
use uuid::Uuid;

use super::counter::Counter;
use super::keys::Keys;
use super::report;
use super::stranger::{registration, stranger};
use super::tally::Tally;
use crate::bpickle::{Value, write};
use crate::domain::exchange::{Answer, Holder, Known, Request, Said, holder, say, type_said};
use crate::domain::fields::{NAME_CHARS_MAX, Rows};
use crate::domain::message::{self, type_of};
use crate::domain::register::{Decision, Register, decide};
use crate::domain::report::Anew;
use crate::domain::sequence::{Acknowledged, Intake, acknowledged, intake};
use crate::domain::types;
use crate::error::Error;
use crate::settings::MessageSystem;
use crate::store::computer::{Computer, Ids};
use crate::store::exchange::{Kept, State, Update};
use crate::store::{self, Store, Tx};

/// Who asks.
pub struct Visitor {
    /// The identity it shows.
    pub identity: Option<Uuid>,
    /// It shows one that another server gave.
    pub foreign: bool,
    /// The token it shows.
    pub token: Option<String>,
}

/// An exchange that is committed.
pub struct Done {
    /// What is answered.
    pub answer: Answer,
    /// How it ended, in the word of the metrics.
    pub end: &'static str,
    /// What became of the messages.
    pub tally: Tally,
}

/// Carries out one exchange.
///
/// # Errors
///
/// The database's. Nothing is stored then, and the agent tries again.
pub async fn exchange(
    store: &Store,
    settings: &MessageSystem,
    keys: &Keys,
    visitor: Visitor,
    request: Request,
) -> Result<Done, Error> {
    let mut connection = store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let server = store::computer::server_identity(&tx).await?;
    let mut tally = Tally::default();
    let registers = request.registration(settings.messages_max).is_some();
    let (answer, end) = match visitor.identity {
        // Told so, it forgets that identity and registers here; otherwise it would wait for ever.
        None if visitor.foreign && !registers => (
            Answer::to_stranger(server, vec![say::unknown_id(None)]),
            "unknown",
        ),
        None => {
            let messages = stranger(&tx, settings, keys, &request, &mut tally).await?;
            (Answer::to_stranger(server, messages), "stranger")
        }
        Some(identity) => match store::computer::lock(&tx, identity).await? {
            None => (
                Answer::to_stranger(server, vec![say::unknown_id(None)]),
                "unknown",
            ),
            Some(computer) => {
                let desk = Desk {
                    tx: &tx,
                    computer: &computer,
                    settings,
                    keys,
                };
                desk.known(server, visitor.token, request, &mut tally)
                    .await?
            }
        },
    };
    store::commit(tx).await?;
    Ok(Done { answer, end, tally })
}

/// The exchange with a computer of ours.
struct Desk<'a, 'tx> {
    tx: &'a Tx<'tx>,
    computer: &'a Computer,
    settings: &'a MessageSystem,
    keys: &'a Keys,
}

/// How far an exchange has moved both sides.
struct Moved {
    /// The number of the agent's next message.
    expected: i64,
    /// The number of our next one.
    next_out: i64,
    /// Messages that could not be stored.
    refused: i64,
}

/// What a message asks for beyond being stored.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) set_id: bool,
    pub(super) accepted: bool,
    /// What it told of its packages is to be told on.
    packages: bool,
    pub(super) replies: Vec<Value>,
}

impl Desk<'_, '_> {
    fn ids(&self) -> Ids {
        self.computer.ids
    }

    async fn known(
        &self,
        server: Uuid,
        token: Option<String>,
        request: Request,
        tally: &mut Tally,
    ) -> Result<(Answer, &'static str), Error> {
        let id = self.ids().id;
        let state = store::exchange::state(self.tx, id).await?;
        if holder(token.as_deref(), state.token, state.previous_token) == Holder::Clone {
            warn!(computer = id, "two agents share an identity");
            let message = say::unknown_id(Some(&self.computer.title));
            return Ok((Answer::to_stranger(server, vec![message]), "clone"));
        }
        let Some(sequence) = request.sequence else {
            return self.set_up_again(server, &request, tally).await;
        };

        let (kept, next) = self.unacknowledged(&state, request.wanted).await?;
        let new = intake(
            state.expected,
            sequence,
            request.messages.len(),
            self.settings.messages_max,
        );
        let refused_before = tally.invalid;
        let wishes = self.take_new(&request, &new, tally).await?;
        let refused = tally.invalid - refused_before;

        let mut counter = Counter {
            tx: self.tx,
            ids: self.ids(),
            kept,
            next,
        };
        counter.say(&state, &request, &wishes).await?;
        let messages = counter.messages()?;
        let moved = Moved {
            expected: new.expected,
            next_out: counter.next,
            refused: count(usize::try_from(refused).unwrap_or(usize::MAX)),
        };
        let shown = token.and_then(|token| Uuid::try_parse(&token).ok());
        let known = self.close(state, &request, shown, &moved).await?;
        let answer = Answer {
            server,
            messages,
            known: Some(known),
        };
        Ok((answer, "known"))
    }

    /// What is still to be acknowledged after what it says that it wants next, and the number of the next message.
    async fn unacknowledged(&self, state: &State, wanted: i64) -> Result<(Vec<Kept>, i64), Error> {
        let id = self.ids().id;
        let kept = store::exchange::kept(self.tx, id).await?;
        let lowest = kept.first().map_or(state.next_out, |first| first.number);
        let first_contact = state.expected.is_none();
        let heard = acknowledged(first_contact, lowest, state.next_out, wanted);
        let kept = store::exchange::acknowledge(self.tx, id, kept, heard).await?;
        let next = match heard {
            Acknowledged::Before(_) => state.next_out,
            Acknowledged::From(number) => number.saturating_add(count(kept.len())),
        };
        Ok((kept, next))
    }

    /// Takes those of its messages that are new.
    async fn take_new(
        &self,
        request: &Request,
        new: &Intake,
        tally: &mut Tally,
    ) -> Result<Wishes, Error> {
        let id = self.ids().id;
        let messages = &request.messages;
        tally.repeated += new.skip as u64;
        tally.late += (messages.len() - new.skip - new.take + request.left) as u64;
        let mut wishes = Wishes {
            accepted: self.computer.accepted,
            ..Wishes::default()
        };
        for said in messages.iter().skip(new.skip).take(new.take) {
            self.take(said, tally, &mut wishes).await?;
        }
        if wishes.set_id && wishes.accepted {
            // An agent that is told who it is begins anew, and does not say so.
            store::report::forget(self.tx, id, &Anew::All).await?;
            wishes.packages = true;
        }
        if wishes.packages {
            store::package::changed(self.tx, id).await?;
        }
        Ok(wishes)
    }

    /// Stores how far both sides are, and makes the token that the next exchange has to show.
    async fn close(
        &self,
        state: State,
        request: &Request,
        shown: Option<Uuid>,
        moved: &Moved,
    ) -> Result<Known, Error> {
        let types = request.client_types.as_deref();
        let digest = types.map(types::digest);
        let update = Update {
            expected: moved.expected,
            next_out: moved.next_out,
            previous_token: match shown {
                Some(shown) if Some(shown) == state.previous_token => Some(shown),
                _ => state.token,
            },
            client_types: types.zip(digest.as_ref().map(<[u8; 16]>::as_slice)),
            client_api: request.client_api.as_deref(),
            refused: moved.refused,
        };
        let token = store::exchange::update(self.tx, self.ids().id, &update).await?;
        Ok(Known {
            expected: moved.expected,
            token,
            client_types_digest: digest
                .map(|digest| digest.to_vec())
                .or(state.client_types_digest)
                .unwrap_or_else(|| types::digest::<&str>(&[]).to_vec()),
        })
    }

    /// The set-up program runs on a computer that has its identity: it is told the same again.
    async fn set_up_again(
        &self,
        server: Uuid,
        request: &Request,
        tally: &mut Tally,
    ) -> Result<(Answer, &'static str), Error> {
        let mut wishes = Wishes::default();
        let said = request.registration(self.settings.messages_max);
        tally.beside(request, said);
        if let Some(said) = said {
            self.take(said, tally, &mut wishes).await?;
        }
        let ids = self.ids();
        let message = wishes.set_id.then(|| say::set_id(ids.secure, ids.insecure));
        let answer = Answer::to_stranger(server, message.into_iter().collect());
        Ok((answer, "known"))
    }

    /// Takes one new message. It is taken in any case: what cannot be stored must not stop what
    /// comes after it.
    async fn take(&self, said: &Said, tally: &mut Tally, wishes: &mut Wishes) -> Result<(), Error> {
        let id = self.ids().id;
        if type_said(said) == "register" {
            match registration(said) {
                Ok(register) => {
                    tally.stored += 1;
                    wishes.set_id = true;
                    return self.register_again(&register, tally, wishes).await;
                }
                Err(why) => {
                    warn!(computer = id, why, "a registration that cannot be read");
                    tally.invalid += 1;
                    return Ok(());
                }
            }
        }
        if !wishes.accepted {
            tally.not_taken += 1;
            return Ok(());
        }
        let value = match said {
            Ok(value) => value,
            Err(unreadable) => {
                return self
                    .lost(&unreadable.message_type, &unreadable.to_string(), tally)
                    .await;
            }
        };
        let mut rows = Rows::default();
        match message::read(value, &mut rows) {
            Ok(message) => {
                self.left_out(value, &rows, tally);
                let at = report::made_at(value, SystemTime::now());
                wishes.packages |= message.changes_packages();
                let reply = report::store(self.tx, id, message, at).await?;
                wishes.replies.extend(reply);
                tally.stored += 1;
            }
            Err(message::Refusal::Type) => tally.not_taken += 1,
            Err(message::Refusal::Invalid(invalid)) => {
                self.lost(type_of(value), &invalid.to_string(), tally)
                    .await?;
            }
        }
        Ok(())
    }

    /// Rows of a message that is stored without them.
    fn left_out(&self, message: &Value, rows: &Rows, tally: &mut Tally) {
        let Some(why) = rows.why() else {
            return;
        };
        let (computer, left_out) = (self.ids().id, rows.left_out());
        let message_type = type_of(message);
        warn!(computer, message_type, left_out, %why, "stored without rows that do not fit");
        tally.left_out += left_out;
    }

    /// A message that is taken and says nothing that can be stored.
    async fn lost(&self, message_type: &str, why: &str, tally: &mut Tally) -> Result<(), Error> {
        let id = self.ids().id;
        // Its length is the agent's choice.
        let named: String = message_type.chars().take(NAME_CHARS_MAX).collect();
        warn!(computer = id, message_type = named, why, "not stored");
        tally.invalid += 1;
        self.ask_again(message_type).await
    }

    /// A computer of ours registers: what it says of itself is stored, and the right key of its own
    /// account ends its waiting.
    async fn register_again(
        &self,
        register: &Register,
        tally: &mut Tally,
        wishes: &mut Wishes,
    ) -> Result<(), Error> {
        let id = self.ids().id;
        store::computer::describe(self.tx, id, register).await?;
        let account = self.keys.account(self.tx, register).await?;
        let account = account.filter(|account| account.id == self.computer.account);
        let right = decide(account.as_ref(), register.key.as_deref()) == Decision::Accept;
        if right && !wishes.accepted {
            wishes.accepted = store::computer::accept(self.tx, id).await?;
            tally.decisions.push("accepted");
        }
        Ok(())
    }

    /// Orders what was lost with an invalid message to be sent again; at most once a day, so that an
    /// agent that cannot do better is not asked for ever.
    async fn ask_again(&self, message_type: &str) -> Result<(), Error> {
        let (id, kind) = (self.ids().id, "resynchronize");
        let Some(scope) = types::scope(message_type) else {
            return Ok(());
        };
        let summary = format!("Report {scope} again");
        if store::activity::ordered_lately(self.tx, id, kind, &summary).await? {
            return Ok(());
        }
        let fields = Value::dict([("scopes", Value::List(vec![scope.into()]))]);
        store::activity::order(self.tx, id, kind, &summary, &write(&fields)).await?;
        Ok(())
    }
}

pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
