//! How addresses are named.

/// What is told of an address; the number is what the library passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `leaf`
    Name = 0,
    /// `leaf+0x4/0x10 [/path/of/module]`
    Data = 1,
    /// `leaf+0x4`
    Brief = 2,
    /// `leaf+0x4 [module]`
    Short = 3,
    /// `file.c:12`
    FileLine = 4,
    /// `file.c`
    File = 5,
    /// `12`
    Line = 6,
    /// `leaf+0x4/0x10 at file.c:12 [/path/of/module]`
    DataFileLine = 7,
}

impl Form {
    /// The form behind a number.
    pub fn from_number(number: i64) -> Option<Form> {
        [
            Form::Name,
            Form::Data,
            Form::Brief,
            Form::Short,
            Form::FileLine,
            Form::File,
            Form::Line,
            Form::DataFileLine,
        ]
        .into_iter()
        .find(|form| *form as i64 == number)
    }

    /// Whether a line of a backtrace begins with the address itself.
    pub fn shows_address(self) -> bool {
        matches!(self, Form::Data | Form::DataFileLine)
    }
}
