//! What do the old and the new process say to each other? Messages in JSON, each after its length, and descriptors.
//!
//! Promises: every wait has an end, every message a bound; fields that one side does not know are skipped, so that
//! versions may differ. Does not: know what is done about a message.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::tls::live::SessionKeys;

/// Bytes of a message. The longest is the list of sockets or the reason of a refusal.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Bytes that most messages need; where one needs more, pieces of it stay in memory that was given back.
const TEXT: usize = 64 * 1024;
/// Descriptors in one message of the kernel, which allows 253.
const DESCRIPTORS_AT_ONCE: usize = 64;
/// Descriptors in all.
const DESCRIPTORS_MAX: usize = 4096;

/// What is said.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// Old to new: these sockets follow, in this order.
    Offer {
        pid: u32,
        sockets: Vec<Offered>,
        /// Keys of TLS sessions, by the listener's name. They go through this pair alone.
        #[serde(default)]
        sessions: Vec<(String, SessionKeys)>,
    },
    /// New to old: everything is built. Of the sockets, those at these places were taken.
    Prepared { pid: u32, taken: Vec<usize> },
    /// New to old: it will not serve, because.
    Refused { reason: String },
    /// Old to new: serve.
    Go,
    /// New to old: it serves.
    Serving,
}

/// A socket by what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Offered {
    /// A listener's, bound as configured.
    Listener {
        name: String,
        host: Option<IpAddr>,
        port: u16,
    },
    /// The operators' listener, bound as configured.
    Admin { host: IpAddr, port: u16 },
    /// The operators' unix socket.
    AdminSocket { path: String },
    /// Where `portcullis upgrade` comes to.
    Control { path: String },
}

/// One end of the pair.
pub(super) struct Link {
    stream: UnixStream,
    /// Received, and not yet a whole message. Wiped once it is read, because keys may be among it.
    received: Zeroizing<Vec<u8>>,
}

impl Link {
    pub fn new(stream: UnixStream) -> Link {
        Link {
            stream,
            received: Zeroizing::new(Vec::with_capacity(TEXT)),
        }
    }

    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        // Keys are among it: no copy of them stays in memory that is free.
        let mut text = Zeroizing::new(Vec::with_capacity(TEXT));
        serde_json::to_writer(&mut *text, message)?;
        let length = u32::try_from(text.len())
            .ok()
            .filter(|length| *length as usize <= MESSAGE_MAX)
            .ok_or_else(|| io::Error::other("a message is too long"))?;
        self.stream
            .set_write_timeout(Some(Duration::from_secs(5)))?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(&text)
    }

    /// The next message, if one comes within `patience`. Reads no byte beyond it, because descriptors come with bytes.
    pub fn hear(&mut self, patience: Duration) -> io::Result<Option<Message>> {
        let until = Instant::now() + patience;
        loop {
            let wanted = match self.received.first_chunk::<4>() {
                None => 4,
                Some(length) => 4 + u32::from_be_bytes(*length) as usize,
            };
            if wanted > MESSAGE_MAX + 4 {
                return Err(io::Error::other("a message is too long"));
            }
            if self.received.len() == wanted && wanted > 4 {
                let message = serde_json::from_slice(&self.received[4..])?;
                self.received.zeroize();
                return Ok(Some(message));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut piece = Zeroizing::new([0; 4096]);
            let room = (wanted - self.received.len()).min(piece.len());
            match self.stream.read(&mut piece[..room]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.received.extend_from_slice(&piece[..read]),
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn send_descriptors(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        for some in descriptors.chunks(DESCRIPTORS_AT_ONCE) {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(some)) {
                return Err(io::Error::other("descriptors do not fit"));
            }
            // They travel with a byte, else they do not travel.
            let byte = [IoSlice::new(b"+")];
            sendmsg(&self.stream, &byte, &mut ancillary, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    pub fn receive_descriptors(
        &mut self,
        count: usize,
        patience: Duration,
    ) -> io::Result<Vec<OwnedFd>> {
        if count > DESCRIPTORS_MAX {
            return Err(io::Error::other("too many sockets"));
        }
        self.stream.set_read_timeout(Some(patience))?;
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let mut into = [IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = recvmsg(&self.stream, &mut into, &mut ancillary, flags)?;
            let before = all.len();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(some) = message {
                    all.extend(some);
                }
            }
            if got.bytes == 0 || all.len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(all)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    const SOON: Duration = Duration::from_secs(5);

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().unwrap();
        (Link::new(one), Link::new(other))
    }

    #[test]
    fn more_descriptors_than_fit_into_one_message_arrive_between_messages() {
        let (mut old, mut new) = pair();
        let sockets: Vec<_> = (0..150)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let offer = Message::Offer {
            pid: 7,
            sockets: vec![Offered::Listener {
                name: "https".to_owned(),
                host: None,
                port: 443,
            }],
            sessions: Vec::new(),
        };
        old.say(&offer).unwrap();
        let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        old.send_descriptors(&borrowed).unwrap();
        old.say(&Message::Go).unwrap();
        assert_eq!(new.hear(SOON).unwrap(), Some(offer));
        let received = new.receive_descriptors(150, SOON).unwrap();
        assert_eq!(new.hear(SOON).unwrap(), Some(Message::Go));
        for (sent, received) in sockets.iter().zip(received) {
            let received = TcpListener::from(received);
            assert_eq!(received.local_addr().unwrap(), sent.local_addr().unwrap());
        }
    }

    #[test]
    fn silence_has_an_end_and_nonsense_is_an_error() {
        let (mut old, mut new) = pair();
        assert_eq!(old.hear(Duration::from_millis(10)).unwrap(), None);
        new.stream.write_all(b"\xff\xff\xff\xffwhat").unwrap();
        assert!(old.hear(SOON).is_err(), "too long");
        let (mut old, mut new) = pair();
        new.stream.write_all(b"\0\0\0\x02{}").unwrap();
        assert!(old.hear(SOON).is_err(), "no message");
        let (mut old, new) = pair();
        drop(new);
        assert!(old.hear(SOON).is_err(), "gone");
    }

    #[test]
    fn a_newer_version_may_say_more() {
        let text = r#"{"say":"prepared","pid":3,"taken":[0],"mood":"good"}"#;
        let heard: Message = serde_json::from_str(text).unwrap();
        assert_eq!(
            heard,
            Message::Prepared {
                pid: 3,
                taken: vec![0]
            }
        );
    }
}
