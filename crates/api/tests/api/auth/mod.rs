//! Who calls, and what is refused.

pub(crate) mod denials;
pub(crate) mod guesses;
pub(crate) mod jwt;
pub(crate) mod tokens;
