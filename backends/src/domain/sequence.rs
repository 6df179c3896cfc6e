//! Which messages are new? The two streams of numbered messages between an agent and us.
//!
//! Each end counts. An agent may repeat what it has sent (our answer was lost), may be ahead of us
//! (our data were lost) and may be behind us (it was restored from a copy). The number we answer with
//! says what we have, and the agent finds the way back from there.

/// What to do with the messages of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// So many at the front are known already.
    pub skip: usize,
    /// So many after them are new.
    pub take: usize,
    /// The number we expect next.
    pub expected: i64,
}

/// Decides on `count` messages, the first of which has the number `first`, of which at most `max` are
/// taken now. `expected` is None at first contact: the agent's number is adopted.
pub fn intake(expected: Option<i64>, first: i64, count: usize, max: usize) -> Intake {
    let expected = expected.unwrap_or(first);
    // Behind us: it repeats. Ahead of us: something in between is lost, and none of this may be taken.
    let skip = expected
        .checked_sub(first)
        .and_then(|behind| usize::try_from(behind).ok());
    let Some(skip) = skip else {
        return Intake {
            skip: 0,
            take: 0,
            expected,
        };
    };
    let take = count.saturating_sub(skip).min(max);
    Intake {
        skip: skip.min(count),
        take,
        expected: expected.saturating_add(i64::try_from(take).unwrap_or(i64::MAX)),
    }
}

/// What an acknowledgement means for the messages that we keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// Everything before this number has arrived.
    Before(i64),
    /// The agent counts differently (first contact, a restored copy): what is kept is numbered again
    /// from this number.
    From(i64),
}

/// Decides on the agent's `wanted` number. `lowest` is the lowest number we keep, or the next one.
pub fn acknowledged(first_contact: bool, lowest: i64, next: i64, wanted: i64) -> Acknowledged {
    if !first_contact && (lowest..=next).contains(&wanted) {
        Acknowledged::Before(wanted)
    } else {
        Acknowledged::From(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Option<i64>, first: i64, count: usize, want: (usize, usize, i64)) {
        let got = intake(expected, first, count, 100);
        assert_eq!(
            (got.skip, got.take, got.expected),
            want,
            "{expected:?} {first} {count}"
        );
    }

    #[test]
    fn new_messages_are_taken_and_repeated_ones_are_not() {
        check(Some(0), 0, 0, (0, 0, 0));
        check(Some(7), 7, 3, (0, 3, 10));
        check(Some(7), 5, 3, (2, 1, 8));
        check(Some(7), 5, 2, (2, 0, 7));
        check(Some(7), 1, 3, (3, 0, 7));
    }

    #[test]
    fn nothing_is_taken_from_an_agent_that_is_ahead() {
        check(Some(7), 8, 3, (0, 0, 7));
        check(Some(0), i64::MAX, 1, (0, 0, 0));
        check(Some(i64::MAX), i64::MIN, 1, (0, 0, i64::MAX));
    }

    #[test]
    fn first_contact_adopts_the_agents_number() {
        check(None, 9, 0, (0, 0, 9));
        check(None, 3, 2, (0, 2, 5));
    }

    #[test]
    fn more_than_the_most_at_once_waits_for_the_next_exchange() {
        let got = intake(Some(5), 3, 200, 100);
        assert_eq!((got.skip, got.take, got.expected), (2, 100, 105));
    }

    #[test]
    fn an_acknowledgement_outside_of_what_we_keep_numbers_it_again() {
        assert_eq!(acknowledged(false, 3, 5, 3), Acknowledged::Before(3));
        assert_eq!(acknowledged(false, 3, 5, 5), Acknowledged::Before(5));
        assert_eq!(acknowledged(false, 3, 5, 2), Acknowledged::From(2));
        assert_eq!(acknowledged(false, 3, 5, 6), Acknowledged::From(6));
        assert_eq!(acknowledged(true, 0, 0, 0), Acknowledged::From(0));
        assert_eq!(acknowledged(true, 0, 0, 4), Acknowledged::From(4));
    }
}
