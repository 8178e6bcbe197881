//! What pulls of tags are answered with.

mod costs;
mod explain;
mod fallback;
mod healing;
mod images;
mod parts;
mod replicas;
mod trouble;
