//! A study of handwritten digits as a pipeline of memoized functions: how well do a digit's nearest neighbours identify it?
//!
//! [`study`] contains the memoized functions, [`data`] reads the input, [`report`] and [`chart`] show the results, and [`run`]
//! is the program.

pub mod chart;
pub mod data;
pub mod report;
pub mod run;
pub mod study;
