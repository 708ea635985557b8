//! The integer network, its meaning, and its lowering to a plan.
