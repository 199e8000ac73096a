//! A picture on its way to the device: its values, and their copy in memory that the device reads by itself.

use std::{any::Any, fmt, sync::Arc};

use crate::stages::NetworkInput;

/// Memory of the host that a device reads inputs from by itself, in slots that any thread fills.
pub trait InputSlots: fmt::Debug + Send + Sync {
    /// Copies the values of an input into a slot, in the device's format; `None` while all slots are taken.
    /// It costs the calling thread some hundred microseconds.
    fn fill(&self, values: &[f32]) -> Option<InputSlot>;
}

/// A slot with an input, free again once it is dropped. The stages know its type.
pub type InputSlot = Arc<dyn Any + Send + Sync>;

/// The network's input for a job. Its values stay where they are beside a slot: stages one by one read them.
#[derive(Clone)]
pub struct JobInput {
    values: NetworkInput,
    slot: Option<InputSlot>,
}

impl JobInput {
    /// An input, and its copy in a slot if one is free.
    pub fn new(values: NetworkInput, slots: Option<&dyn InputSlots>) -> Self {
        let slot = slots.and_then(|slots| slots.fill(&values.data));
        Self { values, slot }
    }

    /// The values.
    pub fn values(&self) -> &NetworkInput {
        &self.values
    }

    /// The slot, if there is one of this type.
    pub(crate) fn slot<T: 'static>(&self) -> Option<&T> {
        self.slot.as_deref()?.downcast_ref()
    }
}

impl From<NetworkInput> for JobInput {
    fn from(values: NetworkInput) -> Self {
        Self::new(values, None)
    }
}

impl fmt::Debug for JobInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobInput").field("values", &self.values).field("slot", &self.slot.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::fake::FakeSlots;

    #[test]
    fn a_slot_is_free_once_the_last_copy_of_its_input_is_gone() {
        let slots = FakeSlots::new(1);
        let input = |value| JobInput::new(NetworkInput::new(1, vec![value; 3]), Some(&slots));
        let first = input(1.0);
        let copy = first.clone();
        assert_eq!(first.slot::<Vec<f32>>(), None);
        drop(first);
        assert!(input(2.0).slot.is_none() && copy.slot.is_some());
        drop(copy);
        assert!(input(3.0).slot.is_some());
    }
}
