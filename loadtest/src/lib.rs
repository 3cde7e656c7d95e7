//! Load for Sheaf: invoices to send, drivers that send them, and what follows from the answers.
//! Speaks HTTP only.
//!
//! | module | job |
//! |---|---|
//! | [`generate`] | realistic invoices as JSON, the same ones for the same seed |
//! | [`http`] | one HTTP/1.1 connection, comfortable |
//! | [`closed`] | the closed loop: a fixed number of connections, each sends when its last answer is in |
//! | [`setup`], [`material`] | tenants and API keys to send for, invoices to work on |
//! | [`open`] | the open loop: requests are due when they are due, whatever the server does |
//! | [`arrivals`], [`mix`], [`workload`] | when, what, and the requests themselves |
//! | [`wire`], [`timer`] | as cheap and as precise as it gets |
//! | [`stolen`] | what the machine's host took away meanwhile |
//! | [`record`], [`run`] | latencies, and what a run found |
//! | [`objective`], [`baseline`] | conditions for an exit code; two runs compared |
//! | [`report`], [`plot`] | Markdown and HTML |
//! | [`sweep`] | the highest rate that meets an objective |
//! | [`measure`] | what operations cost, from rounds of load and counters |
//! | [`simulate`] | years of invoices in an hour: whether anything grows that should not |
//! | [`command`] | commands of the user's, for what HTTP does not tell |
//! | [`capacity`] | from measured costs and prices to machines and money over the years |
//! | [`check`] | everything at once while things break, and a judge of what was answered |
//! | [`poison`] | every field at its extremes, while others must not notice |
//! | [`neighbours`] | one hostile tenant beside quiet ones |
//! | [`stub`] | a server with known delays, to check all of this against |
//!
//! A closed loop finds the highest rate that a server takes, and hides latency under overload,
//! because a slow server slows its clients. Latency is for the open loop to tell.

pub mod load;
pub mod result;

pub mod capacity;
pub mod check;
pub mod poison;
pub mod simulate;
pub mod sweep;
