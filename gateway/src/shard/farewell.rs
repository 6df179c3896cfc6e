//! When do long streams have to end? Windows of time, and each stream's moment in one.
//!
//! Promises: moments are spread evenly over their window, so that clients do not come back all at once. Pure.

use std::time::{Duration, Instant};

use crate::config::model::{Drain, Upgrade};

/// What takes time after a stream's moment: a closing handshake, trailers.
const MARGIN: Duration = Duration::from_secs(3);

/// Two kinds of streams that live long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A WebSocket: nothing but its end makes its client go elsewhere.
    Socket,
    /// A call of gRPC: it may be a short one that ends by itself, and GOAWAY has told its client where to go next.
    Call,
}

/// From the first moment to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    /// The moment at this share of the window, from 0 to 1.
    fn at(&self, share: f64) -> Instant {
        self.from + (self.until - self.from).mul_f64(share.clamp(0.0, 1.0))
    }
}

/// When streams have to end. `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    sockets: Option<Window>,
    calls: Option<Window>,
}

impl Farewell {
    /// The gateway stops: sockets go from the beginning on, calls towards the end.
    pub fn of_stop(drain: &Drain, now: Instant) -> Farewell {
        let last = now + drain.deadline - margin(drain.deadline);
        let sockets = Window {
            from: now,
            until: last.min(now + drain.spread),
        };
        Farewell {
            sockets: Some(sockets),
            calls: Some(ending_at(last, drain.spread, now)),
        }
    }

    /// Another process has taken over: streams live on, up to the end of their time.
    pub fn of_upgrade(upgrade: &Upgrade, drain: &Drain, now: Instant) -> Farewell {
        if upgrade.deadline.is_zero() {
            return Farewell::default();
        }
        let last = now + upgrade.deadline - margin(upgrade.deadline);
        let window = Some(ending_at(last, drain.spread, now));
        Farewell {
            sockets: window,
            calls: window,
        }
    }

    /// The moment of the `count`th stream that asks.
    pub fn moment(&self, kind: StreamKind, count: u32) -> Option<Instant> {
        // Multiples of the golden section, without their whole part, leave no two far or near.
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let window = match kind {
            StreamKind::Socket => self.sockets,
            StreamKind::Call => self.calls,
        };
        Some(window?.at((f64::from(count) * GOLDEN).fract()))
    }
}

fn margin(deadline: Duration) -> Duration {
    MARGIN.min(deadline / 5)
}

fn ending_at(last: Instant, spread: Duration, now: Instant) -> Window {
    Window {
        from: last.checked_sub(spread).unwrap_or(now).max(now),
        until: last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(deadline: u32, spread: u32) -> Drain {
        Drain {
            deadline: SECOND * deadline,
            spread: SECOND * spread,
        }
    }

    fn moments(farewell: &Farewell, kind: StreamKind, now: Instant) -> Vec<Duration> {
        (0..1000)
            .map(|count| farewell.moment(kind, count).unwrap() - now)
            .collect()
    }

    #[test]
    fn sockets_go_evenly_from_the_beginning_and_calls_towards_the_end() {
        let now = Instant::now();
        let farewell = Farewell::of_stop(&drain(30, 10), now);
        for (kind, begin) in [(StreamKind::Socket, 0), (StreamKind::Call, 17)] {
            let moments = moments(&farewell, kind, now);
            for second in begin..begin + 10 {
                let of_it = moments.iter().filter(|it| it.as_secs() == second).count();
                assert!((95..=105).contains(&of_it), "{kind:?} {second}: {of_it}");
            }
        }
    }

    #[test]
    fn a_short_deadline_comes_before_the_spread() {
        let now = Instant::now();
        let farewell = Farewell::of_stop(&drain(5, 10), now);
        for kind in [StreamKind::Socket, StreamKind::Call] {
            let moments = moments(&farewell, kind, now);
            assert!(moments.iter().all(|it| *it <= 4 * SECOND), "{kind:?}");
        }
        let at_once = Farewell::of_stop(&drain(0, 10), now);
        assert_eq!(at_once.moment(StreamKind::Call, 7), Some(now));
    }

    #[test]
    fn after_an_upgrade_streams_have_their_time_or_for_ever() {
        let now = Instant::now();
        let mut upgrade = Upgrade::default();
        let farewell = Farewell::of_upgrade(&upgrade, &drain(30, 10), now);
        let hour = 3600 * SECOND;
        for moment in moments(&farewell, StreamKind::Socket, now) {
            assert!(hour - 13 * SECOND <= moment && moment <= hour - 3 * SECOND);
        }
        upgrade.deadline = Duration::ZERO;
        let farewell = Farewell::of_upgrade(&upgrade, &drain(30, 10), now);
        assert_eq!(farewell.moment(StreamKind::Call, 1), None);
    }
}
