//! Entry point: parse arguments, call the driver, exit with its code.
fn main() {}
