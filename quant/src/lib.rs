//! Import, quantisation and precision search.
