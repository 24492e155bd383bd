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
        // Cells of several CPUs are joined around the mean that the sums give.
        let sum = take(fields.sum || fields.variance.is_some(), 8);
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
    /// `BPF_MAP_TYPE_LRU_HASH`.
    LruHash,
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
                (GlobalTy::Value(_), false) if global.forgets => MapKind::LruHash,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse;
    use crate::stat::HistOp;
    use alloc::vec;

    fn layout(text: &str) -> Layout {
        Layout::new(&parse::module(text).unwrap())
    }

    #[test]
    fn keys_are_packed_in_words() {
        let layout = layout("global g0 a[str<1>, long, str<8>, str<9>, str<16>]: str<17>, max 7, shared");
        let global = &layout.globals[0];
        assert_eq!(global.keys, [0, 8, 16, 24, 40]);
        assert_eq!((global.key_size, global.value_size, global.inserted), (56, 24, None));
        assert_eq!(global.home, Home::Array { map: 0 });
        let map =
            MapSpec { name: "g0".into(), kind: MapKind::Hash, key_size: 56, value_size: 24, max_entries: 7 };
        assert_eq!(layout.maps, [map]);
    }

    #[test]
    fn ordered_elements_end_with_their_time() {
        let layout = layout(
            "global g0 a[long]: long, ordered, shared
             global g1 b[long]: stats(count, sum), ordered, shared
             global g2 c[long]: stats(count, sum), shared",
        );
        let sizes: Vec<_> = layout.globals.iter().map(|g| (g.value_size, g.inserted)).collect();
        assert_eq!(sizes, [(8, Some(8)), (16, Some(16)), (16, None)]);
        let stored: Vec<_> = layout.maps.iter().map(|m| (m.kind, m.value_size)).collect();
        assert_eq!(stored, [(MapKind::Hash, 16), (MapKind::PerCpuHash, 24), (MapKind::PerCpuHash, 16)]);
    }

    #[test]
    fn scalars_and_locks_share_a_block() {
        let layout = layout(
            "global g0 a: long, shared
             global g1 b: str<13>, shared
             global g2 private: long
             global g3 c[long]: long, shared
             global g4 d: stats(count), shared
             global g5 e: long, shared
             function f0 kernel {
               locks g3, g5
             b0:
               return
             }",
        );
        let homes: Vec<_> = layout.globals.iter().map(|g| (g.home.clone(), g.lock)).collect();
        assert_eq!(
            homes,
            [
                (Home::Scalar { offset: 0 }, None),
                (Home::Scalar { offset: 8 }, None),
                (Home::Evaluator, None),
                (Home::Array { map: 1 }, Some(24)),
                (Home::StatScalar { map: 2 }, None),
                (Home::Scalar { offset: 40 }, Some(32)),
            ]
        );
        let maps: Vec<_> = layout
            .maps
            .iter()
            .map(|m| (m.name.as_str(), m.kind, m.key_size, m.value_size, m.max_entries))
            .collect();
        assert_eq!(
            maps,
            [
                ("scalars", MapKind::MappedArray, 4, 48, 1),
                ("g3", MapKind::Hash, 8, 8, 2048),
                ("g4", MapKind::PerCpuArray, 4, 8, 1),
            ]
        );
    }

    #[test]
    fn no_scalars_no_block() {
        let layout = layout("global g0 a: long\nglobal g1 b: stats(sum), shared");
        assert_eq!(layout.maps.len(), 1);
        assert_eq!(layout.globals[1].home, Home::StatScalar { map: 0 });
    }

    #[test]
    fn a_lock_alone_makes_the_block() {
        let text = "global g0 a[long]: long, shared
                    function f0 kernel {
                      locks g0
                    b0:
                      return
                    }";
        let layout = layout(text);
        assert_eq!((layout.maps[0].name.as_str(), layout.maps[0].value_size), (SCALARS, 8));
        assert_eq!(
            (layout.globals[0].home.clone(), layout.globals[0].lock),
            (Home::Array { map: 1 }, Some(0))
        );
    }

    #[test]
    fn cells_keep_what_is_asked_for() {
        let none = StatFields::default();
        let cell = |fields| CellLayout::new(&fields);
        let empty = CellLayout::default();
        assert_eq!(cell(none), CellLayout { count: Some(0), size: 8, ..empty.clone() });
        assert_eq!(
            cell(StatFields { sum: true, ..none }),
            CellLayout { sum: Some(0), size: 8, ..empty.clone() }
        );
        assert_eq!(
            cell(StatFields { hist: Some(HistOp::Log), ..none }),
            CellLayout { buckets: Some(0), size: 1024, ..empty.clone() }
        );
        assert_eq!(
            cell(StatFields { max: true, ..none }),
            CellLayout { count: Some(0), max: Some(8), size: 16, ..empty }
        );
        let linear = HistOp::Linear { low: 0, high: 100, width: 10 };
        let all = StatFields {
            count: true,
            sum: true,
            min: true,
            max: true,
            variance: Some(10),
            hist: Some(linear),
        };
        let full = cell(all);
        let offsets = vec![full.count, full.sum, full.min, full.max, full.variance, full.buckets];
        assert_eq!(offsets, [Some(0), Some(8), Some(16), Some(24), Some(32), Some(48)]);
        assert_eq!(full.size, 48 + 13 * 8);
    }
}
