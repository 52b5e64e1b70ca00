//! A numbered snapshot of the cluster state, as every role reads it.

use std::ops::Deref;
use std::sync::Arc;

use crate::state::ClusterState;

/// An immutable version of the cluster state. Cheap to clone; reads as the [`ClusterState`] itself.
#[derive(Clone, Debug, Default)]
pub struct View {
    state: Arc<ClusterState>,
}

impl View {
    /// Wraps a state.
    pub fn new(state: Arc<ClusterState>) -> Self {
        View { state }
    }

    /// The shared state behind the view.
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
