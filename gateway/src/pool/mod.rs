//! Which worker?
