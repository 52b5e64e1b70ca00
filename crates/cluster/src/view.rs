//! A numbered snapshot of the cluster state, as every role reads it.

use std::ops::Deref;
use std::sync::Arc;

use crate::state::ClusterState;

/// A numbered snapshot of what meta knows; reads as the [`ClusterState`].
#[derive(Clone, Debug, Default)]
pub struct View {
    state: Arc<ClusterState>,
}

impl View {
    /// The view of a state.
    pub fn new(state: Arc<ClusterState>) -> Self {
        View { state }
    }

    /// The state itself.
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }
}

impl Deref for View {
    type Target = ClusterState;

    fn deref(&self) -> &ClusterState {
        &self.state
    }
}
