//! Which activities are meant? A short language: `status:`, `computer:`, `id:`, `parent-id:` and words.

/// Longest query, characters.
const CHARS_MAX: usize = 1024;

/// The states in which clients see an activity.
pub const STATUSES: [&str; 7] = [
    "undelivered",
    "scheduled",
    "delivered",
    "succeeded",
    "failed",
    "canceled",
    "unapproved",
];

/// Which activities; every part that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Groups alone.
    pub parents: bool,
    /// Children of this one.
    pub parent: Option<i64>,
    /// Of this computer.
    pub computer: Option<i64>,
    /// In this state.
    pub status: Option<String>,
    /// With these numbers.
    pub ids: Option<Vec<i64>>,
    /// With this in the summary, in upper or lower case.
    pub word: Option<String>,
}

impl Wanted {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// Which part is wrong.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.chars().count() > CHARS_MAX {
            return Err(format!("a query has at most {CHARS_MAX} characters"));
        }
        let mut wanted = Self::default();
        let mut words = Vec::new();
        for part in text.split_whitespace() {
            let number = |value: &str| {
                value
                    .parse::<i64>()
                    .map_err(|_| format!("`{part}` takes a number"))
            };
            match part.split_once(':') {
                None => words.push(part),
                Some(("status", value)) if STATUSES.contains(&value) => {
                    wanted.status = Some(value.to_owned());
                }
                Some(("status", value)) => return Err(format!("there is no status `{value}`")),
                Some(("computer", value)) => {
                    let value = value.strip_prefix("id:").unwrap_or(value);
                    wanted.computer = Some(number(value)?);
                }
                Some(("id", value)) => {
                    wanted.ids.get_or_insert_default().push(number(value)?);
                }
                Some(("parent-id" | "parent", value)) => wanted.parent = Some(number(value)?),
                Some((key, _)) => {
                    return Err(format!(
                        "there is no key `{key}:` in queries for activities"
                    ));
                }
            }
        }
        if !words.is_empty() {
            wanted.word = Some(words.join(" "));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_is_asked_breaks_it(text in "(status|computer|id|parent|:|-?[0-9]{0,20}|é| |\\PC){0,30}") {
            let _ = Wanted::read(&text);
        }
    }

    #[test]
    fn queries_are_read() {
        let wanted = Wanted::read("status:failed computer:id:7 parent-id:3 id:1 id:2 Run script");
        assert_eq!(
            wanted.expect("right"),
            Wanted {
                parents: false,
                parent: Some(3),
                computer: Some(7),
                status: Some("failed".to_owned()),
                ids: Some(vec![1, 2]),
                word: Some("Run script".to_owned()),
            }
        );
        assert_eq!(Wanted::read(" ").expect("all"), Wanted::default());
        for (text, told) in [
            ("status:x", "no status"),
            ("id:x", "a number"),
            ("colour:red", "no key `colour:`"),
        ] {
            let problem = Wanted::read(text).expect_err(text);
            assert!(problem.contains(told), "{problem}");
        }
    }
}
