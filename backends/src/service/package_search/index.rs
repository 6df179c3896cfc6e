//! Which packages does somebody look for? Answered from memory; what it means is said in
//! `domain::package_search`.
//!
//! What a computer has is kept as spans of numbers. For a question the spans of its computers are laid
//! over each other once, one bit for each package, so that looking through all packages costs the same
//! for one computer and for ten thousand; only for those that are shown each computer is asked.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::package_search::{Answer, Computers, Counts, Found, Question};
use crate::store::package_feed::{Holdings, Named};

/// A copy of what the database knows.
#[derive(Debug, Default)]
pub struct Index {
    /// By name, version and number: the order of answers.
    packages: BTreeMap<(String, String, i64), Text>,
    highest: i64,
    holdings: HashMap<i64, Holdings>,
    /// Account of every accepted computer.
    roll: HashMap<i64, i64>,
    as_of: i64,
}

#[derive(Debug)]
struct Text {
    summary: String,
    /// Name and summary in lower case.
    lower: (String, String),
}

/// What has changed since the last time.
#[derive(Debug, Default)]
pub struct News {
    /// Packages that are new.
    pub packages: Vec<Named>,
    /// Computers whose packages changed.
    pub holdings: Vec<(i64, Holdings)>,
    /// Every accepted computer and its account, where that was looked at.
    pub roll: Option<Vec<(i64, i64)>>,
    /// As of this time, milliseconds since 1970.
    pub as_of: i64,
}

/// The places in [`Holdings`] that make a package one of a computer's; security alone does not.
const COUNTED: usize = 4;

impl Index {
    /// Takes what is new.
    pub fn take(&mut self, news: News) {
        for named in news.packages {
            self.highest = self.highest.max(named.id);
            let lower = (
                named.name.to_ascii_lowercase(),
                named.summary.to_ascii_lowercase(),
            );
            let text = Text {
                summary: named.summary,
                lower,
            };
            let key = (named.name, named.version, named.id);
            self.packages.insert(key, text);
        }
        self.holdings.extend(news.holdings);
        if let Some(roll) = news.roll {
            self.roll = roll.into_iter().collect();
            let roll = &self.roll;
            self.holdings
                .retain(|computer, _| roll.contains_key(computer));
        }
        self.as_of = news.as_of;
    }

    /// Packages and computers with packages.
    pub fn size(&self) -> (usize, usize) {
        (self.packages.len(), self.holdings.len())
    }

    /// Answers a question.
    pub fn answer(&self, question: &Question) -> Answer {
        let scope = self.scope(question);
        let anywhere = self.anywhere(&scope);
        let names: Option<HashSet<&str>> = question
            .names
            .as_ref()
            .map(|names| names.iter().map(String::as_str).collect());
        let text = question.text.as_deref().map(str::to_ascii_lowercase);
        let (limit, offset) = question.page();
        let mut answer = Answer {
            as_of: self.as_of,
            ..Answer::default()
        };
        for ((name, version, id), told) in &self.packages {
            let named = names
                .as_ref()
                .is_none_or(|names| names.contains(name.as_str()));
            if !named || !told.holds(text.as_deref()) || !fits(&anywhere, *id, question) {
                continue;
            }
            if (offset..offset.saturating_add(limit)).contains(&answer.count) {
                let (computers, counts) = computers(&scope, *id, question.computers());
                answer.packages.push(Found {
                    id: *id,
                    name: name.clone(),
                    version: version.clone(),
                    summary: told.summary.clone(),
                    computers,
                    counts,
                });
            }
            answer.count += 1;
        }
        answer
    }

    /// The computers that count, by their numbers.
    fn scope(&self, question: &Question) -> Vec<(i64, &Holdings)> {
        let ours = |computer: i64| self.roll.get(&computer) == Some(&question.account_id);
        let mut scope: Vec<(i64, &Holdings)> = match &question.computer_ids {
            None => self
                .holdings
                .iter()
                .filter(|(computer, _)| ours(**computer))
                .map(|(computer, holdings)| (*computer, holdings))
                .collect(),
            Some(computers) => computers
                .iter()
                .filter(|computer| ours(**computer))
                .filter_map(|computer| Some((*computer, self.holdings.get(computer)?)))
                .collect(),
        };
        scope.sort_unstable_by_key(|(computer, _)| *computer);
        scope.dedup_by_key(|(computer, _)| *computer);
        scope
    }

    fn anywhere(&self, scope: &[(i64, &Holdings)]) -> [Bits; 5] {
        std::array::from_fn(|state| {
            let mut bits = Bits::up_to(self.highest);
            for (_, holdings) in scope {
                for (first, end) in holdings[state].iter() {
                    bits.set(*first, *end);
                }
            }
            bits
        })
    }
}

impl Text {
    fn holds(&self, text: Option<&str>) -> bool {
        let (name, summary) = &self.lower;
        text.is_none_or(|text| name.contains(text) || summary.contains(text))
    }
}

fn fits(anywhere: &[Bits; 5], id: i64, question: &Question) -> bool {
    let is = |state: usize| anywhere[state].has(id);
    let asked = question.states();
    (0..COUNTED).any(is)
        && asked
            .iter()
            .enumerate()
            .all(|(state, wanted)| wanted.is_none_or(|wanted| wanted == is(state)))
}

/// Which computers have it in which state: all of them, or the first few and how many there are.
fn computers(
    scope: &[(i64, &Holdings)],
    id: i64,
    most: Option<i64>,
) -> (Computers, Option<Counts>) {
    let with = |state: usize| -> (Vec<i64>, i64) {
        let (mut some, mut count) = (Vec::new(), 0);
        for (computer, holdings) in scope {
            if has(&holdings[state], id) {
                if most.is_none_or(|most| count < most) {
                    some.push(*computer);
                }
                count += 1;
            }
        }
        (some, count)
    };
    let [installed, available, upgrades, held] = std::array::from_fn(with);
    let counts = Counts {
        installed: installed.1,
        available: available.1,
        upgrades: upgrades.1,
        held: held.1,
    };
    let computers = Computers {
        installed: installed.0,
        available: available.0,
        upgrades: upgrades.0,
        held: held.0,
    };
    (computers, most.map(|_| counts))
}

/// Is a number in one of these spans?
fn has(spans: &[(i64, i64)], id: i64) -> bool {
    let after = spans.partition_point(|(first, _)| *first <= id);
    let last = after.checked_sub(1).and_then(|at| spans.get(at));
    last.is_some_and(|(_, end)| id < *end)
}

/// A bit for each number up to the highest that is known.
struct Bits {
    words: Vec<u64>,
    end: i64,
}

impl Bits {
    fn up_to(highest: i64) -> Self {
        let words = usize::try_from(highest / 64 + 1).unwrap_or(0);
        Self {
            words: vec![0; words],
            end: highest + 1,
        }
    }

    /// Sets the bits from `first` to before `end`, as far as they are known.
    fn set(&mut self, first: i64, end: i64) {
        let (mut at, end) = (first.max(0), end.min(self.end));
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let upto = (end - word * 64).min(64);
            // Bits from `bit` to before `upto` of one word.
            let below = |count: i64| match count {
                64 => u64::MAX,
                count => (1 << count) - 1,
            };
            let word = usize::try_from(word).ok();
            if let Some(word) = word.and_then(|word| self.words.get_mut(word)) {
                *word |= below(upto) & !below(bit);
            }
            at += upto - bit;
        }
    }

    fn has(&self, id: i64) -> bool {
        let word = usize::try_from(id / 64).ok();
        let word = word.and_then(|word| self.words.get(word));
        word.is_some_and(|word| id >= 0 && word >> (id % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_computer_has_counts_as_soon_as_it_is_known_to_be_there() {
        let mut index = Index::default();
        let question = Question {
            account_id: 1,
            limit: 10,
            ..Question::default()
        };
        let named = Named {
            id: 7,
            name: "hello".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
        };
        let mut holdings = Holdings::default();
        holdings[0] = [(7, 8)].into();
        index.take(News {
            packages: vec![named],
            holdings: vec![(3, holdings)],
            roll: None,
            as_of: 1,
        });
        assert_eq!(
            index.answer(&question).count,
            0,
            "nobody said that it is there"
        );
        let roll = |computers: &[(i64, i64)]| News {
            roll: Some(computers.to_vec()),
            ..News::default()
        };
        index.take(roll(&[(3, 1), (4, 1)]));
        assert_eq!(index.answer(&question).count, 1);
        index.take(News::default());
        assert_eq!(index.answer(&question).count, 1, "not looked at");
        index.take(roll(&[(4, 1)]));
        assert_eq!((index.answer(&question).count, index.size()), (0, (1, 0)));
    }

    #[test]
    fn bits_are_those_of_the_spans() {
        let mut dice = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let highest = dice.i64(0..300);
            let mut bits = Bits::up_to(highest);
            let mut spans = Vec::new();
            let mut at = 0;
            while at < 320 && dice.u8(..) > 20 {
                let first = at + dice.i64(0..70);
                let end = first + dice.i64(1..140);
                spans.push((first, end));
                bits.set(first, end);
                at = end + 1;
            }
            for id in -70..400 {
                let wanted = has(&spans, id) && id <= highest;
                assert_eq!(bits.has(id), wanted, "{id} {highest} {spans:?}");
                let plain = spans
                    .iter()
                    .any(|(first, end)| (*first..*end).contains(&id));
                assert_eq!(has(&spans, id), plain, "{id} {spans:?}");
            }
        }
    }
}
