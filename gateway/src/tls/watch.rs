//! Have these files changed, and do they rest? A look at files that reads none of them.
//!
//! Promises: a write, a rename and another target of a symbolic link are seen; what is being written is left alone until
//! two looks find it the same; what was refused is asked for again after a minute, and told once for the same reasons.
//! Where the wall clock was set, everything is read again: what it made look out of date may not be.
//! Does not: read, or look by itself.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::time::Clocks;
use crate::config::problem::Problem;

/// What was refused is tried again after this long, even where no file changed: it may have become valid.
const AGAIN: Duration = Duration::from_secs(60);

/// Files that are read together.
pub struct Watch {
    files: Vec<PathBuf>,
    /// As they were before they were last read.
    read: Vec<Stamp>,
    /// As they were at the last look, where they had changed: they are read once they rest.
    moving: Option<Vec<Stamp>>,
    /// What was refused, and when.
    refused: Option<(Vec<Problem>, Instant)>,
    /// The clocks at the last look.
    seen: Clocks,
    /// They were last read for no other reason than that the clock was set.
    only_set: bool,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Same,
    /// Something changes just now: look again soon.
    Moving,
    /// They are to be read.
    Changed,
}

impl Watch {
    /// To be made before the files are read: what changes meanwhile is seen at the next look.
    pub fn new(files: Vec<PathBuf>, now: Clocks) -> Watch {
        Watch {
            read: stamps(&files),
            files,
            moving: None,
            refused: None,
            seen: now,
            only_set: false,
        }
    }

    /// Looks. `due` is whether they are to be read even where they are as they were.
    pub fn look(&mut self, due: bool, now: Clocks) -> Seen {
        let was_set = now.were_set_since(std::mem::replace(&mut self.seen, now));
        self.only_set = false;
        let stamps = stamps(&self.files);
        if stamps == self.read {
            self.moving = None;
            let since = |at: &Instant| now.steady.saturating_duration_since(*at);
            let refused = self.refused.as_ref();
            if !due && refused.is_none_or(|(_, at)| since(at) < AGAIN) {
                if !was_set {
                    return Seen::Same;
                }
                self.only_set = true;
            }
        } else if self.moving.as_ref() != Some(&stamps) {
            self.moving = Some(stamps);
            return Seen::Moving;
        }
        self.moving = None;
        self.read = stamps;
        Seen::Changed
    }

    /// What was read is sound.
    pub fn accept(&mut self) {
        self.refused = None;
    }

    /// What was read is not, for these reasons. True where they are news: what a set clock has come upon is still used.
    pub fn refuse(&mut self, problems: &[Problem], now: Clocks) -> bool {
        let old = self.refused.replace((problems.to_vec(), now.steady));
        !self.only_set && old.is_none_or(|(old, _)| old != problems)
    }
}

/// What tells one state of a file from another without reading it; `None` where it cannot be seen.
type Stamp = Option<[i64; 7]>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let files = files.iter();
    files
        .map(|path| std::fs::metadata(path).ok().map(|found| stamp(&found)))
        .collect()
}

fn stamp(found: &Metadata) -> [i64; 7] {
    [
        found.dev() as i64,
        found.ino() as i64,
        found.size() as i64,
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Place;

    #[test]
    fn files_are_read_once_they_rest_and_again_where_they_were_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, "1").unwrap();
        let now = Clocks::read();
        let mut watch = Watch::new(vec![one.clone(), two.clone()], now);
        assert_eq!(watch.look(false, now), Seen::Same);
        assert_eq!(watch.look(true, now), Seen::Changed, "it is due");
        std::fs::write(&two, "2").unwrap();
        assert_eq!(watch.look(false, now), Seen::Moving);
        std::fs::write(&two, "22").unwrap();
        assert_eq!(watch.look(false, now), Seen::Moving, "it still changes");
        assert_eq!(watch.look(false, now), Seen::Changed);
        let wrong = [Problem::error(Place::default(), "no".to_owned())];
        assert!(watch.refuse(&wrong, now));
        assert_eq!(watch.look(false, now), Seen::Same);
        assert_eq!(watch.look(false, now.after(AGAIN)), Seen::Changed);
        assert!(!watch.refuse(&wrong, now.after(AGAIN)), "that was told");
        watch.accept();
        assert_eq!(watch.look(false, now.after(3 * AGAIN)), Seen::Same);
        assert!(watch.refuse(&wrong, now), "it was good in between");
    }

    #[test]
    fn what_was_refused_is_asked_for_again_whatever_the_wall_clock_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let mut now = Clocks::read();
        let mut watch = Watch::new(vec![file], now);
        assert_eq!(watch.look(true, now), Seen::Changed);
        assert!(watch.refuse(&[], now));
        // It creeps back, too little at a time to be called set: by it, a minute is never over.
        let second = Duration::from_secs(1);
        let asked = (1..=60).filter(|_| {
            now.steady += second;
            watch.look(false, now) == Seen::Changed
        });
        assert_eq!(asked.count(), 1);
    }

    #[test]
    fn a_clock_that_was_set_has_all_read_again_and_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let now = Clocks::read();
        let mut watch = Watch::new(vec![file.clone()], now);
        let year = Duration::from_secs(365 * 86_400);
        let ahead = Clocks {
            wall: now.wall + year,
            ..now
        };
        assert_eq!(watch.look(false, ahead), Seen::Changed);
        let expired = [Problem::error(Place::default(), "expired".to_owned())];
        assert!(!watch.refuse(&expired, ahead), "it is still used");
        assert_eq!(watch.look(false, ahead), Seen::Same, "once");
        assert_eq!(watch.look(false, now), Seen::Changed, "and back");
        watch.accept();
        assert_eq!(watch.look(false, now), Seen::Same);
        // What is replaced meanwhile is news.
        assert_eq!(watch.look(false, ahead), Seen::Changed);
        std::fs::write(&file, "22").unwrap();
        assert_eq!(watch.look(false, ahead), Seen::Moving);
        assert_eq!(watch.look(false, ahead), Seen::Changed);
        assert!(watch.refuse(&expired, ahead));
    }
}
