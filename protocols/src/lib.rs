//! The protocols of two-party quantised inference.
