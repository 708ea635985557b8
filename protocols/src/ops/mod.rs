//! Operators on shares, one file each.
