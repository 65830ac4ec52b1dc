//! How background work learns that the process stops.

use std::time::Duration;

use tokio::sync::watch;

/// Held by whoever works in the background.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Held by whoever stops the process.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// A trigger and the first of any number of listeners.
#[must_use]
pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Tells every listener.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Ends when the process stops, or when whoever could say so is gone.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        let _ = receiver.wait_for(|stopping| *stopping).await;
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Pauses; true when the process stops meanwhile.
    pub async fn wait_or(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.wait()).await.is_ok()
    }
}
