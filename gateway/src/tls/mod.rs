//! Which certificate, which trust?
