//! Something made of files, made anew when they change. What cannot be used is told once, and the old goes on.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use sed_engine::metrics::{Counter, ReloadOutcome};

use super::AccessError;

/// SHA-256 of all that was read.
pub(super) type Digest = [u8; 32];

/// What files gave, and the digest of their content.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    pub(super) digest: Digest,
    pub(super) value: T,
}

/// What the files hold, as far as it could be used.
pub(crate) struct Reloaded<T> {
    what: &'static str,
    reloads: &'static Counter<ReloadOutcome>,
    load: Box<dyn Fn() -> Result<Loaded<T>, AccessError> + Send + Sync>,
    /// Told everything that comes into force.
    announce: fn(&T),
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// What the last look found.
struct Seen {
    digest: Digest,
    /// The error that was told and holds on.
    trouble: Option<String>,
}

impl<T> Reloaded<T> {
    /// Reads the files for the first time. `what` is their name in the log, `reloads` counts what came of changes.
    pub(super) fn new(
        what: &'static str,
        reloads: &'static Counter<ReloadOutcome>,
        load: impl Fn() -> Result<Loaded<T>, AccessError> + Send + Sync + 'static,
        announce: fn(&T),
    ) -> Result<Self, AccessError> {
        let Loaded { digest, value } = load()?;
        announce(&value);
        Ok(Self {
            what,
            reloads,
            load: Box::new(load),
            announce,
            current: RwLock::new(Arc::new(value)),
            seen: Mutex::new(Seen { digest, trouble: None }),
        })
    }

    /// What is in force.
    pub(crate) fn current(&self) -> Arc<T> {
        // Nothing panics while it holds the lock.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. What has changed and can be used comes into force.
    pub(super) fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.load)() {
            Ok(Loaded { digest, value }) => {
                let recovered = seen.trouble.take().is_some();
                if digest == seen.digest {
                    if recovered {
                        tracing::info!(files = self.what, "as they were before; nothing to do");
                    }
                    return;
                }
                seen.digest = digest;
                (self.announce)(&value);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                self.reloads.add(ReloadOutcome::Loaded, 1);
                tracing::info!(files = self.what, "read again, because they changed");
            }
            Err(error) => {
                let error = error.to_string();
                if seen.trouble.as_ref() != Some(&error) {
                    self.reloads.add(ReloadOutcome::Failed, 1);
                    tracing::error!(files = self.what, %error, "cannot be used; what was read before stays");
                    seen.trouble = Some(error);
                }
            }
        }
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reloaded").field("what", &self.what).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use sed_engine::metrics::TOKEN_RELOADS;

    use super::*;

    static TOLD: AtomicU8 = AtomicU8::new(0);

    #[test]
    fn what_cannot_be_used_leaves_what_was() {
        let content = Arc::new(AtomicU8::new(1));
        let load = {
            let content = Arc::clone(&content);
            move || match content.load(Ordering::Relaxed) {
                0 => Err(AccessError::Token { file: "tokens".into(), line: 1, reason: "is wrong" }),
                value => Ok(Loaded { digest: [value; 32], value }),
            }
        };
        let told = |_: &u8| {
            TOLD.fetch_add(1, Ordering::Relaxed);
        };
        let reloaded = Reloaded::new("tokens", &TOKEN_RELOADS, load, told).unwrap();
        for (now, in_force, announced) in [(1, 1, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1), (2, 2, 2), (0, 2, 2)] {
            content.store(now, Ordering::Relaxed);
            reloaded.refresh();
            assert_eq!(*reloaded.current(), in_force);
            assert_eq!(TOLD.load(Ordering::Relaxed), announced);
            let trouble = reloaded.seen.lock().unwrap().trouble.is_some();
            assert_eq!(trouble, now == 0);
        }
    }
}
