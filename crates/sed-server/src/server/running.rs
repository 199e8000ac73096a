//! A server that answers, and its end.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use sed_engine::{Engine, EngineState};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{config::Settings, health::Health};

/// After the device was given up every request has failed already: only their answers are still written.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Time that a stage which runs at the end of the grace period still has.
const LAST_STAGE: Duration = Duration::from_secs(1);

/// The way in which [`Server::serve`](crate::Server::serve) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Every request that had begun was answered.
    Complete,
    /// The grace period ended before that.
    Cut,
    /// The engine gave up its last device: a new process is needed.
    DeviceLost,
}

/// A server whose connections are served while it is polled.
pub(super) struct Running {
    /// Resolves when all connections have ended after `stop`.
    pub(super) serving: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) health: Health,
    /// Ends the acceptance of connections.
    pub(super) stop: oneshot::Sender<()>,
    /// Turns true at the beginning of the shutdown.
    pub(super) stopping: watch::Sender<bool>,
    /// Turns true when no new work is to begin.
    pub(super) close: watch::Sender<bool>,
    pub(super) settings: Arc<Settings>,
    pub(super) engine: Engine,
    /// Tasks that end with the server.
    pub(super) _operations: JoinSet<()>,
}

impl Running {
    /// Serves until `shutdown` resolves or the engine gives its last device up, and then drains.
    pub(super) async fn run(mut self, shutdown: Pin<Box<dyn Future<Output = ()> + Send + '_>>) -> Drain {
        let (health, engine) = (&self.health, &self.engine);
        let following = async {
            health.follow(engine.state()).await;
            pending::<()>().await;
        };
        let device_lost = tokio::select! {
            () = &mut self.serving => return Drain::Complete,
            () = following => false, // never
            reason = given_up(engine) => {
                tracing::error!(
                    reason,
                    "the device is lost and cannot recover in this process; the server ends: start it again"
                );
                true
            }
            () = shutdown => false,
        };
        self.drain(device_lost).await
    }

    /// Ends readiness, connections, requests and the engine, in this order.
    async fn drain(mut self, device_lost: bool) -> Drain {
        let mut delay = Duration::from_secs_f64(self.settings.shutdown_delay_seconds);
        let mut grace = Duration::from_secs_f64(self.settings.shutdown_grace_seconds);
        if device_lost {
            (delay, grace) = (Duration::ZERO, grace.min(LAST_ANSWERS));
        }
        let complete = if device_lost { Drain::DeviceLost } else { Drain::Complete };
        tracing::info!("shutting down");
        self.stopping.send_replace(true);
        self.health.set_ready(false).await;
        tokio::select! {
            () = &mut self.serving => return complete,
            () = sleep(delay) => {}
        }
        let _ = self.stop.send(());
        self.close.send_replace(true);
        self.health.end_watches().await;
        let drain = match timeout(grace, &mut self.serving).await {
            Err(_) if !device_lost => Drain::Cut,
            _ => complete,
        };
        let stopped = timeout(LAST_STAGE, self.engine.shutdown()).await;
        tracing::info!(?drain, engine_stopped = stopped.is_ok(), "stopped");
        drain
    }
}

/// Resolves with the reason when the engine has given its last device up.
async fn given_up(engine: &Engine) -> String {
    let mut states = engine.state();
    loop {
        if let EngineState::GivenUp { reason } = &*states.borrow_and_update() {
            return reason.clone();
        }
        if states.changed().await.is_err() {
            return pending().await;
        }
    }
}
