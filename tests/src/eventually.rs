//! How long does a test wait? Until it is true, or until its patience ends.
//!
//! Waiting for a fact is `eventually` (asked again and again) or `within` (a future that must end).
//! `PATIENCE=5` makes every wait five times as long, for a slow or loaded machine. The length of a
//! wait is never what a test asserts.

use std::future::Future;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(15);
const BETWEEN: Duration = Duration::from_millis(10);

/// How long a test waits for what must happen: 15 s, times the environment's `PATIENCE`.
pub fn patience() -> Duration {
    let factor = std::env::var("PATIENCE")
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    PATIENCE.mul_f64(factor.unwrap_or(1.0).clamp(0.1, 100.0))
}

/// Asks until the answer is `Some`; panics with `what` when patience ends.
pub async fn eventually<T, Ask, Answer>(what: &str, mut ask: Ask) -> T
where
    Ask: FnMut() -> Answer,
    Answer: Future<Output = Option<T>>,
{
    let end = Instant::now() + patience();
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(Instant::now() < end, "never came true: {what}");
        tokio::time::sleep(BETWEEN).await;
    }
}

/// Waits for a future that must end; panics with `what` when patience ends first.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience(), future).await {
        Ok(value) => value,
        Err(_) => panic!("still waiting after {:?}: {what}", patience()),
    }
}

/// Lets time pass where the time itself is the fault under test (a pool that is empty for so long,
/// a stream that is silent for so long). Never a way to wait for something.
pub async fn for_a_while(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eventually_asks_again_until_it_is_true() {
        let mut asked = 0;
        let value = eventually("the third answer", || {
            asked += 1;
            let asked = asked;
            async move { (asked == 3).then_some(asked) }
        })
        .await;
        assert_eq!(value, 3);
    }
}
