//! The limits that a script can see, with SystemTap's names and defaults (`stap(1)`, "SAFETY AND SECURITY";
//! where the manual and the runtime differ, the runtime's value).

/// Limits of one session, settable with `-D NAME=VALUE`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Bytes of any string value, its NUL included. `MAXSTRINGLEN`, 512.
    pub string_len: u16,
    /// Rows of an array that gives no size of its own. `MAXMAPENTRIES`, 2048.
    pub map_entries: u32,
    /// Statements that one hit may run. `MAXACTION`, 1000.
    pub action: u32,
    /// Statements that one user-domain handler (`begin`, `end`, timers) may run. `MAXACTION_INTERRUPTIBLE`, 10,000.
    pub action_interruptible: u32,
    /// Depth of function calls. `MAXNESTING`, 10.
    pub nesting: u32,
    /// Handler errors that are tolerated before the session ends. `MAXERRORS`, 0.
    pub errors: u32,
    /// Skipped hits that are tolerated before the session ends. `MAXSKIPPED`, 100.
    pub skipped: u32,
    /// Spins on a lock before the hit is skipped. `MAXTRYLOCK`, 1000.
    pub trylock: u32,
    /// Frames of a backtrace. `MAXBACKTRACE`, 20.
    pub backtrace: u32,
}

impl Limits {
    /// SystemTap's defaults on a 64-bit kernel.
    pub const STAP: Limits = Limits {
        string_len: 512,
        map_entries: 2048,
        action: 1000,
        action_interruptible: 10_000,
        nesting: 10,
        errors: 0,
        skipped: 100,
        trylock: 1000,
        backtrace: 20,
    };

    /// As many frames as the kernel ever takes (`kernel.perf_event_max_stack`); larger limits mean this one.
    pub const DEEPEST_BACKTRACE: u32 = 127;

    /// SystemTap's name and the value of each limit.
    pub fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("MAXSTRINGLEN", self.string_len.into()),
            ("MAXMAPENTRIES", self.map_entries.into()),
            ("MAXACTION", self.action.into()),
            ("MAXACTION_INTERRUPTIBLE", self.action_interruptible.into()),
            ("MAXNESTING", self.nesting.into()),
            ("MAXERRORS", self.errors.into()),
            ("MAXSKIPPED", self.skipped.into()),
            ("MAXTRYLOCK", self.trylock.into()),
            ("MAXBACKTRACE", self.backtrace.into()),
        ]
    }

    /// A limit by its SystemTap name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.all().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Sets a limit by its SystemTap name; `Err` says what is wrong with the name or the value.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), alloc::string::String> {
        let small = |max: u64| {
            if value == 0 || value > max {
                Err(alloc::format!("{name} must be between 1 and {max}"))
            } else {
                Ok(value as u32)
            }
        };
        match name {
            "MAXSTRINGLEN" => self.string_len = small(4096)? as u16,
            "MAXMAPENTRIES" => self.map_entries = small(1 << 28)?,
            "MAXACTION" => {
                self.action = small(1 << 30)?;
                // Ten times as much, unless it is set after this.
                self.action_interruptible = self.action.saturating_mul(10);
            }
            "MAXACTION_INTERRUPTIBLE" => self.action_interruptible = small(1 << 30)?,
            "MAXNESTING" => self.nesting = small(1000)?,
            "MAXERRORS" => self.errors = value.min(u64::from(u32::MAX)) as u32,
            "MAXSKIPPED" => self.skipped = value.min(u64::from(u32::MAX)) as u32,
            "MAXTRYLOCK" => self.trylock = small(1 << 20)?,
            "MAXBACKTRACE" => self.backtrace = small(1 << 20)?.min(Limits::DEEPEST_BACKTRACE),
            _ => return Err(alloc::format!("unknown limit {name}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_set_and_read_by_its_name() {
        for (name, value) in Limits::STAP.all() {
            let mut limits = Limits::STAP;
            assert_eq!(limits.get(name), Some(value));
            assert_eq!(limits.set(name, 100), Ok(()), "{name}");
            assert_eq!(limits.get(name), Some(100), "{name}");
            let changed = limits.all().iter().zip(Limits::STAP.all()).filter(|(a, b)| **a != *b).count();
            // MAXACTION sets MAXACTION_INTERRUPTIBLE with it.
            let expected = if name == "MAXACTION" { 2 } else { usize::from(value != 100) };
            assert_eq!(changed, expected, "{name}");
        }
        assert_eq!(Limits::STAP.get("MAXFOO"), None);
    }

    #[test]
    fn ranges() {
        let mut limits = Limits::STAP;
        let mut set = |name, value| limits.set(name, value).err();
        assert_eq!(set("MAXSTRINGLEN", 4096), None);
        let message = "MAXSTRINGLEN must be between 1 and 4096";
        assert_eq!(set("MAXSTRINGLEN", 4097).as_deref(), Some(message));
        assert_eq!(set("MAXSTRINGLEN", 0).as_deref(), Some(message));
        assert_eq!(set("MAXACTION", u64::MAX).as_deref(), Some("MAXACTION must be between 1 and 1073741824"));
        assert_eq!(set("MAXERRORS", u64::MAX), None);
        assert_eq!(set("MAXERRORS", 0), None);
        assert_eq!(set("MAXFOO", 1).as_deref(), Some("unknown limit MAXFOO"));
        assert_eq!(limits.errors, 0);
    }
}
