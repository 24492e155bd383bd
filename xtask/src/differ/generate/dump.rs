//! The `end` probe of a script: prints a global. Lines whose order means nothing begin with `#`.

use std::fmt::Write as _;

use super::{ARRAYS, Long, STATS, Ty, histogram};

/// Statements that print a global.
pub(super) fn dump(name: &str, ordered: bool, fields: usize, shift: &str) -> String {
    let variables =
        |keys: &[Ty]| (0..keys.len()).map(|n| format!("{name}_{n}")).collect::<Vec<_>>().join(", ");
    let formats = |keys: &[Ty]| {
        keys.iter().map(|ty| if *ty == Long { "%d" } else { "%s" }).collect::<Vec<_>>().join(",")
    };
    if let Some((_, keys, value)) = ARRAYS.iter().find(|(array, ..)| *array == name) {
        let (keys, formats) = (variables(keys), formats(keys));
        let value = if *value == Long { "%d" } else { "%s" };
        let (mark, sort) = if ordered { ("", "") } else { ("#", "+") };
        let visited = keys.replacen("_0", &format!("_0{sort}"), 1);
        return format!(
            "  foreach ([{visited}] in {name}) printf(\"{mark}{name}[{formats}]={value}\\n\", {keys}, {name}[{keys}])\n"
        );
    }
    if let Some((_, keys)) = STATS.iter().find(|(statistic, _)| *statistic == name) {
        let place = if keys.is_empty() { name.to_owned() } else { format!("{name}[{}]", variables(keys)) };
        let mut what = format!("printf(\"#{name}\"); ");
        for (n, key) in keys.iter().enumerate() {
            let conversion = if *key == Long { "%d" } else { "%s" };
            let _ = write!(what, "printf(\" {conversion}\", {name}_{n}); ");
        }
        for (bit, op) in ["count", "sum", "min", "max", "avg"].iter().enumerate() {
            if fields & 1 << bit != 0 || (fields & 31 == 0 && *op == "count") {
                let _ = write!(what, "printf(\" %d\", @{op}({place})); ");
            }
        }
        if fields & 64 != 0 {
            let _ = write!(what, "printf(\" %d\", @variance({place}{shift})); ");
        }
        let histogram = histogram(name, &place);
        if fields & 32 != 0 && !keys.is_empty() {
            let _ = write!(what, "foreach (b in {histogram}) printf(\" %d:%d\", b, {histogram}[b]); ");
        }
        what += "println(\"\"); ";
        if fields & 32 != 0 && keys.is_empty() {
            let _ = write!(what, "print({histogram}); ");
        }
        if keys.is_empty() {
            return format!("  if (@count({place})) {{ {what}}}\n");
        }
        return format!("  foreach ([{}] in {name}) {{ {what}}}\n", variables(keys).replacen("_0", "_0+", 1));
    }
    let conversion = if name.starts_with("gs") || name == "gt" { "%s" } else { "%d" };
    format!("  printf(\"{name}={conversion}\\n\", {name})\n")
}
