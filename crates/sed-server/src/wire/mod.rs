//! A message's cost, read off its bytes before anything is built of it.
//!
//! Protobuf multiplies: an entry of a repeated message is two bytes on the wire and hundreds in memory.
//! [`Schema`] knows from the descriptors which fields are messages; [`Schema::weigh`] walks over tags and
//! lengths without allocating, and reports how many entries there are and how much memory they will take.

mod schema;
mod walk;

pub(crate) use self::{
    schema::{MessageIndex, Schema},
    walk::Malformed,
};
