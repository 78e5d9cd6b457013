//! The room as its callers see it: what was written is read, and what is damaged is refused.

mod forge;
mod hostile;
mod mutations;
mod round_trip;
