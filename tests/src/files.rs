//! May this process have as many files open as a test needs?

use rlimit::Resource;

/// Raises the limit of open files to so many; panics, with what to do, where that is not allowed.
pub fn need_open_files(count: u64) {
    let (soft, hard) = Resource::NOFILE.get().expect("the limit can be read");
    if soft >= count {
        return;
    }
    let raised = Resource::NOFILE.set(count, hard.max(count)).is_ok();
    assert!(
        raised,
        "this test needs {count} open files, and no more than {hard} are allowed: `ulimit -Hn {count}`"
    );
}
