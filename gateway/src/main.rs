//! How is the process started?

fn main() {}
