//! drive

pub mod worker;
