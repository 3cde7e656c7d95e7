//! Measurements: criterion benchmarks in `benches/`, and the side-by-side comparisons of `make
//! bench` in `src/bin/compare/`. This library has what comparisons are made of.

pub mod report;
