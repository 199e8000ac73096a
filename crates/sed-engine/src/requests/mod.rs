//! Requests: jobs and their words, outcomes, reports and errors.

pub(crate) mod error;
pub(crate) mod image;
pub(crate) mod job;
pub(crate) mod report;
pub(crate) mod vocabulary;
pub(crate) mod vocabulary_book;
