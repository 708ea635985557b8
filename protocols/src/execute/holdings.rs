//! What a party has beside the plan.

use std::sync::Arc;

use crate::hints::{Delivery, PublicHints, ServerHints};
use crate::plan::{Load, Plan};
use crate::weights::Weights;
use crate::{Error, Role};

/// What a party has beside the plan. Only the server has weights.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    pub(super) weights: Option<Arc<Weights>>,
    hints: (Option<Arc<ServerHints>>, Option<Arc<PublicHints>>),
}

impl Holdings {
    /// A server's, with the hints that its plan names, if it names any.
    pub const fn of_server(weights: Arc<Weights>, hints: Option<Arc<ServerHints>>) -> Self {
        Self { weights: Some(weights), hints: (hints, None) }
    }

    /// A client's, with the hints that its plan names, if it knows them.
    pub const fn of_client(hints: Option<Arc<PublicHints>>) -> Self {
        Self { weights: None, hints: (None, hints) }
    }

    /// Whose they are.
    pub const fn role(&self) -> Role {
        if self.weights.is_some() { Role::Server } else { Role::Client }
    }

    /// The hints for one session.
    pub(super) fn delivery(&self, plan: &Plan, load: Load) -> Result<Delivery, Error> {
        Delivery::new(plan, self.role(), load.hints, self.hints.clone())
    }
}

impl From<Option<Arc<Weights>>> for Holdings {
    /// Of a plan that names no hints.
    fn from(weights: Option<Arc<Weights>>) -> Self {
        Self { weights, hints: (None, None) }
    }
}
