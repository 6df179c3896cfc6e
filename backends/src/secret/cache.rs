//! What has a Vault told us, and is it still fresh? Pure: the time is handed in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most values; the one that was asked for longest ago makes room.
const VALUES_MAX: usize = 10_000;

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// As it was told a moment ago.
    Fresh(Arc<str>),
    /// As it was told once; good while nobody can be asked.
    Stale(Arc<str>),
    /// Nothing.
    Unknown,
}

/// Values by name.
pub struct Cache {
    fresh: Duration,
    values: HashMap<String, (Arc<str>, Instant)>,
}

impl Cache {
    /// An empty one, whose values are fresh for so long.
    pub fn new(fresh: Duration) -> Self {
        let values = HashMap::new();
        Self { fresh, values }
    }

    /// What is known of a name.
    pub fn look(&self, name: &str, now: Instant) -> Known {
        match self.values.get(name) {
            Some((value, at)) if now.duration_since(*at) < self.fresh => {
                Known::Fresh(Arc::clone(value))
            }
            Some((value, _)) => Known::Stale(Arc::clone(value)),
            None => Known::Unknown,
        }
    }

    /// It was told now.
    pub fn put(&mut self, name: &str, value: Arc<str>, now: Instant) {
        if self.values.len() >= VALUES_MAX && !self.values.contains_key(name) {
            let oldest = self.values.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.values.remove(&oldest);
            }
        }
        self.values.insert(name.to_owned(), (value, now));
    }

    /// There is none.
    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// How many values are known.
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_grow_stale_and_stay_until_they_are_removed() {
        let (start, mut cache) = (Instant::now(), Cache::new(Duration::from_secs(30)));
        assert_eq!(cache.look("a", start), Known::Unknown);
        cache.put("a", "x".into(), start);
        let later = start + Duration::from_secs(29);
        assert_eq!(cache.look("a", later), Known::Fresh("x".into()));
        let later = start + Duration::from_secs(3000);
        assert_eq!(cache.look("a", later), Known::Stale("x".into()));
        cache.remove("a");
        assert_eq!(cache.look("a", later), Known::Unknown);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (start, mut cache) = (Instant::now(), Cache::new(Duration::from_secs(30)));
        for number in 0..=VALUES_MAX as u64 {
            let at = start + Duration::from_millis(number);
            cache.put(&number.to_string(), "x".into(), at);
        }
        assert_eq!(cache.len(), VALUES_MAX);
        assert_eq!(cache.look("0", start), Known::Unknown);
        assert_ne!(cache.look("1", start), Known::Unknown);
    }
}
