//! How well do a digit's nearest neighbours tell which digit it is? A study as a pipeline of memoized functions.
//!
//! [`study`] holds the two functions that the study consists of, [`data`] reads its input, [`report`] and [`chart`]
//! show its results, [`run`] puts them together.

pub mod chart;
pub mod data;
pub mod report;
pub mod run;
pub mod study;
