//! Memory that is used again and again: while an [`Arena`] is lent to a thread, what the kernels for CUDA write there
//! lies in it instead of in allocations of its own.
//!
//! For each number format the arena has one slab, which is filled from both of its ends. A [`Side`] is a stack: memory
//! is taken from it in turn and given back by going back to an earlier [`Position`]. No count is kept of a tensor's
//! readers, so the order is fixed by the callers of the layers:
//!
//! - [`Turns`]: each step writes on one side and reads what the step before wrote on the other; what the step before
//!   that left is overwritten. What lies below the first step stays until the end.
//! - [`scratch`]: inside of a step, what only its own launches read lies on the other side, above what the step reads,
//!   and is given back with the guard.
//!
//! All work goes to one stream, so that memory may be given back as soon as the last launch that reads it is made.
//! The places depend on the shapes alone: with the same slabs the same work has the same addresses, as a recorded
//! graph needs. Where a slab is too small, or there is none yet, tensors have allocations of their own and are counted;
//! behind the work [`Arena::grow`] makes the slabs as large as they would have had to be.
//!
//! With `SED_ARENA=apart` every place is an allocation of its own, so that checkers of memory (compute-sanitizer, the
//! software driver) see each tensor's bounds. Places are kept just as long.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::Output;

/// Every place in a slab starts at a multiple of so many bytes, as an allocation does.
const ALIGNMENT: usize = 256;
/// The number formats of tensors on a device.
const FORMATS: [DType; 7] =
    [DType::F32, DType::BF16, DType::F16, DType::U32, DType::U8, DType::I16, DType::I64];

thread_local! {
    /// The arena that is lent to this thread.
    static LENT: RefCell<Option<Slabs>> = const { RefCell::new(None) };
}

/// An end of the slabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Filled upwards from the start.
    Low,
    /// Filled downwards from the end.
    High,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// Fill of both sides of all slabs, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position([[usize; 2]; FORMATS.len()]);

/// The memory of a device's submissions, lent to one thread at a time.
#[derive(Debug)]
pub struct Arena(Slabs);

#[derive(Debug)]
struct Slabs {
    device: Device,
    apart: bool,
    side: Side,
    /// Nothing may be allocated beside the slabs, since the work is recorded.
    fixed: bool,
    /// The slab of each format.
    slabs: [Slab; FORMATS.len()],
}

#[derive(Debug, Default)]
struct Slab {
    /// `[capacity]`
    memory: Option<Tensor>,
    /// Elements in use from its start and from its end.
    used: [usize; 2],
    /// The most elements that were in use at once.
    peak: usize,
    /// With `SED_ARENA=apart`: the allocation of each place, by side, first element and number of elements.
    places: HashMap<(Side, usize, usize), Tensor>,
}

impl Arena {
    /// An arena without memory.
    pub fn new(device: &Device) -> Self {
        let apart = std::env::var("SED_ARENA").is_ok_and(|value| value == "apart");
        Self(Slabs::new(device, apart))
    }

    /// Does `work` with this memory. Tensors of the work that are still needed behind it must have been copied
    /// elsewhere: the next work overwrites them.
    ///
    /// # Errors
    /// When another arena is lent to this thread, or the work fails.
    pub fn lend<R, E: From<candle_core::Error>>(
        &mut self,
        work: impl FnOnce() -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        if LENT.with_borrow(Option::is_some) {
            return Err(candle_core::Error::Msg("the thread has an arena already".to_owned()).into());
        }
        let empty = Slabs::new(&self.0.device, self.0.apart);
        LENT.set(Some(std::mem::replace(&mut self.0, empty)));
        let returned = Returned(self);
        let result = work();
        drop(returned);
        result
    }

    /// Reports whether work has needed more than the slabs have.
    pub fn is_outgrown(&self) -> bool {
        !self.0.apart && self.0.slabs.iter().any(|slab| slab.peak > slab.capacity())
    }

    /// Makes the slabs as large as the work so far has needed. The old ones are freed first, unless tensors are left in
    /// them.
    ///
    /// # Errors
    /// When the device has no memory left. The arena is empty then.
    pub fn grow(&mut self) -> Result<()> {
        let grown = self.0.slabs.iter_mut().zip(FORMATS).try_for_each(|(slab, dtype)| {
            if slab.peak > slab.capacity() {
                slab.memory = None;
                slab.memory = Some(Output::apart(&self.0.device, dtype, slab.peak)?.into_tensor());
            }
            Ok(())
        });
        if grown.is_err() {
            self.clear();
        }
        grown
    }

    /// Drops all memory, and forgets how much was needed.
    pub fn clear(&mut self) {
        self.0 = Slabs::new(&self.0.device, self.0.apart);
    }

    /// Bytes of the slabs.
    pub fn bytes(&self) -> usize {
        let slabs = self.0.slabs.iter().zip(FORMATS);
        slabs.map(|(slab, dtype)| slab.capacity() * dtype.size_in_bytes()).sum()
    }
}

/// Puts the slabs back into their arena, whatever the work did.
struct Returned<'a>(&'a mut Arena);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        if let Some(mut slabs) = LENT.take() {
            slabs.restore(&Position::default());
            (slabs.side, slabs.fixed) = (Side::Low, false);
            self.0.0 = slabs;
        }
    }
}

impl Slabs {
    fn new(device: &Device, apart: bool) -> Self {
        let slabs = std::array::from_fn(|_| Slab::default());
        Self { device: device.clone(), apart, side: Side::Low, fixed: false, slabs }
    }

    /// The next `[count]` of the current side; `None` where the slab does not reach.
    fn take(&mut self, dtype: DType, count: usize) -> Result<Option<Tensor>> {
        let Some(format) = FORMATS.iter().position(|format| *format == dtype) else { return Ok(None) };
        let slab = &mut self.slabs[format];
        let (side, rounded) = (self.side, count.max(1).next_multiple_of(ALIGNMENT / dtype.size_in_bytes()));
        let first = slab.used[side as usize];
        slab.used[side as usize] += rounded;
        slab.peak = slab.peak.max(slab.used[0] + slab.used[1]);
        if self.apart {
            return slab.apart((side, first, count), &self.device, dtype).map(Some);
        }
        if let Some(memory) = &slab.memory
            && slab.used[0] + slab.used[1] <= slab.capacity()
        {
            let start = match side {
                Side::Low => first,
                Side::High => slab.capacity() - first - rounded,
            };
            return memory.narrow(0, start, count).map(Some);
        }
        if self.fixed {
            bail!("recorded work needs memory beside the arena: {count} of {dtype:?}");
        }
        Ok(None)
    }

    fn position(&self) -> Position {
        Position(std::array::from_fn(|format| self.slabs[format].used))
    }

    fn restore(&mut self, position: &Position) {
        for (slab, used) in self.slabs.iter_mut().zip(position.0) {
            slab.used = used;
            slab.peak = slab.peak.max(used[0] + used[1]);
        }
    }

    fn reset(&mut self, side: Side, position: &Position) {
        for (slab, used) in self.slabs.iter_mut().zip(position.0) {
            slab.used[side as usize] = used[side as usize];
        }
    }
}

impl Slab {
    fn capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, Tensor::elem_count)
    }

    /// The allocation of a place.
    fn apart(&mut self, place: (Side, usize, usize), device: &Device, dtype: DType) -> Result<Tensor> {
        if let Some(found) = self.places.get(&place) {
            return Ok(found.clone());
        }
        let made = Output::apart(device, dtype, place.2)?.into_tensor();
        self.places.insert(place, made.clone());
        Ok(made)
    }
}

/// Memory `[count]` of the arena that is lent to this thread. `None` without one, and where it does not reach.
pub(crate) fn take(device: &Device, dtype: DType, count: usize) -> Result<Option<Tensor>> {
    LENT.with_borrow_mut(|lent| match lent {
        Some(slabs) if slabs.device.same_device(device) => slabs.take(dtype, count),
        _ => Ok(None),
    })
}

/// Does `work` without the arena: its tensors stay as long as they are held.
///
/// # Errors
/// When the work fails.
pub fn outside<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    let _aside = Aside(LENT.take());
    work()
}

/// Lends the slabs again, whatever the work did: recorded graphs hold their addresses.
struct Aside(Option<Slabs>);

impl Drop for Aside {
    fn drop(&mut self) {
        LENT.set(self.0.take());
    }
}

/// Reads the fill of the arena that is lent to this thread.
pub fn position() -> Position {
    LENT.with_borrow(|lent| lent.as_ref().map_or_else(Position::default, Slabs::position))
}

/// Sets how far the arena is filled to what it was at the end of the same work before.
pub fn restore(position: &Position) {
    with(|slabs| slabs.restore(position));
}

/// Returns to the slabs what one side got since `position`.
pub fn reset(side: Side, position: &Position) {
    with(|slabs| slabs.reset(side, position));
}

/// Chooses the side that memory is taken from.
pub fn work_on(side: Side) {
    with(|slabs| slabs.side = side);
}

/// Forbids allocations beside the slabs, or allows them again.
#[cfg(any(feature = "cuda", test))]
pub(crate) fn fix(fixed: bool) {
    with(|slabs| slabs.fixed = fixed);
}

fn with(change: impl FnOnce(&mut Slabs)) {
    LENT.with_borrow_mut(|lent| {
        if let Some(slabs) = lent {
            change(slabs);
        }
    });
}

/// Guard of a layer's scratch memory, which ends with it.
#[must_use]
#[derive(Debug)]
pub struct Scratch {
    /// The side of the results.
    results: Side,
    before: Position,
}

/// Switches to the other side, beside what the step reads, until [`Scratch::results`] is called. Memory of that time is
/// given back when the guard is dropped. Without an arena it does nothing.
pub fn scratch() -> Scratch {
    let results = LENT.with_borrow(|lent| lent.as_ref().map_or(Side::Low, |slabs| slabs.side));
    work_on(results.other());
    Scratch { results, before: position() }
}

impl Scratch {
    /// Switches to the side of the results.
    pub fn results(&self) {
        work_on(self.results);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.results();
        reset(self.results.other(), &self.before);
    }
}

/// Steps that write on one side and on the other in turn. Each reads what the one before it wrote, and what there was
/// before the first.
#[derive(Debug)]
pub struct Turns {
    base: Position,
    next: Side,
}

impl Turns {
    /// Steps of which the first writes on `side`.
    pub fn from(side: Side) -> Self {
        Self { base: position(), next: side }
    }

    /// So many steps, the last on `side`.
    pub fn ending_on(side: Side, steps: usize) -> Self {
        Self::from(if steps.is_multiple_of(2) { side.other() } else { side })
    }

    /// Begins a step: what the step before the last has written is given back.
    pub fn begin(&mut self) {
        reset(self.next, &self.base);
        work_on(self.next);
        self.next = self.next.other();
    }

    /// Ends the last step: its results stay, those of the step before are given back.
    pub fn end(self) {
        reset(self.next, &self.base);
    }
}

#[cfg(test)]
mod tests;
