//! Waiting for a view that is as new as somebody else's, on threads that may block.

use std::time::Duration;

use crate::meta::Meta;
use crate::view::View;

impl Meta {
    /// Waits until the view is as it should be, but no longer than `time`; answers the newest view. Blocks.
    pub fn await_view_blocking(&self, time: Duration, is_so: impl Fn(&View) -> bool) -> View {
        let view = self.view();
        if is_so(&view) {
            return view;
        }
        let mut watch = self.watch();
        let waiting = async {
            let _late_or_ended = tokio::time::timeout(time, watch.wait_for(is_so)).await;
        };
        self.runtime().block_on(waiting);
        self.view()
    }
}
