//! The scheduler with the fake model and a clock that the test moves.

mod accounts;
mod costs;
mod faults;
mod order;
mod preparing;
mod random;
mod simulation;
mod store;
mod words;
