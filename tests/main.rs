//! End-to-end tests: the real binary, real processes, real connections.

#![allow(clippy::unwrap_used)]

mod compare;
mod cut;
mod data;
mod exit_codes;
mod functions;
mod inference;
mod inspect;
mod interchange;
mod interrupt;
mod networks;
mod search;
mod support;
