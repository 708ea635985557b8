//! End-to-end tests: the real binary, real processes, real connections.

#![allow(clippy::unwrap_used)]

mod attacks;
mod compare;
mod cut;
mod data;
mod exit_codes;
mod functions;
#[cfg(target_os = "linux")]
mod gateway;
mod hints;
mod honest;
mod inference;
mod inspect;
mod interchange;
mod interrupt;
mod library;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod log;
mod memory;
mod names;
mod networks;
mod out;
mod products;
mod reshape;
mod schema;
mod search;
mod secrets;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_faults;
#[cfg(target_os = "linux")]
mod serve_load;
mod support;
mod tls;
mod train;
mod tune;
mod usage;
#[cfg(target_os = "linux")]
mod web;
mod x509;
