//! The store as a whole: stories with known ends, golden hashes, histories against a naive model.

mod compaction;
mod engine;
mod example;
mod golden;
mod history;
mod model;
mod scan;
