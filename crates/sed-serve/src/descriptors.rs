//! The limit of file descriptors, of which every connection needs one.

/// Descriptors beside those of clients' connections: files, sockets that listen, the operations port, traces.
const BESIDE_CONNECTIONS: u64 = 256;

/// Number of descriptors that a server with `max_connections` connections may need at the same time.
pub(crate) fn needed(max_connections: usize) -> u64 {
    max_connections as u64 + BESIDE_CONNECTIONS
}

/// Advice for a limit that is too low.
pub(crate) const ADVICE: &str =
    "raise the hard limit of open files (`LimitNOFILE` of systemd, `ulimit -Hn`), or lower --max-connections";

/// The limits of this process; `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The limit in force.
    pub(crate) soft: Option<u64>,
    /// The highest limit that the process itself may set.
    pub(crate) hard: Option<u64>,
}

#[cfg(unix)]
impl Limits {
    /// Reads the limits; `None` on a system without them.
    #[allow(clippy::unnecessary_wraps)] // other systems have none
    pub(crate) fn now() -> Option<Self> {
        let found = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Some(Self { soft: found.current, hard: found.maximum })
    }

    fn set(self) -> std::io::Result<()> {
        let limit = rustix::process::Rlimit { current: self.soft, maximum: self.hard };
        Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
    }
}

#[cfg(not(unix))]
impl Limits {
    /// Returns `None`: this system has no such limits.
    pub(crate) fn now() -> Option<Self> {
        None
    }

    fn set(self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Raises the limit as far as this process may, and warns where it is still too low for `max_connections`.
pub(crate) fn raise(max_connections: usize) {
    let Some(Limits { soft: Some(before), hard }) = Limits::now() else { return };
    if hard.is_none_or(|hard| hard > before) {
        match (Limits { soft: hard, hard }).set() {
            Ok(()) => {
                let now = hard.map_or("unlimited".to_owned(), |hard| hard.to_string());
                tracing::info!(before, now, "raised the limit of open files");
            }
            Err(error) => tracing::warn!(%error, before, "the limit of open files cannot be raised"),
        }
    }
    let needed = needed(max_connections);
    if let Some(limit) = Limits::now().and_then(|limits| limits.soft).filter(|limit| *limit < needed) {
        tracing::warn!(limit, needed, max_connections, "too few open files for all connections; {ADVICE}");
    }
}
