//! Words of other languages (bpftrace, awk, C) and what they are called here: hints for who knows those better.

const PLAIN: &str = "variables need no declaration: x = 1";
const VALUES: &str =
    "values go into a global: x <<< value; then @count(x), @sum(x), @avg(x), @min(x), @max(x)";

/// What is a variable elsewhere, and what to write instead; sorted.
const VARIABLES: [(&str, &str); 22] = [
    ("NULL", "0"),
    ("args", "parameters have their names: $name; -L 'PROBE' lists them"),
    ("auto", PLAIN),
    ("char", PLAIN),
    ("comm", "execname()"),
    ("curtask", "task_current()"),
    ("elapsed", "gettimeofday_ns() less what it was in a begin probe"),
    ("elif", "else if (condition)"),
    ("false", "0"),
    ("func", "ppfunc()"),
    ("int", PLAIN),
    ("kstack", "backtrace()"),
    ("let", PLAIN),
    ("local", PLAIN),
    ("my", PLAIN),
    ("nsecs", "gettimeofday_ns()"),
    ("null", "0"),
    ("retval", "$return, in a .return probe"),
    ("true", "1"),
    ("username", "uid()"),
    ("ustack", "ubacktrace()"),
    ("var", PLAIN),
];

/// The same of functions.
const FUNCTIONS: [(&str, &str); 29] = [
    ("atoi", "strtol(text, 10)"),
    ("avg", VALUES),
    ("buf", "user_buffer_quoted(address, length, most)"),
    ("clear", "delete x"),
    ("count", "x[key]++ for a global x; or x <<< value and @count(x)"),
    ("echo", "println(value)"),
    ("getpid", "pid()"),
    ("gettid", "tid()"),
    ("gsub", "str_replace(text, old, new)"),
    ("hist", "print(@hist_log(x)), after x <<< value"),
    ("index", "strpos(text, part)"),
    ("kstack", "print_backtrace()"),
    ("ksym", "symname(address)"),
    ("len", "strlen(text)"),
    ("length", "strlen(text)"),
    ("lhist", "print(@hist_linear(x, low, high, width)), after x <<< value"),
    ("max", VALUES),
    ("min", VALUES),
    ("puts", "println(text)"),
    ("reg", "register(\"rdi\")"),
    ("split", "tokenize(text, separators)"),
    ("stats", VALUES),
    ("str", "user_string(address), or kernel_string(address)"),
    ("strcmp", "a comparison: strings are compared with == and <"),
    ("strftime", "ctime(seconds)"),
    ("strstr", "isinstr(text, part), or strpos(text, part)"),
    ("sum", VALUES),
    ("usym", "usymname(address)"),
    ("zero", "delete x"),
];

/// What a variable of another language is here.
pub fn variable(word: &str) -> Option<String> {
    if let Some(n) = word.strip_prefix("arg").and_then(|n| n.parse::<u8>().ok()) {
        return Some(format!(
            "an argument by its number: long_arg({}); by its name: $name",
            n.saturating_add(1)
        ));
    }
    found(&VARIABLES, word)
}

/// What a function of another language is here.
pub fn function(word: &str) -> Option<String> {
    found(&FUNCTIONS, word)
}

fn found(words: &[(&str, &str)], word: &str) -> Option<String> {
    let at = words.binary_search_by_key(&word, |(word, _)| word).ok()?;
    let what = words[at].1;
    let is = if [PLAIN, VALUES].contains(&what) { "" } else { "it is " };
    Some(format!("here {is}{what}"))
}

/// The probe point that a provider of bpftrace is here.
pub fn probe(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "kprobe" | "k" | "fentry" | "kfunc" => "kernel.function(\"NAME\")",
        "kretprobe" | "kr" | "fexit" | "kretfunc" => "kernel.function(\"NAME\").return",
        "uprobe" | "u" => "process(\"PATH\").function(\"NAME\")",
        "uretprobe" | "ur" => "process(\"PATH\").function(\"NAME\").return",
        "usdt" | "U" => "process(\"PATH\").mark(\"NAME\")",
        "tracepoint" | "t" | "rawtracepoint" | "rt" => "kernel.trace(\"NAME\")",
        "interval" | "i" => "timer.s(1)",
        "profile" | "p" => "timer.profile",
        "software" | "s" => "perf.sw.NAME",
        "hardware" | "h" => "perf.hw.NAME",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_found() {
        assert!(VARIABLES.is_sorted() && FUNCTIONS.is_sorted());
        assert_eq!(variable("comm").as_deref(), Some("here it is execname()"));
        assert_eq!(variable("int").as_deref(), Some("here variables need no declaration: x = 1"));
        let argument = "an argument by its number: long_arg(1); by its name: $name";
        assert_eq!(variable("arg0").as_deref(), Some(argument));
        assert_eq!(function("zebra"), None);
    }
}
