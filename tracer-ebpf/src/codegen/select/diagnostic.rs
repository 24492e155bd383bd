//! Where counters are counted, the diagnostics that go with them.

use super::super::diagnostic::{LOGS, REPEATS, RING, record, words};
use super::super::vcode::{Base, Constant};
use super::{Memory, Selector};
use crate::asm::position;
use crate::isa::{Helper, JumpOp, Size};
use alloc::format;
use alloc::string::String;
use tracer_common::layout::{MapKind, MapSpec};
use tracer_common::ledger::{self, Cell};

impl Selector<'_, '_> {
    /// Tells of what was just counted.
    pub(super) fn diagnose(&mut self, cell: Cell) {
        let (true, Some(row), Some((level, words))) = (self.shared.target.diagnostics, self.row, words(cell))
        else {
            return;
        };
        let place = self.shared.module.places.get(self.place.index()).map_or("", |place| place.text.as_str());
        let (file, line, _) = position(place);
        let message = match place {
            "" => String::from(words),
            place => format!("{words} near {place}"),
        };
        let program = &self.shared.manifest.programs[self.program as usize].name;
        let record = record(level as u8, program, file, line, &message);
        let ring = self.shared.map(LOGS, || MapSpec {
            name: LOGS.into(),
            kind: MapKind::RingBuf,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
        });
        self.shared.maps[ring as usize].max_entries = RING.max(self.shared.target.page_size);
        let (rodata, at) = self.shared.constant(&record);
        let off = (ledger::offset(self.program, cell) - ledger::offset(self.program, Cell::Hits)) as i32;
        let enough = self.block(false);
        let told = self.load_from(Size::Dw, Memory { base: Base::Reg(row), off });
        self.jump_if(JumpOp::Gt, told, REPEATS as i32, enough);
        let size = record.len() as u32;
        let text = Constant::MapValue(rodata, at);
        self.call(
            Helper::RingbufOutput,
            &[Constant::Map(ring).into(), text.into(), size.into(), 0i64.into()],
        );
        self.jump(enough);
        self.at(enough);
    }
}
