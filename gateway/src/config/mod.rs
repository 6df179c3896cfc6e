//! What was asked for?

pub mod model;
