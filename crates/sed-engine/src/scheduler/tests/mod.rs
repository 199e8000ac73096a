//! The scheduler with the fake model and a clock that the test moves.

mod accounts;
mod answers;
mod asked;
mod costs;
mod faults;
mod order;
mod preparing;
mod random;
mod simulation;
mod store;
mod words;
