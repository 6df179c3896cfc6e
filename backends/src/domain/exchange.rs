//! What do an agent and we say to each other in one exchange? The request and the answer as values.

use uuid::Uuid;

use super::fields::{Fields, Invalid, NAME_CHARS_MAX, int, invalid};
use super::message::type_of;
use crate::bpickle::{Limits, Refusal, Spoilt, Value, read_apart, text_at, write};

/// The message API that we speak.
pub const SERVER_API: &str = "3.3";
/// Longest list of message types that is remembered for an agent.
const CLIENT_TYPES_MAX: usize = 1000;

/// What an agent says.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The number of its first message. None from its set-up program, which does not count.
    pub sequence: Option<i64>,
    /// The number of the message it wants from us next.
    pub wanted: i64,
    /// Its messages, as many as can be read at once.
    pub messages: Vec<Said>,
    /// So many messages follow, which it sends again.
    pub left: usize,
    /// Digest of the types that it believes we take.
    pub types_digest: Option<Vec<u8>>,
    /// The types it understands, sorted; only sent when we showed another digest.
    pub client_types: Option<Vec<String>>,
    /// The message API it was written for, `3.8`.
    pub client_api: Option<String>,
}

/// One message as it was said.
pub type Said = Result<Value, Unreadable>;

/// A message that is no value, though it can be told where it ends: it has its number as any other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Unreadable {
    /// Its type; empty where that cannot be read either.
    pub message_type: String,
    /// What is wrong with it.
    pub refusal: Refusal,
}

/// The type of a message, readable or not; empty where there is none.
pub fn type_said(said: &Said) -> &str {
    match said {
        Ok(message) => type_of(message),
        Err(unreadable) => &unreadable.message_type,
    }
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// Where its messages begin and end cannot be told, or what stands around them cannot be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A field does not fit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Request {
    /// Reads a request. A message that cannot be read is none the less one of its messages.
    ///
    /// # Errors
    ///
    /// It is no dictionary, or a field does not fit. Without `messages` it is no request.
    pub fn read(body: &[u8], limits: Limits) -> Result<Self, NoRequest> {
        let envelope = read_apart(body, "messages", limits)?;
        let entries = envelope
            .entries
            .ok_or_else(|| invalid("messages", "is missing"))?;
        let messages = entries.into_iter().map(|entry| {
            entry.map_err(|Spoilt { place, refusal }| {
                let message_type = body.get(place).and_then(|bytes| text_at(bytes, "type"));
                let message_type = message_type.filter(|name| name.len() <= NAME_CHARS_MAX);
                Unreadable {
                    message_type: message_type.unwrap_or_default(),
                    refusal,
                }
            })
        });
        let request = Self {
            messages: messages.collect(),
            left: envelope.left,
            ..Self::around(&Value::Dict(envelope.fields))?
        };
        Ok(request)
    }

    /// The registration among the first so many messages, of which one request holds one: the daemon may repeat what it could not
    /// say before, and the last is what counts.
    pub fn registration(&self, most: usize) -> Option<&Said> {
        let mut first = self.messages.iter().take(most);
        first.rfind(|one| type_said(one) == "register")
    }

    /// What stands around the messages.
    fn around(value: &Value) -> Result<Self, Invalid> {
        let fields = Fields::of(value)?;
        let sequence = fields.optional("sequence", natural)?;
        let wanted = fields.optional("next-expected-sequence", natural)?;
        let types_digest = fields.optional("accepted-types", |value| {
            let bytes = value.as_bytes().ok_or("a digest")?;
            Ok(bytes.to_owned())
        })?;
        let client_types = match fields.find("client-accepted-types") {
            None => None,
            Some(_) => {
                let mut types = fields.list("client-accepted-types", super::fields::name)?;
                if types.len() > CLIENT_TYPES_MAX {
                    return Err(invalid("client-accepted-types", "too many"));
                }
                types.sort_unstable();
                Some(types)
            }
        };
        let client_api = fields.optional("client-api", super::fields::name)?;
        Ok(Self {
            sequence,
            wanted: wanted.unwrap_or(0),
            messages: Vec::new(),
            left: 0,
            types_digest,
            client_types,
            client_api,
        })
    }
}

fn natural(value: &Value) -> Result<i64, &'static str> {
    match int(value)? {
        number @ 0.. => Ok(number),
        _ => Err("a number from 0"),
    }
}

/// What we say.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The identity of our database.
    pub server: Uuid,
    /// Messages in bpickle, in the order of their numbers.
    pub messages: Vec<Value>,
    /// What a computer of ours is told besides.
    pub known: Option<Known>,
}

/// What only a computer of ours is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The number of the message we expect next.
    pub expected: i64,
    /// To be shown with the next request.
    pub token: Uuid,
    /// Digest of the types it understands, as far as we know.
    pub client_types_digest: Vec<u8>,
}

impl Answer {
    /// The answer to somebody who is no computer of ours.
    pub fn to_stranger(server: Uuid, messages: Vec<Value>) -> Self {
        Self {
            server,
            messages,
            known: None,
        }
    }

    /// The answer as it is sent. Agents want the token and the digests as bytes: text makes every
    /// second exchange fail.
    pub fn write(self) -> Vec<u8> {
        let mut entries = vec![
            ("server-api", Value::Bytes(SERVER_API.into())),
            (
                "server-uuid",
                Value::Bytes(self.server.to_string().into_bytes()),
            ),
            ("messages", Value::List(self.messages)),
        ];
        if let Some(known) = self.known {
            entries.push(("next-expected-sequence", Value::Int(known.expected)));
            let token = known.token.to_string().into_bytes();
            entries.push(("next-exchange-token", Value::Bytes(token)));
            entries.push((
                "client-accepted-types-hash",
                Value::Bytes(known.client_types_digest),
            ));
        }
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect();
        write(&Value::Dict(entries))
    }
}

/// The identity a request comes with. What is no identity of ours counts as none: the set-up program
/// sends a word in its place.
pub fn identity(header: Option<&str>) -> Option<Uuid> {
    header.and_then(|text| Uuid::try_parse(text.trim()).ok())
}

/// Does a request come with an identity that another server gave? An agent keeps one until it is told that it is unknown, and
/// does not register before. What the set-up program sends is no such thing: it registers in the same request.
pub fn is_foreign(header: Option<&str>) -> bool {
    header.is_some_and(|text| !text.trim().is_empty() && identity(header).is_none())
}

/// What a token says about who holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The agent itself; its answers arrived or got lost.
    Same,
    /// Two of them share an identity.
    Clone,
}

/// Judges the token of a request. An agent erases its token before it sends, so that none at all is
/// what a lost answer leads to. The one before the last is as good: the last may never have arrived.
pub fn holder(shown: Option<&str>, last: Option<Uuid>, previous: Option<Uuid>) -> Holder {
    let Some(shown) = shown.filter(|text| !text.is_empty()) else {
        return Holder::Same;
    };
    let shown = Uuid::try_parse(shown).ok();
    let known = last.is_none() || shown.is_some() && (shown == last || shown == previous);
    if known { Holder::Same } else { Holder::Clone }
}

/// Messages that we send. The type of each is text, as the agent's set-up program wants it.
pub mod say {
    use super::{Uuid, Value};

    /// These types are taken from now on.
    pub fn accepted_types(types: &[&str]) -> Value {
        let types = types.iter().map(|name| Value::from(*name)).collect();
        Value::dict([
            ("type", "accepted-types".into()),
            ("types", Value::List(types)),
        ])
    }

    /// You are this computer. The identity is bytes: agents keep it as it came, and the part of them that fetches
    /// attachments takes nothing else.
    pub fn set_id(secure: Uuid, insecure: i64) -> Value {
        Value::dict([
            ("type", "set-id".into()),
            ("id", Value::Bytes(secure.to_string().into_bytes())),
            ("insecure-id", insecure.into()),
        ])
    }

    /// You are not a computer of ours, perhaps a clone of one.
    pub fn unknown_id(clone_of: Option<&str>) -> Value {
        let mut message = vec![("type", Value::from("unknown-id"))];
        message.extend(clone_of.map(|title| ("clone-of", title.into())));
        Value::Dict(
            message
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// Your registration was refused, and why.
    pub fn registration(info: &str) -> Value {
        Value::dict([("type", "registration".into()), ("info", info.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: &[u8]) -> Result<Request, NoRequest> {
        Request::read(bytes, Limits::default())
    }

    #[test]
    fn a_stranger_is_answered_as_agents_understand_it() {
        let server = Uuid::from_u128(1);
        let answer = Answer::to_stranger(server, vec![say::accepted_types(&["register"])]);
        let want = "du8:messagesldu4:typeu14:accepted-typesu5:typeslu8:register;;;u10:server-apis3:3.3u11:server-uuids36:00000000-0000-0000-0000-000000000001;";
        assert_eq!(String::from_utf8(answer.write()).expect("text"), want);
    }

    #[test]
    fn identities_tokens_and_digests_are_bytes() {
        let message = crate::bpickle::write(&say::set_id(Uuid::from_u128(1), 7));
        let want =
            "du2:ids36:00000000-0000-0000-0000-000000000001u11:insecure-idi7;u4:typeu6:set-id;";
        assert_eq!(String::from_utf8(message).expect("text"), want);
        let known = Known {
            expected: 7,
            token: Uuid::from_u128(2),
            client_types_digest: b"0123456789abcdef".to_vec(),
        };
        let answer = Answer {
            server: Uuid::from_u128(1),
            messages: vec![],
            known: Some(known),
        };
        let text = String::from_utf8(answer.write()).expect("text");
        assert!(text.contains("u26:client-accepted-types-hashs16:0123456789abcdef"));
        assert!(text.contains("u19:next-exchange-tokens36:"));
        assert!(text.contains("u22:next-expected-sequencei7;"));
    }

    #[test]
    fn the_set_up_programs_request_has_messages_alone() {
        let request = request(b"du8:messagesldu4:typeu8:register;;;").expect("valid");
        assert_eq!((request.sequence, request.messages.len()), (None, 1));
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        for bytes in [
            b"l;".as_slice(),
            b"d;",
            b"du8:messagesi1;;",
            b"du8:messagesl;u8:sequencei-1;;",
            b"du8:messagesl;u8:sequences1:1;",
            b"du21:client-accepted-typesi1;u8:messagesl;;",
            b"du8:messagesl;u8:sequencei99999999999999999999;;",
            b"du8:messagesl;",
            b"",
        ] {
            assert!(request(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_keeps_its_place() {
        let body = b"du8:messagesldu1:ai99999999999999999999;u4:typeu5:users;du4:typeu1:b;u1:\xff;u8:sequencei7;;";
        let request = request(body).expect("a request");
        assert_eq!(request.sequence, Some(7));
        let types: Vec<_> = request.messages.iter().map(type_said).collect();
        assert_eq!(types, ["users", "b", ""]);
        let readable: Vec<_> = request.messages.iter().map(Result::is_ok).collect();
        assert_eq!(readable, [false, true, false]);
    }

    #[test]
    fn one_registration_of_a_request_counts() {
        let body = b"du8:messagesldu1:ai1;u4:typeu8:register;du1:ai2;u4:typeu8:register;ndu1:ai3;u4:typeu8:register;;;";
        let request = request(body).expect("a request");
        let found = |most| {
            let said = request.registration(most)?.as_ref().ok()?;
            said.at("a").and_then(Value::as_int)
        };
        assert_eq!(
            [0, 1, 3, 4, 100].map(found),
            [None, Some(1), Some(2), Some(3), Some(3)]
        );
    }

    #[test]
    fn only_a_token_that_was_never_the_last_two_shows_a_clone() {
        let (last, previous) = (Uuid::from_u128(2), Uuid::from_u128(1));
        let judge = |shown: Option<String>| holder(shown.as_deref(), Some(last), Some(previous));
        assert_eq!(judge(None), Holder::Same);
        assert_eq!(judge(Some(last.to_string())), Holder::Same);
        assert_eq!(judge(Some(previous.to_string())), Holder::Same);
        assert_eq!(judge(Some(Uuid::from_u128(3).to_string())), Holder::Clone);
        assert_eq!(judge(Some("x".to_owned())), Holder::Clone);
        assert_eq!(holder(Some("x"), None, None), Holder::Same);
    }

    #[test]
    fn an_identity_of_another_server_is_foreign() {
        let ours = "8e9c2f4e-6f3a-4a51-9a40-2f5f5f2c9f11";
        for (header, foreign) in [
            (None, false),
            (Some(""), false),
            (Some(ours), false),
            (Some("Qf3bZ+secure=="), true),
        ] {
            assert_eq!(is_foreign(header), foreign, "{header:?}");
        }
    }

    #[test]
    fn a_word_in_place_of_an_identity_is_none() {
        assert_eq!(identity(Some("registering")), None);
        assert_eq!(identity(None), None);
        assert!(identity(Some("00000000-0000-0000-0000-000000000001")).is_some());
    }
}
