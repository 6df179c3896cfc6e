//! Is what the services need there? What the checks of a dependency have found: up or down, since when and why.
//!
//! Promises: the first check decides alone, afterwards as many in a row as `rise` and `fall` say; a change is returned, not
//! pushed. Pure: the time is handed in. Does not: make checks, or know of pools; nothing that is found here stops a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::config::model;
use crate::io::secure::Secure;

/// Longest reason that is kept, bytes.
const REASON_BYTES_MAX: usize = 400;

/// A dependency that is looked at.
pub struct Dependency {
    model: model::Dependency,
    secure: ArcSwapOption<Secure>,
    known: Mutex<Known>,
    checks: AtomicU64,
    checks_failed: AtomicU64,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not looked at yet.
    Unknown,
    /// It is there.
    Up,
    /// It is not.
    Down,
}

impl State {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Up => "up",
            State::Down => "down",
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    state: State,
    since: Instant,
    reason: String,
    passed: u32,
    failed: u32,
    last: Option<(Instant, Duration)>,
    next: Option<Instant>,
}

/// What is told of it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What is known.
    pub state: State,
    /// For how long.
    pub since: Instant,
    /// What the last check found, where there is more to say than that it passed.
    pub reason: String,
    /// Failed checks in a row.
    pub failures: u32,
    /// When the last check ended, and how long it took.
    pub last: Option<(Instant, Duration)>,
    /// When the next begins; `None` while one is under way, and when there will be none.
    pub next: Option<Instant>,
}

/// A change, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What was known.
    pub from: State,
    /// What is known.
    pub to: State,
    /// Why.
    pub reason: String,
}

impl Dependency {
    /// One of which nothing is known.
    pub fn new(model: model::Dependency, now: Instant) -> Arc<Dependency> {
        let known = Known {
            state: State::Unknown,
            since: now,
            reason: String::new(),
            passed: 0,
            failed: 0,
            last: None,
            next: None,
        };
        Arc::new(Dependency::with(model, known))
    }

    /// Takes the place of another; what is known holds on where the same is asked of the same server.
    pub fn succeed(model: model::Dependency, old: &Dependency, now: Instant) -> Arc<Dependency> {
        let same = |a: &model::Dependency, b: &model::Dependency| {
            (a.address, &a.kind, &a.tls) == (b.address, &b.kind, &b.tls)
        };
        if !same(&model, &old.model) {
            return Dependency::new(model, now);
        }
        let known = Known {
            next: None,
            ..old.known(|known| known.clone())
        };
        Arc::new(Dependency::with(model, known))
    }

    fn with(model: model::Dependency, known: Known) -> Dependency {
        Dependency {
            model,
            secure: ArcSwapOption::empty(),
            known: Mutex::new(known),
            checks: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
        }
    }

    /// As configured.
    pub fn model(&self) -> &model::Dependency {
        &self.model
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.model.name
    }

    /// How it is reached over TLS, where it is.
    pub fn secure(&self) -> Option<Arc<Secure>> {
        self.secure.load_full()
    }

    /// From now on it is reached so. No protocol is named in the handshake: what is behind a port of its own needs none, and
    /// PostgreSQL refuses those that it does not know.
    pub fn set_secure(&self, secure: Option<Arc<Secure>>) {
        self.secure.store(secure.map(Secure::without_alpn));
    }

    /// A check begins.
    pub fn begin(&self) {
        self.known(|known| known.next = None);
    }

    /// A check has ended: it passed, with a word about how where there is one, or failed for a reason.
    pub fn found(
        &self,
        found: Result<&str, &str>,
        took: Duration,
        now: Instant,
    ) -> Option<Transition> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if found.is_err() {
            self.checks_failed.fetch_add(1, Ordering::Relaxed);
        }
        let (rise, fall) = (self.model.rise, self.model.fall);
        self.known(|known| known.take(found, took, now, rise, fall))
    }

    /// When the next check begins.
    pub fn plan_next(&self, at: Instant) {
        self.known(|known| known.next = Some(at));
    }

    /// There will be no more checks in this process; what was found last stays.
    pub fn rest(&self) {
        self.known(|known| known.next = None);
    }

    /// Whether it is up and the last check passed.
    pub fn is_well(&self) -> bool {
        self.known(|known| known.state == State::Up && known.failed == 0)
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.known(|known| Snapshot {
            state: known.state,
            since: known.since,
            reason: known.reason.clone(),
            failures: known.failed,
            last: known.last,
            next: known.next,
        })
    }

    /// Checks made, since it is configured so.
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// Those of them that failed.
    pub fn checks_failed(&self) -> u64 {
        self.checks_failed.load(Ordering::Relaxed)
    }

    fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn take(
        &mut self,
        found: Result<&str, &str>,
        took: Duration,
        now: Instant,
        rise: u32,
        fall: u32,
    ) -> Option<Transition> {
        self.last = Some((now, took));
        self.reason = cut(found.unwrap_or_else(|reason| reason));
        (self.passed, self.failed) = match found {
            Ok(_) => (self.passed.saturating_add(1), 0),
            Err(_) => (0, self.failed.saturating_add(1)),
        };
        let to = match (self.state, found) {
            (State::Unknown, Ok(_)) => State::Up,
            (State::Unknown, Err(_)) => State::Down,
            (State::Down, Ok(_)) if self.passed >= rise => State::Up,
            (State::Up, Err(_)) if self.failed >= fall => State::Down,
            (same, _) => same,
        };
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return None;
        }
        self.since = now;
        Some(Transition {
            from,
            to,
            reason: self.reason.clone(),
        })
    }
}

/// On one line and not too long, whoever said it.
fn cut(reason: &str) -> String {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    reason[..end].chars().map(plain).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::model::DependencyKind;

    fn dependency(rise: u32, fall: u32) -> Arc<Dependency> {
        let address = "127.0.0.1:5672".parse().unwrap();
        let model = model::Dependency {
            rise,
            fall,
            ..model::Dependency::new("broker", DependencyKind::Amqp, address)
        };
        Dependency::new(model, Instant::now())
    }

    /// What is known after each of these checks, `.` for one that passed.
    fn states(dependency: &Dependency, checks: &str) -> String {
        let each = checks.chars().map(|check| {
            let found = if check == '.' { Ok("") } else { Err("refused") };
            dependency.found(found, Duration::ZERO, Instant::now());
            &dependency.snapshot().state.as_str()[..1]
        });
        each.collect()
    }

    #[test]
    fn the_first_check_decides_and_then_rise_and_fall() {
        assert_eq!(dependency(1, 3).snapshot().state, State::Unknown);
        assert_eq!(states(&dependency(2, 3), "xx...xx.xxxx"), "ddduuuuuuudd");
        assert_eq!(states(&dependency(1, 1), ".x.x"), "udud");
    }

    #[test]
    fn a_change_is_told_once_and_time_counts_from_it() {
        let dependency = dependency(1, 2);
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let found = |found, second| dependency.found(found, Duration::from_millis(3), at(second));
        let up = found(Ok("standby"), 1).unwrap();
        assert_eq!((up.from, up.to), (State::Unknown, State::Up));
        assert_eq!(found(Ok("standby"), 2), None);
        assert_eq!(found(Err("sealed"), 3), None);
        let down = found(Err("sealed"), 4).unwrap();
        assert_eq!((down.to, down.reason.as_str()), (State::Down, "sealed"));
        assert_eq!(found(Err("refused"), 5), None);
        let told = dependency.snapshot();
        assert_eq!((told.since, told.failures), (at(4), 3));
        assert_eq!(told.reason, "refused", "the last one counts");
        assert_eq!(told.last, Some((at(5), Duration::from_millis(3))));
        assert_eq!((dependency.checks(), dependency.checks_failed()), (5, 3));
    }

    #[test]
    fn a_change_of_the_pace_keeps_what_is_known_and_another_server_does_not() {
        let old = dependency(1, 3);
        states(&old, ".");
        let slower = model::Dependency {
            interval: Duration::from_secs(60),
            ..old.model().clone()
        };
        let now = Instant::now();
        let kept = Dependency::succeed(slower, &old, now).snapshot();
        assert_eq!(kept.state, State::Up);
        let elsewhere = model::Dependency {
            address: "127.0.0.1:5673".parse().unwrap(),
            ..old.model().clone()
        };
        let fresh = Dependency::succeed(elsewhere, &old, now).snapshot();
        assert_eq!((fresh.state, fresh.since), (State::Unknown, now));
    }

    #[test]
    fn what_a_server_says_is_kept_on_one_line_and_within_bounds() {
        let dependency = dependency(1, 1);
        let long = format!("no\nline\u{1b}[31m {}", "ä".repeat(1_000));
        dependency.found(Err(&long), Duration::ZERO, Instant::now());
        let reason = dependency.snapshot().reason;
        assert!(reason.starts_with("no line [31m ä"), "{reason}");
        assert!(reason.len() <= REASON_BYTES_MAX);
    }
}
