//! Reads the pickles of `torch.save` into plain values. Nothing is imported, called or executed: a call in the
//! pickle becomes a value that says so, and only for functions that files of weights use.
//!
//! Hostile input costs memory in proportion to its size at most ([`MEMORY_PER_BYTE`]): values are kept in one
//! list and refer to each other by number, so that nothing is copied, nothing recurses, and deep or shared
//! structures cost nothing; what values, stack and memo take is counted.

use std::collections::HashMap;

/// The number of a value in [`Pickle::values`].
pub(super) type Id = usize;

/// Largest pickle that is read. Names and shapes of SED-L take 150 kB.
pub(super) const MAX_PICKLE: usize = 4 << 20;
/// Memory that is taken for each byte of pickle at most. Files of weights take some 10: a tensor's description
/// is a few hundred bytes.
const MEMORY_PER_BYTE: usize = 32;
/// Memory that any pickle may take.
const LEAST_MEMORY: usize = 64 << 10;
/// Bytes that an entry of stack, marks or a tuple takes, in a list that grows by doubling; that one of the
/// memo takes; that a value takes.
const ITEM_BYTES: usize = 16;
const MEMO_BYTES: usize = 48;
const VALUE_BYTES: usize = 2 * size_of::<Value>();
/// Longest name of a function or class.
const MOST_GLOBAL_BYTES: usize = 128;

/// A value in the pickle.
#[derive(Debug)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or class, by module and name.
    Global(String),
    /// A call of an allowed function, a global, with a tuple of arguments.
    Call {
        function: Id,
        arguments: Id,
    },
    /// A reference to an entry of the archive, by its description.
    Persistent(Id),
    /// Anything that no tensor's description is made of: numbers, lists, sets, instances.
    Opaque,
}

/// The number of the value that stands for everything opaque.
const OPAQUE: Id = 0;

/// The reason why a pickle was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickleError {
    /// It names a function or class that files of weights do not use.
    Refused(String),
    /// It is not a pickle, or ends early, or contradicts itself.
    Malformed(String),
}

/// The functions and classes that `torch.save` writes for weights and common training state. They are names
/// to compare with, nothing more.
fn is_allowed(global: &str) -> bool {
    let storage =
        |name: &str| name.ends_with("Storage") && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match global {
        "collections.OrderedDict" | "collections.defaultdict" | "collections.Counter" => true,
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => true,
        "torch._utils._rebuild_parameter" | "torch.Size" | "torch.device" => true,
        // Scalars and arrays of optimizer and logging state.
        "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar" | "numpy.dtype" => true,
        "_codecs.encode" | "__builtin__.set" | "builtins.set" => true,
        _ => global.strip_prefix("torch.").is_some_and(|name| storage(name.trim_start_matches("storage."))),
    }
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads one pickle of protocol 2 to 5.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PickleError> {
        let mut machine = Machine::new(bytes);
        while !machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

    /// The value that the pickle stands for.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// The value with this number.
    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Opaque)
    }

    /// The items of a tuple; none for any other value.
    pub(super) fn tuple(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Tuple(items) => items,
            _ => &[],
        }
    }

    /// A text.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A call: its function and arguments.
    pub(super) fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let &Value::Call { function, arguments } = self.get(id) else { return None };
        match self.get(function) {
            Value::Global(name) => Some((name, self.tuple(arguments))),
            _ => None,
        }
    }

    /// An integer that is not negative.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }
}

fn malformed(reason: impl Into<String>) -> PickleError {
    PickleError::Malformed(reason.into())
}

/// The stack machine that a pickle is a program for.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Memory that is left to be taken.
    memory: usize,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            // The first value stands for everything opaque.
            values: vec![Value::Opaque],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            memory: MEMORY_PER_BYTE * bytes.len() + LEAST_MEMORY,
        }
    }

    /// Executes one instruction; true at the end of the program. The opcodes are those of Python's
    /// `pickletools`, as far as protocols 2 to 5 write them.
    fn step(&mut self) -> Result<bool, PickleError> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return Ok(true),
            // PROTO and FRAME say nothing that is needed here.
            0x80 => _ = self.take::<1>()?,
            0x95 => _ = self.take::<8>()?,
            b'(' => {
                self.spend(ITEM_BYTES)?;
                self.marks.push(self.stack.len());
            }
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' | 0x88 | 0x89 | b']' | 0x8f => self.push_id(OPAQUE)?,
            b'G' => {
                self.take::<8>()?;
                self.push_id(OPAQUE)?;
            }
            b'J' | b'K' | b'M' | 0x8a => self.integer(opcode)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e => self.string(opcode)?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            // Items of lists and sets are opaque, as the lists and sets are.
            b'a' => _ = self.pop()?,
            b'e' | 0x90 => _ = self.pop_to_mark()?,
            b'l' | 0x91 => {
                self.pop_to_mark()?;
                self.push_id(OPAQUE)?;
            }
            b'q' | b'r' | 0x94 => self.put(opcode)?,
            b'h' | b'j' => self.get(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 => self.call()?,
            // The state of an object: for a dictionary of weights its versions, never a tensor.
            b'b' => _ = self.pop()?,
            b'Q' => {
                let description = self.pop()?;
                self.push(Value::Persistent(description))?;
            }
            other => {
                return Err(malformed(format!("opcode {other:#04x} at byte {} is not torch's", self.at - 1)));
            }
        }
        Ok(false)
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        self.spend(VALUE_BYTES)?;
        self.push_id(self.values.len())?;
        self.values.push(value);
        Ok(())
    }

    fn push_tuple(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        self.spend(ITEM_BYTES * items.len().max(2))?;
        self.push(Value::Tuple(items))
    }

    fn push_id(&mut self, id: Id) -> Result<(), PickleError> {
        self.spend(ITEM_BYTES)?;
        self.stack.push(id);
        Ok(())
    }

    /// Counts memory before it is taken.
    fn spend(&mut self, bytes: usize) -> Result<(), PickleError> {
        self.memory = self.memory.checked_sub(bytes).ok_or_else(|| {
            malformed(format!("its {} bytes hold more values than those of a checkpoint", self.bytes.len()))
        })?;
        Ok(())
    }

    fn top(&self) -> Result<Id, PickleError> {
        // Below the last mark the stack belongs to what set the mark.
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(|| malformed("its stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| malformed("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let chunk = self.bytes[self.at..].first_chunk::<N>().ok_or_else(|| malformed("it ends early"))?;
        self.at += N;
        Ok(*chunk)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let slice = self.bytes[self.at..].get(..length).ok_or_else(|| malformed("it ends early"))?;
        self.at += length;
        Ok(slice)
    }

    fn integer(&mut self, opcode: u8) -> Result<(), PickleError> {
        let value = match opcode {
            b'K' => i64::from(self.take::<1>()?[0]),
            b'M' => i64::from(u16::from_le_bytes(self.take()?)),
            b'J' => i64::from(i32::from_le_bytes(self.take()?)),
            _ => {
                let [length] = self.take()?;
                let bytes = self.take_slice(usize::from(length))?;
                if bytes.len() > 8 {
                    // Larger than any size; kept as something that is not one.
                    return self.push_id(OPAQUE);
                }
                let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
                let mut wide = [fill; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        };
        self.push(Value::Int(value))
    }

    fn string(&mut self, opcode: u8) -> Result<(), PickleError> {
        let length = match opcode {
            0x8c | b'U' | b'C' => u64::from(self.take::<1>()?[0]),
            b'X' | b'T' | b'B' => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::from_le_bytes(self.take()?),
        };
        let length = usize::try_from(length).map_err(|_| malformed("it ends early"))?;
        let bytes = self.take_slice(length)?;
        // Bytes that are no text belong to arrays of training state.
        let Ok(text) = std::str::from_utf8(bytes) else { return self.push_id(OPAQUE) };
        self.spend(text.len())?;
        self.push(Value::Text(text.to_owned()))
    }

    fn short_tuple(&mut self, length: usize) -> Result<(), PickleError> {
        let mut items = (0..length).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push_tuple(items)
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(malformed("a dictionary has a key without a value"));
        }
        let target = self.top()?;
        self.spend(2 * ITEM_BYTES * pairs.len())?;
        // What is set on an opaque object is opaque too.
        if let Some(Value::Dict(entries)) = self.values.get_mut(target) {
            entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn put(&mut self, opcode: u8) -> Result<(), PickleError> {
        let key = match opcode {
            b'q' => u32::from(self.take::<1>()?[0]),
            b'r' => u32::from_le_bytes(self.take()?),
            _ => self.memo.len() as u32,
        };
        let top = self.top()?;
        self.spend(MEMO_BYTES)?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<(), PickleError> {
        let key =
            if opcode == b'h' { u32::from(self.take::<1>()?[0]) } else { u32::from_le_bytes(self.take()?) };
        let id = *self
            .memo
            .get(&key)
            .ok_or_else(|| malformed(format!("it reads memo {key} before setting it")))?;
        self.push_id(id)
    }

    fn global(&mut self, opcode: u8) -> Result<(), PickleError> {
        let name = if opcode == b'c' {
            let (module, name) = (self.line()?, self.line()?);
            format!("{module}.{name}")
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.values[module], &self.values[name]) {
                (Value::Text(module), Value::Text(name)) => format!("{module}.{name}"),
                _ => return Err(malformed("a global's name is not a text")),
            }
        };
        if name.len() > MOST_GLOBAL_BYTES || !is_allowed(&name) {
            return Err(PickleError::Refused(name.chars().take(200).collect()));
        }
        self.spend(name.len())?;
        self.push(Value::Global(name))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| malformed("it ends early"))?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    /// A call: of a dictionary's class, an empty dictionary; of anything else allowed, a note of it.
    fn call(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(name) = &self.values[function] else {
            return Err(malformed("it calls something that is not a function"));
        };
        let dictionary = name.starts_with("collections.");
        self.push(if dictionary { Value::Dict(Vec::new()) } else { Value::Call { function, arguments } })
    }
}
