//! What a service manager is told (sd_notify(3)); nobody, where there is none.

use sd_notify::NotifyState;

pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told how the server is");
    }
}
