//! What do services tell each other? That something happened and to whom, never what: whoever needs
//! to know looks into the database, so that a note that comes late, twice or not at all does no harm.

use serde::{Deserialize, Serialize};

/// Longest subject, bytes.
const SUBJECT_BYTES_MAX: usize = 128;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Topic {
    /// Anything may have happened: some notes were not kept. Nobody is named.
    Anything,
    /// Something was ordered from a computer.
    ActivityOrdered,
    /// Orders were fetched by a computer, or it told how one ended.
    ActivityChanged,
    /// A computer registered and waits, or registered anew.
    ComputerRegistered,
    /// A computer was accepted.
    ComputerAccepted,
    /// A computer is gone.
    ComputerRemoved,
    /// A computer reported about itself.
    ComputerReported,
    /// People changed what is known of a computer: its title, tags, notes or group. Nobody is named where it was many.
    ComputerChanged,
    /// A computer's network interfaces are others.
    InterfacesChanged,
    /// A computer told what changed among its packages.
    PackagesChanged,
    /// Ping times of many computers were written down. Nobody is named.
    PingsHeard,
    /// A WSL host, its instances or the state of its commands changed. Nobody is named where many have lost their worker.
    HostChanged,
    /// A WSL host has a new stream.
    HostConnected,
    /// Something was ordered from a WSL host.
    HostOrdered,
}

/// Every topic with its name on the wire and in the database.
const TOPICS: [(Topic, &str); 14] = [
    (Topic::Anything, "anything"),
    (Topic::ActivityOrdered, "activity.ordered"),
    (Topic::ActivityChanged, "activity.changed"),
    (Topic::ComputerRegistered, "computer.registered"),
    (Topic::ComputerAccepted, "computer.accepted"),
    (Topic::ComputerRemoved, "computer.removed"),
    (Topic::ComputerReported, "computer.reported"),
    (Topic::ComputerChanged, "computer.changed"),
    (Topic::InterfacesChanged, "computer.interfaces"),
    (Topic::PackagesChanged, "computer.packages"),
    (Topic::PingsHeard, "pings.heard"),
    (Topic::HostChanged, "host.changed"),
    (Topic::HostConnected, "host.connected"),
    (Topic::HostOrdered, "host.ordered"),
];

impl Topic {
    /// Its name.
    pub fn name(self) -> &'static str {
        let found = TOPICS.iter().find(|(topic, _)| *topic == self);
        found.map_or("anything", |(_, name)| name)
    }

    /// The topic of this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = TOPICS.iter().find(|(_, known)| *known == name);
        found.map(|(topic, _)| *topic)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.name().to_owned()
    }
}

impl TryFrom<String> for Topic {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or(name)
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub topic: Topic,
    /// To whom; empty where nobody is named.
    pub subject: String,
}

impl Event {
    /// Something happened to somebody.
    pub fn of(topic: Topic, subject: impl ToString) -> Self {
        let subject = subject.to_string();
        Self { topic, subject }
    }

    /// The computer that it is about, where it is about one.
    pub fn computer(&self) -> Option<i64> {
        self.subject.parse().ok()
    }

    /// As it travels: JSON.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what travelled. None for what no program of ours wrote.
    pub fn read(body: &[u8]) -> Option<Self> {
        let event: Self = serde_json::from_slice(body).ok()?;
        (event.subject.len() <= SUBJECT_BYTES_MAX).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        for (topic, name) in TOPICS {
            assert_eq!((topic.name(), Topic::named(name)), (name, Some(topic)));
            let event = Event::of(topic, 7);
            assert_eq!(Event::read(&event.write()), Some(event));
        }
        let long = format!(
            "{{\"topic\":\"anything\",\"subject\":\"{}\"}}",
            "x".repeat(200)
        );
        for wrong in ["", "{}", "{\"topic\":\"nothing\",\"subject\":\"\"}", &long] {
            assert_eq!(Event::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
