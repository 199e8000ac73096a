//! Generated types of the sed.v1 interface and its descriptor set.
