//! Load for Sheaf: invoices to send, drivers that send them, and what follows from the answers.
//! Speaks HTTP only.
//!
//! A closed loop finds the highest rate that a server takes, and hides latency under overload,
//! because a slow server slows its clients. Latency is for the open loop to tell.

pub mod load;
pub mod result;

pub mod capacity;
pub mod check;
pub mod file;
pub mod poison;
pub mod simulate;
pub mod sweep;
