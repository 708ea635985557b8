//! What every command gets.

use crate::cleanup::Cleanup;
use crate::console::Console;

/// What every command gets.
pub(crate) struct App {
    pub(crate) console: Console,
    pub(crate) cleanup: Cleanup,
}
