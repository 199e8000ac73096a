//! Devices: one thread each, which owns its model; what reaches it, and the state that it reports.

pub(crate) mod answer_thread;
pub(crate) mod device_thread;
pub(crate) mod inbox;
pub(crate) mod member;
pub(crate) mod state;
pub(crate) mod warm_up;
