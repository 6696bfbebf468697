//! Interfaces that come and go while the host is in use.

mod churn;
mod lab;
mod removal;
mod turns;
