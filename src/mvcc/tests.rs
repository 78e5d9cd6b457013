//! The store as a whole: the worked example, histories against a naive model, restarts.

mod engine;
mod example;
