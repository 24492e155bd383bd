//! Layouts of keys, values and statistic cells, and the maps that hold them: computed once, used by both sides.
//!
//! * Every field is aligned to 8 bytes and padded with zeros. A string field holds its capacity, rounded up; bytes
//!   after the NUL are zero in keys, unspecified in values.
//! * Scalars that are not statistics share one memory-mapped, one-entry array, [`SCALARS`]; lock words live there too.
//! * A statistic scalar is a one-entry per-CPU array, an array of statistics a per-CPU hash, any other array a hash.
//! * Where the order of insertion can be seen, the value of an element ends with the CLOCK_MONOTONIC time of its
//!   insertion; for per-CPU values the smallest non-zero one counts.

use crate::ir::{Global, GlobalTy, Module, Ty};
use crate::stat::StatFields;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Name of the map that holds the scalars.
pub const SCALARS: &str = "scalars";

/// Rounds up to the next multiple of 8.
pub fn align8(size: u32) -> u32 {
    size.next_multiple_of(8)
}

/// Bytes that a value of this type takes in a key or a value.
pub fn size_of(ty: Ty) -> u32 {
    match ty {
        Ty::Long => 8,
        Ty::Str(capacity) => align8(u32::from(capacity)),
    }
}

/// Offsets of the fields of a statistic cell; fields that are not kept have none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CellLayout {
    /// Number of values.
    pub count: Option<u32>,
    /// Sum.
    pub sum: Option<u32>,
    /// Minimum; valid while count is not 0.
    pub min: Option<u32>,
    /// Maximum; valid while count is not 0.
    pub max: Option<u32>,
    /// Running mean, then the running sum of squares.
    pub variance: Option<u32>,
    /// First bucket of the histogram, 8 bytes each.
    pub buckets: Option<u32>,
    /// Bytes of the whole cell.
    pub size: u32,
}

impl CellLayout {
    /// The layout for what a statistic keeps. `count` is there whenever anything needs to know of emptiness; a
    /// histogram alone does not, its buckets tell.
    pub fn new(fields: &StatFields) -> CellLayout {
        let mut size = 0;
        let mut take = |wanted: bool, bytes: u32| {
            wanted.then(|| {
                let at = size;
                size += bytes;
                at
            })
        };
        let nothing = fields.hist.is_none() && !fields.sum;
        let count = take(fields.count || fields.min || fields.max || fields.variance.is_some() || nothing, 8);
        let sum = take(fields.sum, 8);
        let min = take(fields.min, 8);
        let max = take(fields.max, 8);
        let variance = take(fields.variance.is_some(), 16);
        let buckets = take(fields.hist.is_some(), 8 * fields.hist.map_or(0, |h| h.buckets() as u32));
        CellLayout { count, sum, min, max, variance, buckets, size }
    }
}

/// Where a global lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the evaluator alone.
    Evaluator,
    /// In [`SCALARS`], at this offset.
    Scalar {
        /// Offset of the value.
        offset: u32,
    },
    /// A statistic scalar: key 0 of this map.
    StatScalar {
        /// Index into [`Layout::maps`].
        map: u32,
    },
    /// An array.
    Array {
        /// Index into [`Layout::maps`].
        map: u32,
    },
}

/// The layout of one global.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalLayout {
    /// Where it lives.
    pub home: Home,
    /// Offset of each key field.
    pub keys: Vec<u32>,
    /// Bytes of the whole key.
    pub key_size: u32,
    /// Of the cell, for statistics.
    pub cell: Option<CellLayout>,
    /// Bytes of the value without the insertion time.
    pub value_size: u32,
    /// Offset of the insertion time in the value.
    pub inserted: Option<u32>,
    /// Offset of its lock word in [`SCALARS`]: 0 is free.
    pub lock: Option<u32>,
}

/// Kinds of maps that we use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_ARRAY`.
    Array,
    /// `BPF_MAP_TYPE_ARRAY` with `BPF_F_MMAPABLE`.
    MappedArray,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray,
    /// `BPF_MAP_TYPE_HASH`.
    Hash,
    /// `BPF_MAP_TYPE_PERCPU_HASH`.
    PerCpuHash,
    /// `BPF_MAP_TYPE_STACK`.
    Stack,
    /// `BPF_MAP_TYPE_RINGBUF`; `max_entries` is its size in bytes, a power of two and a multiple of the page size.
    RingBuf,
    /// `BPF_MAP_TYPE_STACK_TRACE`.
    StackTrace,
}

/// A map to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapSpec {
    /// Its name; also the symbol in the object.
    pub name: String,
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
}

/// All globals and the maps that hold them. The code generator adds its own maps (records, ledger, scratch).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// One for each global of the module.
    pub globals: Vec<GlobalLayout>,
    /// Maps for globals; [`SCALARS`] comes first when there is any.
    pub maps: Vec<MapSpec>,
}

impl Layout {
    /// Lays out the globals of a module.
    pub fn new(module: &Module) -> Layout {
        let mut maps = Vec::new();
        let locked =
            |index: usize| module.functions.iter().any(|f| f.locks.iter().any(|g| g.index() == index));
        let in_scalars = |g: &Global| g.shared && g.keys.is_empty() && matches!(g.ty, GlobalTy::Value(_));
        let mut scalars = 0;
        if module.globals.iter().enumerate().any(|(i, g)| in_scalars(g) || locked(i)) {
            maps.push(MapSpec {
                name: SCALARS.into(),
                kind: MapKind::MappedArray,
                key_size: 4,
                value_size: 0,
                max_entries: 1,
            });
        }
        let mut globals = Vec::with_capacity(module.globals.len());
        for (index, global) in module.globals.iter().enumerate() {
            globals.push(lay_out(index, global, locked(index), &mut maps, &mut scalars));
        }
        if scalars > 0 {
            maps[0].value_size = scalars;
        }
        Layout { globals, maps }
    }
}

fn lay_out(
    index: usize,
    global: &Global,
    locked: bool,
    maps: &mut Vec<MapSpec>,
    scalars: &mut u32,
) -> GlobalLayout {
    let mut keys = Vec::with_capacity(global.keys.len());
    let mut key_size = 0;
    for ty in &global.keys {
        keys.push(key_size);
        key_size += size_of(*ty);
    }
    let (cell, value_size) = match &global.ty {
        GlobalTy::Value(ty) => (None, size_of(*ty)),
        GlobalTy::Stats(fields) => {
            let cell = CellLayout::new(fields);
            let size = cell.size;
            (Some(cell), size)
        }
    };
    let inserted = (global.ordered && !global.keys.is_empty()).then_some(value_size);
    let stored = value_size + if inserted.is_some() { 8 } else { 0 };
    let mut take = |bytes: u32| {
        let at = *scalars;
        *scalars += bytes;
        at
    };
    let lock = locked.then(|| take(8));
    let home = match (&global.ty, global.keys.is_empty()) {
        _ if !global.shared => Home::Evaluator,
        (GlobalTy::Value(ty), true) => Home::Scalar { offset: take(size_of(*ty)) },
        (ty, scalar) => {
            let kind = match (ty, scalar) {
                (_, true) => MapKind::PerCpuArray,
                (GlobalTy::Stats(_), false) => MapKind::PerCpuHash,
                (GlobalTy::Value(_), false) => MapKind::Hash,
            };
            maps.push(MapSpec {
                name: format!("g{index}"),
                kind,
                key_size: if scalar { 4 } else { key_size },
                value_size: stored,
                max_entries: if scalar { 1 } else { global.max_entries },
            });
            let map = maps.len() as u32 - 1;
            if scalar { Home::StatScalar { map } } else { Home::Array { map } }
        }
    };
    GlobalLayout { home, keys, key_size, cell, value_size, inserted, lock }
}
